/**
 * Goal: in a real cluster the relay opens to the sidecar of a pod, from that pod, to what its policy names, and to nothing else; and what is
 * taken away closes tunnels in two seconds. Method: the token that the kubelet made, used inside the pod's network and outside of it.
 */
import assert from 'node:assert/strict'
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { createInterface } from 'node:readline'
import { after, before } from 'node:test'
import { fileURLToPath } from 'node:url'
import { apply, clusterTest, eventually, getJson, kubectl } from './support/kubectl.ts'
import { processesOf, seesTheNode } from './support/node.ts'
import type { RelayAsk, RelayLine } from './support/relay-client.ts'
import { agentPod, openShop, startAgent, type Shop } from './support/shop.ts'

const client = fileURLToPath(new URL('./support/relay-client.ts', import.meta.url))
const isThere = process.env['KUBECONFIG'] !== undefined && seesTheNode
const tokens = '/var/run/secrets/steno.dev'
const closedMillisecondsMax = 2_000

let shop: Shop
let pid: number
let common: Pick<RelayAsk, 'address' | 'port' | 'ca' | 'servername'>
const running: ChildProcessWithoutNullStreams[] = []

before(async () => {
  if (!isThere) return
  shop = await openShop()
  await startAgent(shop.namespace, agentPod('speaker'))
  pid = (await processesOf(shop.namespace, 'speaker', 'steno'))[0]!
  const service = await getJson<{ spec: { clusterIP: string } }>(['-n', 'steno-system', 'service', 'steno-relay'])
  const { data } = await getJson<{ data: Record<string, string> }>(['-n', 'steno-system', 'secret', 'steno-ca'])
  const ca = Object.values(data)
    .map((value) => Buffer.from(value, 'base64').toString())
    .flatMap((text) => text.match(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/g) ?? [])
    .join('\n')
  common = { address: service.spec.clusterIP, port: 8443, ca, servername: 'steno-relay.steno-system.svc' }
})
after(async () => {
  if (!isThere) return
  for (const child of running) child.kill('SIGKILL')
  await shop[Symbol.asyncDispose]()
})

type Tunnel = { readonly next: () => Promise<RelayLine> }

/** `from` is whose network it comes from. */
function ask(more: Partial<RelayAsk> = {}, from: 'pod' | 'node' = 'pod'): Tunnel {
  const command = from === 'pod' ? ['nsenter', '--target', String(pid), '--net', process.execPath, client] : [process.execPath, client]
  const child = spawn(command[0]!, command.slice(1), { stdio: 'pipe' })
  child.stderr.on('data', (text: Buffer) => process.stderr.write(text))
  running.push(child)
  const asked: RelayAsk = {
    ...common,
    tokenFile: `/proc/${pid}/root${tokens}/relay-token`,
    target: `${shop.databaseHost}:5432`,
    database: 'orders',
    ...more,
  }
  child.stdin.end(JSON.stringify(asked))
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return { next: async () => JSON.parse(String((await lines.next()).value)) as RelayLine }
}

async function codeOf(tunnel: Tunnel): Promise<string> {
  const line = await tunnel.next()
  assert.ok('status' in line, JSON.stringify(line))
  return line.status === 200 ? 'OPEN' : (JSON.parse(line.body) as { code: string }).code
}

async function opened(more: Partial<RelayAsk> = {}): Promise<Tunnel> {
  const tunnel = ask(more)
  assert.equal(await codeOf(tunnel), 'OPEN')
  assert.deepEqual(await tunnel.next(), { first: 'S' })
  return tunnel
}

async function closesInTime(tunnel: Tunnel, change: () => Promise<unknown>): Promise<void> {
  await change()
  const begun = performance.now()
  assert.deepEqual(await tunnel.next(), { closed: true })
  assert.ok(performance.now() - begun < closedMillisecondsMax, `it took ${performance.now() - begun} ms`)
}

async function setHosts(hosts: readonly string[], port = 5432): Promise<void> {
  const database = { ...(shop.policy.spec['databases'] as object[])[0], hosts, port }
  await kubectl([
    ...['-n', shop.namespace, 'patch', 'sessionpolicy', 'orders', '--type=merge'],
    ...['-p', JSON.stringify({ spec: { databases: [database] } })],
  ])
}

function relayTest(name: string, run: () => Promise<void>): void {
  clusterTest(name, async (context) => (isThere ? run() : context.skip('the node’s processes are not to be seen here')))
}

relayTest('the sidecar’s token, from its pod, opens a tunnel to the database of the policy', async () => {
  await opened()
})

