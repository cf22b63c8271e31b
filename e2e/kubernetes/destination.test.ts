/**
 * Goal: `kubectl steno probe` says truly whether a database in the cluster would talk to somebody who is not the relay, while the agents go on
 * through the relay. Method: one database, closed step by step as docs/destination.md has it: open to all, by pg_hba.conf, by a NetworkPolicy, and
 * then dead; asked each time from a pod of the plugin, as an administrator and as a developer without rights beyond two namespaces.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before } from 'node:test'
import { fileURLToPath } from 'node:url'
import { apply, clusterTest, createNamespace, eventually, getJson, kubectl, ran } from './support/kubectl.ts'
import { agentPod, databaseUser, inAgent, openShop, password, startAgent, type LivePod, type Shop } from './support/shop.ts'

const plugin = fileURLToPath(new URL('../../bin/kubectl-steno', import.meta.url))
const isThere = process.env['KUBECONFIG'] !== undefined
const ofRelay = { 'app.kubernetes.io/name': 'steno', 'app.kubernetes.io/component': 'relay' }
let shop: Shop
let tools: Awaited<ReturnType<typeof createNamespace>>
let folder = ''

before(async () => {
  if (!isThere) return
  folder = mkdtempSync(path.join(tmpdir(), 'steno-destination-'))
  shop = await openShop({ spec: { enforcement: { mode: 'Relay' } } })
  tools = await createNamespace('t-destination', { 'pod-security.kubernetes.io/enforce': 'restricted' })
  await startAgent(shop.namespace, agentPod('agent'))
})
after(async () => {
  if (!isThere) return
  await tools[Symbol.asyncDispose]()
  await shop[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
})

type Told = { readonly results: readonly { readonly state: string; readonly why: string; readonly address: string | null }[] }

async function probe(args: readonly string[] = [], environment: NodeJS.ProcessEnv = {}): Promise<Told & { readonly code: number }> {
  const options = ['orders', '-n', shop.namespace, '--json', ...args]
  const variables = Object.entries({ HOME: folder, ...environment }).map(([name, value]) => `${name}=${value ?? ''}`)
  const { code, stdout, stderr } = await ran('env', [...variables, plugin, 'probe', ...options])
  assert.equal(stderr, '')
  return { ...(JSON.parse(stdout) as Told), code }
}
const statesOf = ({ results }: Told): string[] => results.map(({ state }) => state)

async function agentReads(): Promise<void> {
  const sql = 'select customer from orders where id = 7'
  const read = await inAgent(shop.namespace, 'agent', ['sh', '-c', `psql "$DATABASE_URL" -Atc "${sql}"`])
  assert.equal(read.trim(), 'customer 7')
}

async function setHba(lines: readonly string[]): Promise<void> {
  const rows = ['local all all trust', ...lines].map((line) => `('${line}')`).join(', ')
  await shop.query(`copy (values ${rows}) to '/data/postgres/pg_hba.conf'`)
  await shop.query('select pg_reload_conf()')
}

const proofOf = async (): Promise<string> => {
  const { status } = await getJson<{ status: { conditions: { type: string; status: string; reason: string }[] } }>([
    ...['-n', shop.namespace, 'sessionpolicy', 'orders'],
  ])
  const found = status.conditions.find(({ type }) => type === 'EgressEnforced')
  return `${found?.status ?? ''} ${found?.reason ?? ''}`
}
const becomes = (what: string, proof: string): Promise<true> =>
  eventually(what, async () => ((await proofOf()) === proof ? true : null), { withinMilliseconds: 120_000 })

clusterTest(
  'a database that is closed step by step is told Open, Closed by the server, Closed, and Unknown when it is dead; agents go on until then',
  async () => {
    await agentReads()
    const open = await probe()
    assert.deepEqual([statesOf(open), open.code], [['Open'], 1], JSON.stringify(open))
    assert.doesNotMatch(JSON.stringify(open), new RegExp(password))

    const relays = await getJson<{ items: LivePod[] }>([
      ...['-n', 'steno-system', 'pods', '-l', 'app.kubernetes.io/name=steno,app.kubernetes.io/component=relay'],
    ])
    const addresses = relays.items.flatMap(({ status }) => status.podIP ?? [])
    await setHba([...addresses.map((address) => `hostssl shop ${databaseUser} ${address}/32 scram-sha-256`), 'host all all all reject'])
    for (const user of [[], ['--user', databaseUser]]) {
      const rejected = await probe(user)
      assert.deepEqual([statesOf(rejected), rejected.code], [['Closed'], 0], JSON.stringify(rejected))
      assert.match(rejected.results[0]?.why ?? '', /^by the server: 28000: /)
    }
    await agentReads()

    // The agents' user from anywhere: a made-up user sees nothing of it, the right one does.
    await setHba([`hostssl shop ${databaseUser} all scram-sha-256`, 'host all all all reject'])
    assert.deepEqual(statesOf(await probe()), ['Closed'])
    assert.deepEqual(statesOf(await probe(['--user', databaseUser])), ['Open'])

    await apply({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'relay-only', namespace: shop.databaseNamespace },
      spec: {
        podSelector: { matchLabels: { app: 'orders-db' } },
        policyTypes: ['Ingress'],
        ingress: [
          {
            from: [
              {
                namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'steno-system' } },
                podSelector: { matchLabels: ofRelay },
              },
            ],
            ports: [{ port: 5432, protocol: 'TCP' }],
          },
        ],
      },
    })
    await becomes('the sidecar says that its way is closed and the relay’s is not', 'True Closed')
    const closed = await eventually('the policy is in force', async () => {
      const told = await probe(['--user', databaseUser])
      return statesOf(told)[0] === 'Open' ? null : told
    })
    assert.deepEqual([statesOf(closed), closed.code], [['Closed'], 0], JSON.stringify(closed))
    assert.match(closed.results[0]?.why ?? '', /while the relay reaches the database$/)
    await agentReads()

    await kubectl(['-n', shop.databaseNamespace, 'delete', 'pod', 'orders-db', '--grace-period=0', '--force'])
    await becomes('the sidecar does not know any more', 'Unknown NotMeasured')
    const dead = await probe()
    assert.deepEqual([statesOf(dead), dead.code], [['Unknown'], 1], JSON.stringify(dead))
  },
  { timeoutMilliseconds: 400_000 },
)

clusterTest(
  'a developer with `view` on the shop and `edit` on another namespace probes from there, and no pod stays anywhere',
  async () => {
    const subject = { kind: 'ServiceAccount', name: 'developer', namespace: tools.name }
    const bind = (namespace: string, role: string): object => ({
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'RoleBinding',
      metadata: { name: 'developer', namespace },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
      subjects: [subject],
    })
    await apply([
      { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'developer', namespace: tools.name } },
      bind(tools.name, 'edit'),
      bind(shop.namespace, 'view'),
    ])
    const token = (await kubectl(['-n', tools.name, 'create', 'token', 'developer'])).trim()
    const config = JSON.parse(await kubectl(['config', 'view', '--minify', '--flatten', '--raw', '-o', 'json'])) as { users: object[] }
    const kubeconfig = path.join(folder, 'developer.json')
    writeFileSync(kubeconfig, JSON.stringify({ ...config, users: config.users.map((user) => ({ ...user, user: { token } })) }), {
      mode: 0o600,
    })
    const { spec } = await getJson<{ spec: { template: { spec: { containers: { image: string }[] } } } }>([
      ...['-n', 'steno-system', 'deployment', 'steno-relay'],
    ])
    const image = spec.template.spec.containers[0]?.image ?? ''
    const told = await probe(['--from', tools.name, '--image', image], { KUBECONFIG: kubeconfig })
    assert.equal(told.results.length, 1)
    const { stdout, stderr, code } = await ran('env', [`KUBECONFIG=${kubeconfig}`, plugin, 'probe', 'orders', '-n', shop.namespace])
    assert.deepEqual([code, stdout], [1, ''])
    assert.match(stderr, /CLUSTER_FORBIDS/)
    assert.equal((await ran(plugin, ['probe', 'orders', '-n', shop.namespace, '--from', shop.namespace])).code, 2)
    await eventually('no probe’s pod is left', async () => {
      const { items } = await getJson<{ items: unknown[] }>(['pods', '-A', '-l', 'app.kubernetes.io/name=steno-probe'])
      return items.length === 0 ? true : null
    })
  },
)
