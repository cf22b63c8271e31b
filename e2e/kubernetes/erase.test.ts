/**
 * Goal: no agent erases what it just did. Whatever it does to its disk, its memory, its processes or its pod right behind a statement, the statement
 * is recorded or a stated gap of the right size. Method: agents that run three statements, the last at once before the deed; then the auditor's view.
 */
import assert from 'node:assert/strict'
import { globSync, readFileSync, writeFileSync } from 'node:fs'
import { after, before, type TestContext } from 'node:test'
import { accountOf } from './support/accounted.ts'
import { apply, clusterTest, eventually, getJson, kubectl } from './support/kubectl.ts'
import { seesTheNode } from './support/node.ts'
import { openRecordings, type Recordings } from './support/recordings.ts'
import { agentPod, openShop, podOf, type AgentOptions, type LivePod, type Shop } from './support/shop.ts'

const isThere = process.env['KUBECONFIG'] !== undefined
/** Control's grace for uploads under way, the kubelet's time to notice, and two looks. */
const accountedMillisecondsMax = 180_000

let shop: Shop
let recordings: Recordings

before(async () => {
  if (!isThere) return
  const { items } = await getJson<{ items: { subsets: { addresses: { ip: string }[]; ports: { port: number }[] }[] }[] }>([
    ...['endpoints', '-n', 'default', '--field-selector', 'metadata.name=kubernetes'],
  ])
  const [server] = items[0]?.subsets ?? []
  // One agent below has a right in the cluster, and so a way to its API server.
  const allow = (server?.addresses ?? []).map(({ ip }) => ({
    to: [{ ipBlock: { cidr: `${ip}/32` } }],
    ports: [{ port: server?.ports[0]?.port }],
  }))
  shop = await openShop({ spec: { enforcement: { mode: 'Relay', onOpenPath: 'Block' }, network: { allow } } })
  recordings = await openRecordings('default', { since: new Date() })
  const inShop = { namespace: shop.namespace }
  await apply([
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'deleter', ...inShop } },
    {
      ...{ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', metadata: { name: 'deleter', ...inShop } },
      rules: [{ apiGroups: [''], resources: ['pods'], verbs: ['delete'] }],
    },
    {
      ...{ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'RoleBinding', metadata: { name: 'deleter', ...inShop } },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'deleter' },
      subjects: [{ kind: 'ServiceAccount', name: 'deleter', ...inShop }],
    },
  ])
})
after(async () => {
  if (!isThere) return
  await recordings[Symbol.asyncDispose]()
  await shop[Symbol.asyncDispose]()
})

/** Three statements, the last with the deed at its heels; before it, time for a mark. */
const program = (deed: string): string => `
const { Client } = require('pg')
const fs = require('node:fs')
const https = require('node:https')
const { spawn } = require('node:child_process')
async function main() {
  let client
  for (let left = 20; ; left--) {
    client = new Client({ connectionString: process.env.DATABASE_URL })
    client.on('error', () => undefined)
    try {
      await client.connect()
      break
    } catch (error) {
      if (left === 0) throw error
      await new Promise((resolve) => setTimeout(resolve, 500))
    }
  }
  await client.query("select 1 as one, '" + process.env.AGENT + "'")
  await client.query("select 2 as two, '" + process.env.AGENT + "'")
  await new Promise((resolve) => setTimeout(resolve, 1500))
  await client.query("select 3 as three, '" + process.env.AGENT + "'")
  console.log('said 3')
  ${deed}
}
main().catch((error) => { console.log('failed ' + error.message); process.exit(1) })
`

async function startDoer(name: string, deed: string, options: AgentOptions = {}): Promise<LivePod> {
  const { env = [], spec, ...rest } = options
  const variables = [...(agentPod(name).spec['containers'] as { env: object[] }[])[0]!.env, { name: 'AGENT', value: name }, ...env]
  const pod = agentPod(name, { command: ['node', '-e', program(deed)], env: variables, spec: { restartPolicy: 'Never', ...spec }, ...rest })
  await kubectl(['-n', shop.namespace, 'create', '-f', '-'], JSON.stringify(pod))
  return podOf(shop.namespace, name)
}

async function untilSaid(name: string): Promise<void> {
  await eventually(`${name} has said it`, async () =>
    (await kubectl(['-n', shop.namespace, 'logs', name, '-c', 'agent'])).includes('said 3') ? true : null,
  )
}

/** Each of the agent's three statements is recorded, or counted in a stated gap; and the store is sound. */
async function assertAccounted(context: TestContext, name: string, podUid: string): Promise<void> {
  const { recorded, missing, loss } = await eventually(
    `the statements of ${name} are accounted for`,
    async () => {
      const account = await accountOf(recordings.url, podUid)
      const { recorded: found, missing: lacking, unfinished } = account
      const own = found.filter((sql) => sql.includes(`'${name}'`))
      assert.equal(own.length + lacking, 3, `${own.length} recorded, ${lacking} stated to be missing`)
      assert.equal(unfinished, 0, 'each session ends, or is stated to be lost')
      return { ...account, recorded: own }
    },
    { withinMilliseconds: accountedMillisecondsMax },
  ).catch(async (cause: unknown) => {
    throw new Error(`${name}: ${JSON.stringify(await accountOf(recordings.url, podUid), null, 1).slice(0, 3_000)}`, { cause })
  })
  context.diagnostic(`${recorded.length} recorded, ${missing} in a stated gap${loss === null ? '' : ` (${loss.loss.why})`}`)
  for (const { session } of await recordings.sessionsOf(podUid)) {
    const verified = await recordings.run(['verify', session])
    assert.equal(verified.status, 0, verified.stdout + verified.stderr)
    if (missing > 0) assert.match(verified.stdout, /SESSION_LOST/)
  }
}

