/**
 * Goal: however a pod's life ends, each recording is complete or says what it lacks, and steno opens no other way. Method: real Jobs,
 * updates, evictions and deaths, then the auditor's view.
 */
import assert from 'node:assert/strict'
import { after, before } from 'node:test'
import { clusterTest, eventually, getJson, kubectl, ran } from './support/kubectl.ts'
import { killContainer, killPod, limitMemory, seesTheNode } from './support/node.ts'
import { memoryOf } from './support/memory.ts'
import { openRecordings, type RecordedSession, type Recordings } from './support/recordings.ts'
import { agentPod, inAgent, openShop, podTemplate, podOf, startAgent, untilRunning, type LivePod, type Shop } from './support/shop.ts'

let shop: Shop
let recordings: Recordings
const isThere = process.env['KUBECONFIG'] !== undefined
/** From the agent's end to the pod's. */
const jobEndMillisecondsMax = 10_000
/** What the sidecar's container requests unless the policy says otherwise, and what it may have at the most; bench/sidecar.ts has the figures. */
const requestedBytes = 96 * 1024 * 1024
const limitedBytes = 200 * 1024 * 1024

before(async () => {
  if (!isThere) return
  shop = await openShop()
  recordings = await openRecordings('default', { since: new Date() })
})
after(async () => {
  if (!isThere) return
  await recordings[Symbol.asyncDispose]()
  await shop[Symbol.asyncDispose]()
})

/** The pod's sessions once each has its end. */
async function closedSessions(podUid: string, count: number): Promise<RecordedSession[]> {
  return eventually(`${count} closed sessions of the pod are stored`, async () => {
    const found = await recordings.sessionsOf(podUid)
    return found.length >= count && found.every(({ closed }) => closed !== null) ? found : null
  })
}

async function assertWhole(sessions: readonly RecordedSession[], statement: RegExp): Promise<void> {
  for (const { session } of sessions) {
    const verified = await recordings.run(['verify', session])
    assert.equal(verified.status, 0, verified.stdout + verified.stderr)
    const shown = await recordings.run(['show', session])
    assert.match(shown.stdout, statement)
  }
}

async function podsOf(selector: string): Promise<LivePod[]> {
  return (await getJson<{ items: LivePod[] }>(['-n', shop.namespace, 'pods', '-l', selector])).items
}

clusterTest('a Job ends within 10 s of its agent, with its recording sealed', async () => {
  const template = podTemplate('job', {
    command: ['sh', '-c', 'psql "$DATABASE_URL" -c "select count(*) from orders"'],
    spec: { restartPolicy: 'Never' },
  })
  const job = { apiVersion: 'batch/v1', kind: 'Job', metadata: { name: 'count' }, spec: { backoffLimit: 0, template } }
  await kubectl(['-n', shop.namespace, 'create', '-f', '-'], JSON.stringify(job))
  await kubectl(['-n', shop.namespace, 'wait', '--for=condition=Complete', 'job/count', '--timeout=180s'])
  const [pod] = await podsOf('app=job')
  assert.ok(pod !== undefined)
  const agent = pod.status.containerStatuses?.[0]?.state.terminated
  const sidecar = await eventually('the sidecar has ended', async () => {
    const { status } = await podOf(shop.namespace, pod.metadata.name)
    return status.initContainerStatuses?.find(({ name }) => name === 'steno')?.state.terminated ?? null
  })
  assert.equal(sidecar.exitCode, 0, JSON.stringify(sidecar))
  const took = Date.parse(sidecar.finishedAt) - Date.parse(agent?.finishedAt ?? '')
  assert.ok(took <= jobEndMillisecondsMax, `the sidecar ended ${took} ms after its agent`)
  await assertWhole(await closedSessions(pod.metadata.uid, 1), /select count\(\*\) from orders/)
})

clusterTest('a CronJob’s pod is injected and recorded like any other', async () => {
  const template = podTemplate('cron', {
    command: ['sh', '-c', 'psql "$DATABASE_URL" -c "select 11 as eleven"'],
    spec: { restartPolicy: 'Never' },
  })
  const spec = { schedule: '0 0 1 1 *', jobTemplate: { spec: { backoffLimit: 0, template } } }
  await kubectl(
    ['-n', shop.namespace, 'create', '-f', '-'],
    JSON.stringify({ apiVersion: 'batch/v1', kind: 'CronJob', metadata: { name: 'yearly' }, spec }),
  )
  await kubectl(['-n', shop.namespace, 'create', 'job', 'now', '--from=cronjob/yearly'])
  await kubectl(['-n', shop.namespace, 'wait', '--for=condition=Complete', 'job/now', '--timeout=180s'])
  const [pod] = await podsOf('app=cron')
  assert.ok(pod !== undefined)
  await assertWhole(await closedSessions(pod.metadata.uid, 1), /select 11 as eleven/)
})

