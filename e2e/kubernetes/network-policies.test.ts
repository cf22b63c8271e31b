/**
 * Goal: in a real cluster a pod in mode Relay reaches DNS, the relay and control, what its policy allows, and nothing else; and what somebody
 * changes is put right in two seconds. Method: connections from the pod's network, each target proven to be there from the node's.
 */
import assert from 'node:assert/strict'
import { after, before } from 'node:test'
import { fileURLToPath } from 'node:url'
import { apply, clusterTest, createNamespace, eventually, getJson, kubectl, ran } from './support/kubectl.ts'
import { processesOf, seesTheNode } from './support/node.ts'
import { agentPod, openShop, type LivePod, type Shop } from './support/shop.ts'

const client = fileURLToPath(new URL('./support/reach-client.ts', import.meta.url))
const isThere = process.env['KUBECONFIG'] !== undefined && seesTheNode
const repairedMillisecondsMax = 2_000

type Target = readonly [host: string, port: number, how?: 'tcp' | 'udp-dns']
let shop: Shop
let other: Awaited<ReturnType<typeof createNamespace>>
let pid: number
let targets: Record<
  'dns' | 'dnsTcp' | 'relay' | 'control' | 'database' | 'databaseService' | 'neighbour' | 'stranger' | 'node' | 'apiServer',
  Target
>

const podIp = async (namespace: string, name: string): Promise<string> =>
  eventually(`${name} has an address`, async () => {
    const { status } = await getJson<LivePod>(['-n', namespace, 'pod', name])
    assert.ok(status.podIP !== undefined)
    return status.podIP
  })
const clusterIp = async (namespace: string, name: string): Promise<string> =>
  (await getJson<{ spec: { clusterIP: string } }>(['-n', namespace, 'service', name])).spec.clusterIP

before(async () => {
  if (!isThere) return
  shop = await openShop({ spec: { enforcement: { mode: 'Relay' } } })
  other = await createNamespace('shop-other')
  const listening = { command: ['sh', '-c', 'while true; do nc -l -p 8080 </dev/null >/dev/null; done'] }
  await apply([
    { ...agentPod('agent'), metadata: { ...agentPod('agent').metadata, namespace: shop.namespace } },
    { ...agentPod('neighbour'), metadata: { ...agentPod('neighbour').metadata, namespace: shop.namespace } },
    {
      ...agentPod('stranger', { ...listening, env: [] }),
      metadata: { name: 'stranger', namespace: other.name, labels: { app: 'stranger' } },
    },
  ])
  pid = await eventually('the agent’s sidecar runs', async () => {
    const [found] = await processesOf(shop.namespace, 'agent', 'steno')
    assert.ok(found !== undefined)
    return found
  })
  const { items } = await getJson<{ items: { status: { addresses: { type: string; address: string }[] } }[] }>(['nodes'])
  const node = items[0]?.status.addresses.find(({ type }) => type === 'InternalIP')?.address ?? ''
  const dns = await clusterIp('kube-system', 'kube-dns')
  targets = {
    dns: [dns, 53, 'udp-dns'],
    dnsTcp: [dns, 53],
    relay: [await clusterIp('steno-system', 'steno-relay'), 8443],
    control: [await clusterIp('steno-system', 'steno-control'), 443],
    database: [await podIp(shop.databaseNamespace, 'orders-db'), 5432],
    databaseService: [await clusterIp(shop.databaseNamespace, 'orders-db'), 5432],
    neighbour: [await podIp(shop.namespace, 'neighbour'), 15_090],
    stranger: [await podIp(other.name, 'stranger'), 8080],
    node: [node, 10_250],
    apiServer: [await clusterIp('default', 'kubernetes'), 443],
  }
})
after(async () => {
  if (!isThere) return
  await shop[Symbol.asyncDispose]()
  await other[Symbol.asyncDispose]()
})

async function reach([host, port, how = 'tcp']: Target, from: 'pod' | 'node'): Promise<string> {
  const program = [process.execPath, client, host, String(port), how]
  const [command = '', ...args] = from === 'pod' ? ['nsenter', '--target', String(pid), '--net', ...program] : program
  const { stdout, stderr } = await ran(command, args)
  assert.ok(stdout === 'open' || stdout === 'closed', stderr)
  return stdout
}

