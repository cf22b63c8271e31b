// Goal: what the cluster says is a node, the API server or steno's own is forbidden as soon as it says so, and so is a Service that leads there.
// Method: the API server's double, whose objects change under the watches.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startTestApi, type TestObject } from '../cluster/test-api.ts'
import { testLog, until } from '../cluster/test-support.ts'
import { watchClusterAddresses } from './cluster-addresses.ts'

const service = (namespace: string, name: string, ip: string): [string, TestObject] => [
  `/api/v1/namespaces/${namespace}/services/${name}`,
  { metadata: { name, namespace }, spec: { clusterIPs: [ip] } },
]
const slice = (namespace: string, of: string, name: string, addresses: readonly string[]): [string, TestObject] => [
  `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices/${name}`,
  { metadata: { name, namespace, labels: { 'kubernetes.io/service-name': of } }, endpoints: [{ addresses }] },
]
const node = (name: string, address: string, podCIDRs: readonly string[] = []): [string, TestObject] => [
  `/api/v1/nodes/${name}`,
  {
    metadata: { name },
    spec: { podCIDRs },
    status: {
      addresses: [
        { type: 'InternalIP', address },
        { type: 'Hostname', address: name },
      ],
    },
  },
]

async function startWorld() {
  const api = await startTestApi()
  api.put(...node('one', '10.250.0.2', ['10.244.0.0/24']))
  api.put(...service('default', 'kubernetes', '10.96.0.1'))
  api.put(...slice('default', 'kubernetes', 'kubernetes', ['10.250.0.9']))
  api.put(...service('steno-system', 'steno-control', '10.96.0.50'))
  api.put('/api/v1/namespaces/steno-system/pods/control', {
    metadata: { name: 'control', namespace: 'steno-system' },
    status: { podIPs: [{ ip: '10.244.0.7' }] },
  })
  api.put(...service('shop', 'db', '10.96.0.60'))
  api.put(...slice('shop', 'db', 'db-1', ['10.244.0.30']))
  let changes = 0
  const addresses = watchClusterAddresses({
    ...{ cluster: api.client, namespace: 'steno-system', apiServerHost: '10.96.0.99', log: testLog().log },
    onChange: () => changes++,
  })
  await until(() => addresses.isSynced())
  return {
    ...{ api, addresses },
    changes: () => changes,
    async [Symbol.asyncDispose]() {
      addresses.stop()
      await api[Symbol.asyncDispose]()
    },
  }
}

test('nodes, the API server and steno’s own are known by each of their addresses', async () => {
  await using world = await startWorld()
  const expected = {
    '10.250.0.2': 'a node',
    '10.244.0.0': 'a node',
    '10.244.0.1': 'a node',
    '10.96.0.1': 'the API server',
    '10.250.0.9': 'the API server',
    '10.96.0.99': 'the API server',
    '10.96.0.50': 'a Service of steno',
    '10.244.0.7': 'a pod of steno',
    '10.96.0.60': null,
    '10.244.0.30': null,
  }
  for (const [text, what] of Object.entries(expected)) assert.equal(world.addresses.what(text), what, text)
})

test('a node that comes is forbidden and told of; one that goes is forgotten', async () => {
  await using world = await startWorld()
  const before = world.changes()
  world.api.put(...node('two', '10.250.0.3'))
  await until(() => world.addresses.what('10.250.0.3') === 'a node')
  assert.ok(world.changes() > before)
  world.api.remove('/api/v1/nodes/two')
  await until(() => world.addresses.what('10.250.0.3') === null)
})

for (const [what, address] of [
  ['a node', '10.250.0.2'],
  ['a node', '::ffff:10.250.0.2'],
  ['the API server', '10.250.0.9'],
  ['the API server', '10.96.0.1'],
  ['a pod of steno', '10.244.0.7'],
  ['a link-local address', '169.254.169.254'],
] as const)
  test(`a Service that leads to ${address} is forbidden and told of, until it no longer does`, async () => {
    await using world = await startWorld()
    const before = world.changes()
    world.api.put(...slice('shop', 'db', 'db-2', [address]))
    await until(() => world.addresses.what('10.96.0.60') === `a Service with ${what} behind it`)
    assert.ok(world.changes() > before)
    world.api.put(...slice('shop', 'db', 'db-2', ['10.244.0.31']))
    await until(() => world.addresses.what('10.96.0.60') === null)
  })

test('an address that another Service claims for itself stays what it is, also when that Service has gone', async () => {
  await using world = await startWorld()
  world.api.put(...slice('shop', 'db', 'db-2', ['10.250.0.2']))
  const forbidden = {
    '10.96.0.1': 'the API server',
    '10.96.0.50': 'a Service of steno',
    '10.96.0.60': 'a Service with a node behind it',
  }
  const claimed = Object.keys(forbidden)
  const claims: TestObject = {
    metadata: { name: 'claims', namespace: 'trap' },
    spec: { clusterIPs: ['10.96.0.70'], externalIPs: [...claimed, '10.96.0.71'] },
  }
  world.api.put('/api/v1/namespaces/trap/services/claims', claims)
  world.api.put(...slice('trap', 'claims', 'claims-1', ['169.254.169.254']))
  // Seen with its claims, and then without what is behind it.
  await until(() => world.addresses.what('10.96.0.71') !== null)
  world.api.remove('/apis/discovery.k8s.io/v1/namespaces/trap/endpointslices/claims-1')
  await until(() => world.addresses.what('10.96.0.71') === null)
  for (const [text, what] of Object.entries(forbidden)) assert.equal(world.addresses.what(text), what, text)
  world.api.put(...slice('trap', 'claims', 'claims-2', ['169.254.169.254']))
  await until(() => world.addresses.what('10.96.0.71') !== null)
  world.api.remove('/api/v1/namespaces/trap/services/claims')
  await until(() => world.addresses.what('10.96.0.71') === null)
  for (const [text, what] of Object.entries(forbidden)) assert.equal(world.addresses.what(text), what, text)
})

test('a Service that goes takes its address with it, and another one of the same address is itself', async () => {
  await using world = await startWorld()
  world.api.remove('/api/v1/namespaces/steno-system/services/steno-control')
  await until(() => world.addresses.what('10.96.0.50') === null)
  world.api.put(...service('steno-system', 'steno-relay', '10.96.0.60'))
  await until(() => world.addresses.what('10.96.0.60') === 'a Service of steno')
})