function eraseTest(name: string, run: (context: TestContext) => Promise<void>): void {
  clusterTest(name, run, { timeoutMilliseconds: 480_000 })
}

const untilEnded = (name: string): Promise<LivePod> =>
  eventually(
    `${name} has ended`,
    async () => {
      const pod = await podOf(shop.namespace, name)
      return pod.status.phase === 'Failed' || pod.status.phase === 'Succeeded' ? pod : null
    },
    { withinMilliseconds: 150_000 },
  )

eraseTest('an agent that fills its disk is evicted, and its statement is accounted for', async (context) => {
  const fill = `for (const file of ['/scratch/fill', '/tmp/fill']) fs.writeFileSync(file, Buffer.alloc(48e6, 1)); setInterval(() => undefined, 1000)`
  const { metadata } = await startDoer('disk', fill, {
    container: {
      volumeMounts: [{ name: 'scratch', mountPath: '/scratch' }],
      resources: { limits: { 'ephemeral-storage': '16Mi' } },
    },
    spec: { volumes: [{ name: 'scratch', emptyDir: { sizeLimit: '16Mi' } }] },
  })
  await untilEnded('disk')
  await assertAccounted(context, 'disk', metadata.uid)
})

eraseTest('an agent that takes all its memory is killed by the kernel, and its statement is recorded', async (context) => {
  const take = 'const all = []; for (;;) all.push(Buffer.alloc(1e7, 1))'
  const { metadata } = await startDoer('memory', take, { container: { resources: { limits: { memory: '160Mi' } } } })
  const { status } = await untilEnded('memory')
  assert.equal(status.containerStatuses?.[0]?.state.terminated?.reason, 'OOMKilled')
  await assertAccounted(context, 'memory', metadata.uid)
})

eraseTest('an agent that takes every process that its pod may have keeps nothing from the recording', async (context) => {
  if (!seesTheNode) return context.skip('the node’s processes cannot be reached from here')
  const wait = 'await new Promise((resolve) => setTimeout(resolve, 2000));'
  const fork = `${wait} let refused = 0; for (let n = 0; n < 60; n++) spawn('sleep', ['20']).on('error', () => refused++); ${wait} console.log('refused ' + refused); process.exit(0)`
  const { metadata } = await startDoer('processes', fork)
  await untilSaid('processes')
  const folder = globSync([
    `/sys/fs/cgroup/pids/**/*${metadata.uid}`,
    `/sys/fs/cgroup/pids/**/*${metadata.uid.replaceAll('-', '_')}*`,
    `/sys/fs/cgroup/**/*pod${metadata.uid.replaceAll('-', '_')}*`,
  ])[0]
  assert.ok(folder !== undefined, 'the pod has a control group for its processes')
  writeFileSync(`${folder}/pids.max`, String(Number(readFileSync(`${folder}/pids.current`, 'utf8')) + 10))
  await untilEnded('processes')
  assert.match(await kubectl(['-n', shop.namespace, 'logs', 'processes', '-c', 'agent']), /refused [1-9]/)
  await assertAccounted(context, 'processes', metadata.uid)
})

eraseTest('an agent that ignores SIGTERM until it is killed leaves its statement in the recording', async (context) => {
  const ignore = `process.on('SIGTERM', () => undefined); setInterval(() => undefined, 1000)`
  const { metadata } = await startDoer('stubborn', ignore, { spec: { terminationGracePeriodSeconds: 4 } })
  await untilSaid('stubborn')
  await kubectl(['-n', shop.namespace, 'delete', 'pod', 'stubborn', '--timeout=180s'])
  await assertAccounted(context, 'stubborn', metadata.uid)
})

eraseTest('an agent that deletes its own pod by the API, without grace, cannot take its statement along', async (context) => {
  const account = '/var/run/secrets/kubernetes.io/serviceaccount'
  const erase = `
  const options = { method: 'DELETE', ca: fs.readFileSync('${account}/ca.crt'), headers: { authorization: 'Bearer ' + fs.readFileSync('${account}/token', 'utf8') } }
  const target = 'https://kubernetes.default.svc/api/v1/namespaces/' + process.env.NAMESPACE + '/pods/' + process.env.AGENT + '?gracePeriodSeconds=0'
  https.request(target, options, (answer) => console.log('answered ' + answer.statusCode)).on('error', (error) => console.log(error.message)).end()
  setInterval(() => undefined, 1000)`
  const { metadata } = await startDoer('suicide', erase, {
    env: [{ name: 'NAMESPACE', value: shop.namespace }],
    spec: { serviceAccountName: 'deleter', automountServiceAccountToken: true },
  })
  await kubectl(['-n', shop.namespace, 'wait', '--for=delete', 'pod/suicide', '--timeout=180s'])
  await assertAccounted(context, 'suicide', metadata.uid)
})

eraseTest('a pod that is deleted by force right behind a statement cannot take it along', async (context) => {
  const { metadata } = await startDoer('forced', 'setInterval(() => undefined, 1000)')
  await untilSaid('forced')
  await kubectl(['-n', shop.namespace, 'delete', 'pod', 'forced', '--force', '--grace-period=0'])
  await assertAccounted(context, 'forced', metadata.uid)
})