clusterTest('a rolling update in the middle of a transaction leaves whole recordings of both pods', async () => {
  const long = 'psql "$DATABASE_URL" -c "begin" -c "update orders set total = total + 1 where id = 1" -c "select pg_sleep(600)"'
  const template = podTemplate('rolling', { command: ['sh', '-c', `${long}; sleep 3600`], spec: { terminationGracePeriodSeconds: 15 } })
  const deployment = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'rolling' },
    spec: { replicas: 1, selector: { matchLabels: { app: 'rolling' } }, template },
  }
  await kubectl(['-n', shop.namespace, 'create', '-f', '-'], JSON.stringify(deployment))
  await kubectl(['-n', shop.namespace, 'rollout', 'status', 'deployment/rolling', '--timeout=180s'])
  const [first] = await podsOf('app=rolling')
  assert.ok(first !== undefined)
  await eventually('the transaction is open', async () =>
    (await shop.query("select count(*) from pg_stat_activity where query like '%pg_sleep(600)%' and usename = 'shop_agent'")).trim() === '1'
      ? true
      : null,
  )
  await kubectl(['-n', shop.namespace, 'rollout', 'restart', 'deployment/rolling'])
  await kubectl(['-n', shop.namespace, 'rollout', 'status', 'deployment/rolling', '--timeout=180s'])
  await kubectl(['-n', shop.namespace, 'wait', '--for=delete', `pod/${first.metadata.name}`, '--timeout=180s'])
  await assertWhole(await closedSessions(first.metadata.uid, 1), /update orders set total/)
  assert.equal((await shop.query('select total from orders where id = 1')).trim(), '1.5', 'the transaction was rolled back')
  await kubectl(['-n', shop.namespace, 'delete', 'deployment', 'rolling', '--wait=false'])
})

clusterTest('an evicted pod leaves a whole recording', async () => {
  const { metadata } = await startAgent(shop.namespace, agentPod('evicted'))
  await inAgent(shop.namespace, 'evicted', ['sh', '-c', 'psql "$DATABASE_URL" -c "select 12 as twelve"'])
  const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: 'evicted', namespace: shop.namespace } }
  await kubectl(['create', '--raw', `/api/v1/namespaces/${shop.namespace}/pods/evicted/eviction`, '-f', '-'], JSON.stringify(eviction))
  await kubectl(['-n', shop.namespace, 'wait', '--for=delete', 'pod/evicted', '--timeout=180s'])
  await assertWhole(await closedSessions(metadata.uid, 1), /select 12 as twelve/)
})

clusterTest('an agent that ignores SIGTERM and speaks to its end leaves a whole recording, made in the two seconds behind it', async () => {
  const endless = 'trap "" TERM; while true; do psql "$DATABASE_URL" -qAtc "select 13 as thirteen" >/dev/null; sleep 0.2; done'
  const long = '(while true; do echo "select 14 as fourteen;"; sleep 0.1; done | psql "$DATABASE_URL" -qAt >/dev/null) &'
  const spec = { terminationGracePeriodSeconds: 15 }
  const { metadata } = await startAgent(shop.namespace, agentPod('stubborn', { command: ['sh', '-c', `${long} ${endless}`], spec }))
  await eventually('it speaks', async () => ((await recordings.sessionsOf(metadata.uid)).length > 3 ? true : null))
  const followed = ran('kubectl', ['-n', shop.namespace, 'logs', 'stubborn', '-c', 'steno', '--follow'])
  await kubectl(['-n', shop.namespace, 'delete', 'pod', 'stubborn', '--timeout=180s'])
  const { stdout: log } = await followed
  // It knows from its preStop hook how much of the grace period the agent has used.
  assert.match(log, /"withinMilliseconds":\d{4},"usedMilliseconds":1[3-7]\d{3},"msg":"stopping"/)
  assert.match(log, /"everythingStored":true,"waitingBytes":0,"msg":"stopped"/)
  const sessions = await recordings.sessionsOf(metadata.uid)
  const unfinished = sessions.filter(({ closed }) => closed === null)
  assert.deepEqual(unfinished, [], 'each session has its end')
  const verified = await recordings.run(['verify', '--all'])
  assert.equal(verified.status, 0, verified.stdout.slice(-2_000))
})

clusterTest('a sidecar in everyday use fits the memory that it requests', async (context) => {
  if (!seesTheNode) return context.skip('the node’s processes cannot be reached from here')
  await startAgent(shop.namespace, agentPod('measured'))
  const chat =
    'for n in $(seq 20); do (for i in $(seq 20); do echo "select * from orders where id = $i;"; sleep 0.2; done | psql "$DATABASE_URL" -qAt >/dev/null) & done; wait'
  let isOver = false
  const chatting = inAgent(shop.namespace, 'measured', ['sh', '-c', chat]).finally(() => (isOver = true))
  let most = 0
  while (!isOver) most = Math.max(most, (await memoryOf(shop.namespace, 'measured', 'steno')).workingSetBytes)
  await chatting
  await inAgent(shop.namespace, 'measured', ['sh', '-c', `psql "$DATABASE_URL" -qAtc "select repeat('x', 100000000)" >/dev/null`])
  const large = (await memoryOf(shop.namespace, 'measured', 'steno')).workingSetBytes
  assert.ok(most > 0 && most <= requestedBytes, `${most} bytes with 20 sessions`)
  assert.ok(large <= limitedBytes, `${large} bytes after a large result`)
})

