/**
 * Goal: in a real cluster a policy that is changed, withdrawn or given back takes effect in a running pod within two seconds, and the session that runs
 * goes on. Method: kubectl as the policy's owner has it, psql as the agent, the sidecar's own log for the time of effect.
 */
import assert from 'node:assert/strict'
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { after, before } from 'node:test'
import { apply, clusterTest, eventually, kubectl, ran } from './support/kubectl.ts'
import { openRecordings } from './support/recordings.ts'
import { agentPod, openShop, startAgent, type LivePod, type Shop } from './support/shop.ts'

const isThere = process.env['KUBECONFIG'] !== undefined
const effectMillisecondsMax = 2_000

let shop: Shop
let pod: LivePod
const running: ChildProcessWithoutNullStreams[] = []

before(async () => {
  if (!isThere) return
  shop = await openShop()
  await shop.query('create database reports')
  pod = await startAgent(shop.namespace, agentPod('speaker'))
  await untilTold((line) => line.msg === 'the policy changed')
})
after(async () => {
  if (!isThere) return
  for (const child of running) child.kill('SIGKILL')
  await shop[Symbol.asyncDispose]()
})

type LogLine = {
  readonly time: string | number
  readonly msg: string
  readonly state?: string
  readonly policy?: { readonly hash: string }
}

/** The first line of the sidecar's log that fits. */
async function untilTold(fits: (line: LogLine) => boolean): Promise<LogLine> {
  return eventually('the sidecar says so', async () => {
    const text = await kubectl(['-n', shop.namespace, 'logs', 'speaker', '-c', 'steno'])
    const lines = text.split('\n').filter((line) => line.startsWith('{') && line.includes('"msg"'))
    return lines.map((line) => JSON.parse(line) as LogLine).find(fits) ?? null
  })
}

/** Makes the change and gives the log line of its effect. */
async function takesEffect(change: () => Promise<unknown>, fits: (line: LogLine) => boolean): Promise<LogLine> {
  const begun = Date.now()
  await change()
  const changed = Date.now()
  const line = await untilTold((each) => each.msg === 'the policy changed' && new Date(each.time).getTime() >= begun && fits(each))
  const milliseconds = new Date(line.time).getTime() - changed
  assert.ok(milliseconds < effectMillisecondsMax, `it took ${milliseconds} ms`)
  return line
}

function setDatabases(databaseNames: readonly string[]): Promise<unknown> {
  const database = { ...(shop.policy.spec['databases'] as object[])[0], databaseNames }
  const patch = JSON.stringify({ spec: { databases: [database] } })
  return kubectl(['-n', shop.namespace, 'patch', 'sessionpolicy', 'orders', '--type=merge', '-p', patch])
}

/** A psql that stays. */
function openSession() {
  const inside = ['sh', '-c', 'exec psql "$DATABASE_URL" -qAt']
  const child = spawn('kubectl', ['-n', shop.namespace, 'exec', '-i', 'speaker', '-c', 'agent', '--', ...inside])
  running.push(child)
  let printed = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => void (printed += text))
  return {
    async say(sql: string, expected: RegExp): Promise<void> {
      child.stdin.write(`${sql};\n`)
      await eventually(`psql prints ${expected.source}`, () => Promise.resolve(expected.test(printed) ? true : null))
    },
    end: () => void child.stdin.end(),
  }
}

const openDatabase = (name: string) =>
  ran('kubectl', [
    ...['-n', shop.namespace, 'exec', 'speaker', '-c', 'agent', '--', 'sh', '-c'],
    `psql "$(echo "$DATABASE_URL" | sed 's,/shop,/${name},')" -qAtc 'select current_database()'`,
  ])

clusterTest('a change takes effect in two seconds; the session goes on, and its statements say by what they were judged', async () => {
  const session = openSession()
  await session.say("select 'be' || 'fore'", /before/)
  assert.match((await openDatabase('reports')).stderr, /not open to agents here/)
  const { policy } = await takesEffect(
    () => setDatabases(['shop', 'reports']),
    ({ state }) => state === 'in-force',
  )
  assert.match((await openDatabase('reports')).stdout, /^reports$/m)
  await session.say("select 'af' || 'ter'", /after/)
  session.end()
  await using recordings = await openRecordings()
  const hashes = await eventually('the session is stored', async () => {
    for (const { session: id, state } of await recordings.sessionsOf(pod.metadata.uid)) {
      const { stdout } = await recordings.run(['show', id, '--json'])
      const lines = stdout.split('\n').filter((line) => line !== '')
      const statements = lines.map((line) => JSON.parse(line) as { type: string; sql?: string; policy?: string })
      const of = (part: string) => statements.find(({ sql }) => sql?.includes(part) === true)?.policy
      if (state === 'closed' && of("'af'") !== undefined) return [of("'be'"), of("'af'")]
    }
    return null
  })
  assert.equal(hashes[1], policy?.hash)
  assert.notEqual(hashes[0], hashes[1])
})

clusterTest('a policy that is deleted ends sessions and refuses more with a hint; one that is made again lets them in', async () => {
  const session = openSession()
  await session.say("select 'he' || 're'", /here/)
  await takesEffect(
    () => kubectl(['-n', shop.namespace, 'delete', 'sessionpolicy', 'orders']),
    ({ state }) => state === 'withdrawn',
  )
  await session.say('select 1', /withdrawn|terminat|closed/)
  const refused = await openDatabase('shop')
  assert.match(refused.stderr, /policy of this pod was withdrawn/)
  assert.match(refused.stderr, /Ask whoever keeps the SessionPolicies/)
  await takesEffect(
    () => apply(shop.policy),
    ({ state }) => state === 'in-force',
  )
  assert.match((await openDatabase('shop')).stdout, /^shop$/m)
})