relayTest('the same token from another address opens nothing', async () => {
  assert.equal(await codeOf(ask({}, 'node')), 'SOURCE_UNFIT')
})

relayTest('the sidecar’s token for control opens nothing', async () => {
  assert.equal(await codeOf(ask({ tokenFile: `/proc/${pid}/root${tokens}/token` })), 'TOKEN_UNFIT')
})

relayTest('the agent’s own token opens nothing', async () => {
  const [agent] = await processesOf(shop.namespace, 'speaker', 'agent')
  const tokenFile = `/proc/${agent}/root/var/run/secrets/kubernetes.io/serviceaccount/token`
  assert.equal(await codeOf(ask({ tokenFile })), 'TOKEN_UNFIT')
})

relayTest('what the policy does not name is not reached', async () => {
  assert.equal(await codeOf(ask({ target: `${shop.databaseHost}:5433` })), 'TARGET_NOT_ALLOWED')
  assert.equal(await codeOf(ask({ target: 'steno-control.steno-system.svc:443' })), 'TARGET_NOT_ALLOWED')
})

relayTest('nodes, the API server, steno itself and loopback are not reached though a policy names them', async () => {
  const trap = { namespace: shop.namespace, name: 'trap' }
  const nodes = await getJson<{ items: { status: { addresses: { type: string; address: string }[] } }[] }>(['nodes'])
  const node = nodes.items[0]!.status.addresses.find(({ type }) => type === 'InternalIP')!.address
  await apply([
    { apiVersion: 'v1', kind: 'Service', metadata: trap, spec: { ports: [{ port: 5432 }] } },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { ...trap, labels: { 'kubernetes.io/service-name': 'trap' } },
      addressType: 'IPv4',
      ports: [{ port: 10250, name: '' }],
      endpoints: [{ addresses: [node] }],
    },
  ])
  const hosts = [
    'kubernetes.default.svc.cluster.local',
    'steno-control.steno-system.svc',
    node,
    '127.0.0.1',
    '169.254.169.254',
    `trap.${shop.namespace}.svc.cluster.local`,
  ]
  await setHosts([shop.databaseHost, ...hosts])
  await eventually('the policy has arrived', async () =>
    (await codeOf(ask({ target: '127.0.0.1:5432' }))) === 'TARGET_FORBIDDEN' ? true : null,
  )
  for (const host of hosts) assert.equal(await codeOf(ask({ target: `${host}:5432` })), 'TARGET_FORBIDDEN', host)
  await opened()
})

relayTest('a tunnel closes when its host leaves the policy', async () => {
  await setHosts([shop.databaseHost])
  const tunnel = await opened()
  await closesInTime(tunnel, () => setHosts(['elsewhere.example']))
  await setHosts([shop.databaseHost])
  await eventually('the policy is back', async () => ((await codeOf(ask())) === 'OPEN' ? true : null))
})

relayTest('a tunnel closes when the cluster’s ceiling comes down', async () => {
  const tunnel = await opened()
  const name = shop.namespace
  const namespaceSelector = { matchLabels: { 'kubernetes.io/metadata.name': name } }
  const ceiling = { hosts: ['*.example'], addressRanges: ['0.0.0.0/0', '::/0'] }
  try {
    await closesInTime(tunnel, () =>
      apply({ apiVersion: 'steno.dev/v1alpha1', kind: 'ClusterSessionPolicy', metadata: { name }, spec: { namespaceSelector, ceiling } }),
    )
  } finally {
    await kubectl(['delete', 'clustersessionpolicy', name, '--ignore-not-found'])
  }
  await eventually('the ceiling is gone', async () => ((await codeOf(ask())) === 'OPEN' ? true : null))
})

relayTest('a tunnel closes when the namespace is opted out', async () => {
  const tunnel = await opened()
  await closesInTime(tunnel, () => kubectl(['label', 'namespace', shop.namespace, 'steno.dev/inject-']))
  assert.equal(await codeOf(ask()), 'POD_UNFIT')
  await kubectl(['label', 'namespace', shop.namespace, 'steno.dev/inject=enabled'])
  await eventually('the namespace is back', async () => ((await codeOf(ask())) === 'OPEN' ? true : null))
})

relayTest('a tunnel closes with its pod', async () => {
  const tunnel = await opened()
  await closesInTime(tunnel, () => kubectl(['-n', shop.namespace, 'delete', 'pod', 'speaker', '--force', '--grace-period=0']))
})