clusterTest('a sidecar that is killed takes the database with it, comes back, and loses nothing', async (context) => {
  if (!seesTheNode) return context.skip('the node’s processes cannot be reached from here')
  const { metadata } = await startAgent(shop.namespace, agentPod('killed'))
  const ask = (number: number) => ['sh', '-c', `psql "$DATABASE_URL" -Atc "select ${number} as number"`]
  await inAgent(shop.namespace, 'killed', ask(1401))
  await killContainer(shop.namespace, 'killed', 'steno')
  // No other way by steno's doing: until it is back the agent has no database.
  const meanwhile = await ran('kubectl', ['-n', shop.namespace, 'exec', 'killed', '-c', 'agent', '--', ...ask(1402)])
  if (meanwhile.code !== 0) assert.match(meanwhile.stderr, /127\.0\.0\.1|server closed the connection|Connection refused/)
  await eventually('the database is back', async () =>
    (await inAgent(shop.namespace, 'killed', ask(1403))).trim() === '1403' ? true : null,
  )
  const sessions = await closedSessions(metadata.uid, 2)
  await assertWhole(sessions, /select 140[123] as number/)
  const { status } = await podOf(shop.namespace, 'killed')
  assert.ok((status.initContainerStatuses?.find(({ name }) => name === 'steno')?.restartCount ?? 0) >= 1)
})

clusterTest('a sidecar without memory is ended by the kernel, and what passed before is recorded', async (context) => {
  if (!seesTheNode) return context.skip('the node’s processes cannot be reached from here')
  const { metadata } = await startAgent(shop.namespace, agentPod('starved'))
  await inAgent(shop.namespace, 'starved', ['sh', '-c', 'psql "$DATABASE_URL" -Atc "select 15 as fifteen"'])
  // As little as the kernel lets it have: below what is in use and cannot be given back, it refuses.
  for (let mebibytes = 120; mebibytes >= 12; mebibytes -= 2) {
    try {
      await limitMemory(shop.namespace, 'starved', 'steno', mebibytes * 1024 * 1024)
    } catch (error) {
      if (!/EBUSY/.test(String(error))) throw error
      break
    }
  }
  const endedAs = await eventually('the kernel ended it', async () => {
    await ran('kubectl', [
      '-n',
      shop.namespace,
      'exec',
      'starved',
      '-c',
      'agent',
      '--',
      'sh',
      '-c',
      'for n in 1 2 3 4; do psql "$DATABASE_URL" -qAtc "select repeat(\'x\', 50000000)" >/dev/null & done; wait',
    ])
    const { status } = await podOf(shop.namespace, 'starved')
    return status.initContainerStatuses?.find(({ name }) => name === 'steno')?.lastState?.terminated ?? null
  })
  assert.equal(endedAs.exitCode, 137)
  await eventually('the database is back', async () =>
    (await inAgent(shop.namespace, 'starved', ['sh', '-c', 'psql "$DATABASE_URL" -Atc "select 16"'])).trim() === '16' ? true : null,
  )
  const sessions = await closedSessions(metadata.uid, 2)
  const shown = await Promise.all(sessions.map(async ({ session }) => (await recordings.run(['show', session])).stdout))
  assert.ok(shown.some((text) => text.includes('select 15 as fifteen')))
  const verified = await recordings.run(['verify', '--all'])
  assert.equal(verified.status, 0, verified.stdout.slice(-2_000))
})

clusterTest('a pod whose processes all die at once, as when its node restarts, goes on with its recording', async (context) => {
  if (!seesTheNode) return context.skip('the node’s processes cannot be reached from here')
  const { metadata } = await startAgent(shop.namespace, agentPod('restarted'))
  await inAgent(shop.namespace, 'restarted', ['sh', '-c', 'psql "$DATABASE_URL" -Atc "select 17 as seventeen"'])
  await killPod(shop.namespace, 'restarted')
  await eventually('the pod is back', async () => {
    const { status } = await podOf(shop.namespace, 'restarted')
    return (status.containerStatuses?.[0]?.restartCount ?? 0) >= 1 ? true : null
  })
  await untilRunning(shop.namespace, 'restarted')
  await eventually('the database is back', async () =>
    (await inAgent(shop.namespace, 'restarted', ['sh', '-c', 'psql "$DATABASE_URL" -Atc "select 18"'])).trim() === '18' ? true : null,
  )
  await assertWhole(await closedSessions(metadata.uid, 2), /select 1[78]/)
})