/** Until `hold` does not throw. */
const holds = async (what: string, hold: () => Promise<void>): Promise<void> => {
  await eventually(what, async () => {
    await hold()
    return true
  })
}

const becomes = (name: keyof typeof targets, wanted: 'open' | 'closed'): Promise<void> =>
  holds(`${name} is ${wanted} to the pod`, async () => assert.equal(await reach(targets[name], 'pod'), wanted))

const test = (name: string, body: () => Promise<void>): void => clusterTest(name, async () => body())

for (const name of ['dns', 'dnsTcp', 'relay', 'control'] as const)
  test(`an agent in mode Relay reaches ${name}`, () => becomes(name, 'open'))

for (const name of ['database', 'databaseService', 'neighbour', 'stranger', 'node', 'apiServer'] as const)
  test(`an agent in mode Relay does not reach ${name}, which is there`, async () => {
    await holds(`${name} is there`, async () => assert.equal(await reach(targets[name], 'node'), 'open'))
    await becomes(name, 'closed')
  })

const policyOf = (name: string): string[] => ['-n', shop.namespace, 'networkpolicy', name]
const specOf = async (name: string): Promise<string> => JSON.stringify((await getJson<{ spec: object }>(policyOf(name))).spec)

async function allow(entries: readonly object[]): Promise<void> {
  const patch = JSON.stringify({ spec: { network: { allow: entries } } })
  await kubectl(['-n', shop.namespace, 'patch', 'sessionpolicies.v1alpha1.steno.dev', 'orders', '--type=merge', '-p', patch])
}

test('what a policy allows is open, that alone, and closed again when it goes', async () => {
  const to = [
    {
      namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': other.name } },
      podSelector: { matchLabels: { app: 'stranger' } },
    },
  ]
  await allow([{ to, ports: [{ port: 8080 }] }])
  await becomes('stranger', 'open')
  for (const name of ['database', 'neighbour', 'node', 'apiServer'] as const)
    assert.equal(await reach(targets[name], 'pod'), 'closed', name)
  await allow([{ to, ports: [{ port: 8081 }] }])
  await becomes('stranger', 'closed')
  await allow([])
  await holds('the policy’s own is gone', async () =>
    assert.notEqual((await ran('kubectl', ['get', ...policyOf('steno-allow-orders')])).code, 0),
  )
})

test('the preset internet-https opens nothing of the cluster', async () => {
  await allow([{ preset: 'internet-https' }])
  await holds('the API server takes it', async () => assert.match(await specOf('steno-allow-orders'), /0\.0\.0\.0\/0/))
  for (const name of ['database', 'databaseService', 'neighbour', 'stranger', 'node', 'apiServer'] as const)
    assert.equal(await reach(targets[name], 'pod'), 'closed', name)
  await allow([])
})

test('a NetworkPolicy that somebody deletes or changes is put right in two seconds', async () => {
  const asItWas = await specOf('steno-egress')
  const disturb: readonly string[][] = [
    ['delete', ...policyOf('steno-egress'), '--wait=false'],
    ['patch', ...policyOf('steno-egress'), '--type=merge', '-p', JSON.stringify({ spec: { egress: [{}] } })],
    ['label', ...policyOf('steno-egress'), 'app.kubernetes.io/managed-by=mine', '--overwrite'],
  ]
  for (const command of disturb) {
    await kubectl(command)
    const begun = performance.now()
    await holds('it is as it was', async () => {
      const { metadata, spec } = await getJson<{ metadata: { labels: Record<string, string> }; spec: object }>(policyOf('steno-egress'))
      assert.deepEqual([metadata.labels['app.kubernetes.io/managed-by'], JSON.stringify(spec)], ['steno', asItWas])
    })
    assert.ok(performance.now() - begun < repairedMillisecondsMax, `${command[0]}: ${(performance.now() - begun).toFixed(0)} ms`)
  }
  await becomes('database', 'closed')
})

test('a namespace that is not opted in any more has none of steno’s', async () => {
  await kubectl(['label', 'namespace', shop.namespace, 'steno.dev/inject-'])
  await holds('they are gone', async () => {
    const { items } = await getJson<{ items: unknown[] }>(['-n', shop.namespace, 'networkpolicies'])
    assert.deepEqual(items, [])
  })
})
