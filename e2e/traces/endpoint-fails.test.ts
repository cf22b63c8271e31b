/**
 * Goal: an endpoint that is down, refuses or does not answer costs spans, which are counted, and nothing else.
 * Method: a real run against each; every statement must be answered, stored and verified, and the log must account for every span.
 */
import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { freePort } from '../../tools/free-port.ts'
import { assertVerified } from '../nothing-lost/recorded.ts'
import { startReceiver, type Manner } from './receiver.ts'
import { asAgent, recordedStatements, startTraced } from './world.ts'

let server: EmbeddedPostgres
before(async () => {
  server = await startPostgres()
})
after(() => server.stop())

const statementsRun = 50

type Dropped = { readonly withoutRoom: number; readonly notTaken: number; readonly reason?: string; readonly droppedInAll: number }

function droppedIn(log: string): Dropped[] {
  return log
    .split('\n')
    .filter((line) => line.includes('spans of statements were dropped'))
    .map((line) => JSON.parse(line) as Dropped)
}

async function assertCostsNothing(
  endpoint: string,
  { environment = {}, asked }: { environment?: Readonly<Record<string, string>>; asked?: () => Promise<void> } = {},
): Promise<Dropped[]> {
  await using proxy = await startTraced(server.url, { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, ...environment })
  await asAgent(proxy, async (client) => {
    for (let at = 0; at < statementsRun; at++) assert.deepEqual((await client.query(`select ${at} as n`)).rows, [{ n: at }])
  })
  await asked?.()
  assert.equal(await proxy.stop(), 0, 'everything is stored')
  await assertVerified(proxy.storeFolder, proxy.spoolFolder)
  assert.equal((await recordedStatements(proxy.storeUrl)).length, statementsRun)
  const dropped = droppedIn(proxy.log())
  assert.ok(!proxy.log().includes('secret'), 'the log has neither what the endpoint wrote nor its password')
  assert.ok(dropped.length > 0 && dropped.length <= 2, `said once, and once more in the end: ${proxy.log()}`)
  assert.equal(
    dropped.reduce((sum, { withoutRoom, notTaken }) => sum + withoutRoom + notTaken, 0),
    statementsRun,
    'every span is accounted for',
  )
  assert.equal(dropped.at(-1)?.droppedInAll, statementsRun)
  return dropped
}

test('an endpoint that is down disturbs nothing', async () => {
  await assertCostsNothing(`http://me:secret@127.0.0.1:${await freePort()}`)
})

const manners: [manner: Manner, what: string, reason: RegExp][] = [
  [503, 'answers 503', /HTTP 429, 502, 503 or 504|not taken before the end/],
  [401, 'answers 401', /HTTP 401/],
  ['silent', 'never answers', /not taken before the end/],
]
for (const [manner, what, reason] of manners) {
  test(`an endpoint that ${what} disturbs nothing`, async () => {
    await using receiver = await startReceiver()
    receiver.manner = manner
    const dropped = await assertCostsNothing(receiver.endpoint, { asked: () => receiver.untilRequests(1) })
    assert.ok(
      dropped.some((line) => reason.test(line.reason ?? '')),
      JSON.stringify(dropped),
    )
  })
}

test('an endpoint that comes back gets the spans that come then', async () => {
  await using receiver = await startReceiver()
  receiver.manner = 401
  await using proxy = await startTraced(server.url, { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint })
  await asAgent(proxy, async (client) => {
    await client.query('select 1 as lost')
    await receiver.untilRequests(1)
    receiver.manner = 'takes'
    await client.query('select 2 as kept')
    await receiver.until((spans) => spans.some(({ attributes }) => attributes['db.query.text'] === 'select ? as kept'))
  })
  assert.equal(await proxy.stop(), 0)
})

test('spans that come faster than they are taken are dropped beyond the queue, and counted', async () => {
  await using receiver = await startReceiver()
  receiver.manner = 'silent'
  const environment = { OTEL_BSP_MAX_QUEUE_SIZE: '5', OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '2' }
  const dropped = await assertCostsNothing(receiver.endpoint, { environment })
  assert.ok(
    dropped.some(({ withoutRoom }) => withoutRoom >= statementsRun - 7),
    JSON.stringify(dropped),
  )
})

test(
  'the sealing thread ends though an endpoint keeps it waiting, and the next session is traced as ever',
  { skip: process.platform === 'linux' ? false : 'threads are counted in /proc' },
  async () => {
    await using receiver = await startReceiver()
    receiver.manner = 'silent'
    // A request that nobody answers would hold the thread for longer than this test may take.
    const patience = { OTEL_EXPORTER_OTLP_TIMEOUT: '600000', OTEL_BSP_EXPORT_TIMEOUT: '600000' }
    await using proxy = await startTraced(server.url, { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint, ...patience })
    const sealingThreads = (): number => {
      const folder = `/proc/${proxy.pid}/task`
      return readdirSync(folder).filter((thread) => readFileSync(join(folder, thread, 'comm'), 'utf8') === 'WorkerThread\n').length
    }
    await asAgent(proxy, async (client) => {
      await client.query('select 1')
      await receiver.untilRequests(1)
      assert.equal(sealingThreads(), 1)
    })
    for (const giveUp = Date.now() + 120_000; sealingThreads() > 0; await sleep(100)) assert.ok(Date.now() < giveUp, 'the thread ended')
    receiver.manner = 'takes'
    await asAgent(proxy, (client) => client.query('select 2'))
    await receiver.until((spans) => spans.length === 1)
    assert.equal(await proxy.stop(), 0)
    const dropped = droppedIn(proxy.log())
    assert.deepEqual(
      dropped.map(({ notTaken }) => notTaken),
      [1],
    )
  },
)

test('what is wrong in the variables is warned about, and the proxy records without traces', async () => {
  await using proxy = await startTraced(server.url, {
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4317',
    OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
  })
  await asAgent(proxy, (client) => client.query('select 1'))
  assert.match(proxy.log(), /OTEL_EXPORTER_OTLP_PROTOCOL .* set it to http\/protobuf/)
  assert.equal(await proxy.stop(), 0)
  assert.equal((await recordedStatements(proxy.storeUrl)).length, 1)
})

/** The modules that a run loaded, in all its threads. */
async function modulesOf(environment: Readonly<Record<string, string>>): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'steno-modules-'))
  const file = join(folder, 'modules')
  const preload = new URL('list-modules.ts', import.meta.url).href
  try {
    const listing = { NODE_OPTIONS: `--import=${preload}`, STENO_TEST_MODULES: file }
    await using proxy = await startTraced(server.url, { ...environment, ...listing })
    await asAgent(proxy, (client) => client.query('select 1'))
    assert.equal(await proxy.stop(), 0)
    return readFileSync(file, 'utf8').split('\n')
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

test('without an endpoint nothing of OpenTelemetry is loaded', async () => {
  const without = await modulesOf({})
  assert.ok(
    without.some((url) => url.endsWith('/sidecar/sealing/worker.ts')),
    'the sealing thread is in the list',
  )
  assert.deepEqual(
    without.filter((url) => url.includes('opentelemetry')),
    [],
  )
  await using receiver = await startReceiver()
  const withEndpoint = await modulesOf({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint })
  assert.ok(
    withEndpoint.some((url) => url.includes('opentelemetry')),
    'with one they are, so the list would show them',
  )
})
