// Goal: at level `stored` agents get all that they would get otherwise, when the store has it and never before. Method: the real proxy before a
// real PostgreSQL; its store is taken away and brought back, and clients of several kinds say what they got.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { createLog } from '../../base/log.ts'
import { readRecords, sessionIds } from '../../session/read-session.ts'
import { recordType } from '../../session/records.ts'
import { openStore } from '../../session/stores/open-store.ts'
import { startProxy } from '../../sidecar/main.ts'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { assertVerified, readRecorded } from '../nothing-lost/recorded.ts'
import { connectRemembering, execute, firstColumn, message, query } from '../nothing-lost/remembering-client.ts'
import { testSettings } from '../nothing-lost/test-settings.ts'
import { startProxyProcess, steno, type RunningProxy } from '../support/proxy.ts'
import { bringStoreBack, takeStoreAway, untilLogged, untilRefused } from './store-away.ts'

let database: EmbeddedPostgres
before(async () => {
  database = await startPostgres()
  await database.query('create table made (number int)')
})
after(() => database.stop())

const start = (...more: readonly string[]): Promise<RunningProxy> =>
  startProxyProcess({ upstream: database.url, arguments: ['--level', 'stored', ...more] })

function filesOf(folder: string, ending: string): number {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith(ending)).length
}

test(
  'while the store is away nothing arrives that it does not have, and when it is back everything goes on',
  { timeout: 300_000 },
  async () => {
    await using proxy = await start()
    await using client = await connectRemembering(proxy.port, 'waits')
    assert.deepEqual(firstColumn(await client.query("select 'before'")), ['before'])
    const received = client.received()
    await takeStoreAway(proxy)
    const answer = client.query('insert into made values (1) returning number')
    const greeted = connectRemembering(proxy.port, 'begins-meanwhile')
    await untilRefused(proxy)
    assert.deepEqual(await database.query('select number from made'), [{ number: 1 }], 'the statement was sent and executed')
    assert.ok(client.received().equals(received), 'its result is withheld')
    await bringStoreBack(proxy)
    assert.deepEqual(firstColumn(await answer), ['1'])
    await using other = await greeted
    assert.deepEqual(firstColumn(await other.query("select 'also'")), ['also'])
    await client.end()
    await other.end()
    assert.equal(await proxy.stop(), 0)
    await assertVerified(proxy.storeFolder, proxy.spoolFolder)
    assert.ok((await readRecorded(proxy.storeFolder)).get('waits')!.backend.equals(client.received()))
  },
)

test('an agent that asked and said goodbye while the store was away gets its result when it is back', { timeout: 300_000 }, async () => {
  await using proxy = await start()
  await using client = await connectRemembering(proxy.port, 'goodbye')
  await takeStoreAway(proxy)
  client.send(query("select 'the last word'"), message('X'))
  await untilRefused(proxy)
  assert.equal(client.received().length, 0)
  await bringStoreBack(proxy)
  await client.ended
  assert.match(client.received().toString('latin1'), /the last word/)
})

test('an agent that leaves while its result is withheld leaves nothing behind', { timeout: 300_000 }, async () => {
  await using proxy = await start('--store-wait-milliseconds', '1000')
  const client = await connectRemembering(proxy.port, 'leaves')
  await takeStoreAway(proxy)
  client.send(query("select repeat('x', 1000) from generate_series(1, 20000)")) // More than may be withheld.
  await untilRefused(proxy)
  client.socket.destroy()
  const open = "select pid from pg_stat_activity where backend_type = 'client backend' and application_name = 'leaves'"
  while ((await database.query(open)).length > 0) await sleep(20)
  await bringStoreBack(proxy)
  assert.equal(await proxy.stop(), 0, proxy.log())
  await assertVerified(proxy.storeFolder, proxy.spoolFolder)
  assert.equal((await readRecorded(proxy.storeFolder)).size, 1)
})

test('a proxy that is told to stop while results are withheld ends within its bounds', { timeout: 300_000 }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'steno-withheld-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const settings = { ...testSettings(database.url, folder), level: 'stored', drainMilliseconds: 100 } as const
  const proxy = await startProxy({ ...settings, endMillisecondsMax: { close: 300, store: 300 } }, createLog({ level: 'silent' }))
  await using client = await connectRemembering(proxy.port, 'cut')
  await takeStoreAway({ storeFolder: join(folder, 'store') })
  client.send(query("select 'never seen'"))
  const seen = "select pid from pg_stat_activity where query like '%never seen%' and state = 'idle'"
  while ((await database.query(seen)).length === 0) await sleep(20)
  assert.deepEqual(await proxy.stop(), { everythingStored: false })
  await client.ended
  assert.ok(!client.received().includes('never seen'))
})

test('thirty-two clients at once get their own results, and share rounds of the store', { timeout: 300_000 }, async () => {
  await using proxy = await start()
  const clients = await Promise.all(Array.from({ length: 32 }, (_, index) => connectRemembering(proxy.port, `client-${index}`)))
  const each = 10
  await Promise.all(
    clients.map(async (client) => {
      for (let number = 1; number <= each; number++) {
        const text = `${client.applicationName} ${number}`
        assert.deepEqual(firstColumn(await client.ask(execute('select $1', text))), [text])
      }
    }),
  )
  const statements = clients.length * each
  const entries = filesOf(`${proxy.storeFolder}/ledger`, '.json')
  assert.ok(entries < statements / 2, `${entries} ledger entries for ${statements} statements`)
  await Promise.all(clients.map((client) => client.end()))
  assert.equal(await proxy.stop(), 0)
  await assertVerified(proxy.storeFolder, proxy.spoolFolder)
})

test('pipelines, COPY, notices, notifications, errors and cancelling are as without it', { timeout: 300_000 }, async () => {
  await using proxy = await start()
  const listener = new pg.Client({ connectionString: proxy.url() })
  await listener.connect()
  const heard = new Promise((resolve) => listener.once('notification', ({ payload }) => resolve(payload)))
  await listener.query('listen news')
  await using client = await connectRemembering(proxy.port, 'kinds')
  const pipeline = await client.ask(execute('select $1', 'one').subarray(0, -5), execute('select $1', 'two')) // One Sync for both.
  assert.deepEqual(firstColumn(pipeline), ['one', 'two'])
  const types = async (sql: string): Promise<string> => (await client.query(sql)).map(({ type }) => type).join('')
  assert.equal(await types("do $$ begin raise notice 'noticed'; end $$"), 'NCZ')
  assert.equal(await types('select 1/0'), 'EZ')
  assert.equal(await types('copy (select generate_series(1, 3)) to stdout'), 'HdddcCZ')
  assert.equal(await types("notify news, 'arrived'"), 'CZ')
  assert.equal(await heard, 'arrived')
  const sleeping = new pg.Client({ connectionString: proxy.url() })
  await sleeping.connect()
  const cancelled = assert.rejects(sleeping.query('select pg_sleep(60)'), /canceling statement/)
  const asleep = "select pid from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'"
  while ((await database.query(asleep)).length === 0) await sleep(20)
  const canceller = new pg.Client({ connectionString: proxy.url() }) as pg.Client & { cancel(client: pg.Client, query: unknown): void }
  canceller.cancel(sleeping, (sleeping as unknown as { _getActiveQuery(): unknown })._getActiveQuery())
  await cancelled
  await sleeping.end()
  await listener.end()
})

test('a result of 200 MiB arrives in stored pieces, whole, and needs no more memory than otherwise', { timeout: 300_000 }, async () => {
  const residentMebibytesMax = 200
  await using proxy = await start('--live', 'off')
  const client = await connectRemembering(proxy.port, 'large')
  client.socket.removeAllListeners('data')
  let bytes = 0
  let residentMebibytes = 0
  const rows = 200 * 1024
  const rowBytes = 1 + 4 + 2 + 4 + 1_024
  client.send(query(`select repeat('x', 1024) from generate_series(1, ${rows})`))
  for await (const chunk of client.socket as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes % 64 === 0 || chunk.length > 32 * 1024) {
      const pages = Number(readFileSync(`/proc/${proxy.pid}/statm`, 'utf8').split(' ')[1])
      residentMebibytes = Math.max(residentMebibytes, (pages * 4_096) / 1024 ** 2)
    }
    if (chunk.subarray(-6, -1).equals(Buffer.from('Z\0\0\0\x05', 'latin1'))) break
  }
  assert.ok(bytes > rows * rowBytes, `${bytes} bytes arrived`)
  assert.ok(residentMebibytes < residentMebibytesMax, `${residentMebibytes} MiB`)
})

test(
  'with --on-record-failure continue results go on when the store has been away too long, and the recording says so',
  { timeout: 300_000 },
  async () => {
    await using proxy = await start('--on-record-failure', 'continue', '--store-wait-milliseconds', '2000')
    await using client = await connectRemembering(proxy.port, 'goes-on')
    await client.query("select 'stored'")
    await takeStoreAway(proxy)
    assert.deepEqual(firstColumn(await client.query("select 'late'")), ['late'])
    assert.deepEqual(firstColumn(await client.query("select 'at once'")), ['at once'])
    assert.match(proxy.log(), /results go on although the store does not take their recordings/)
    await bringStoreBack(proxy)
    await untilLogged(proxy, 'the store takes recordings again')
    await takeStoreAway(proxy)
    const answer = client.query("select 'withheld again'")
    await untilRefused(proxy)
    await bringStoreBack(proxy)
    await answer
    await client.end()
    assert.equal(await proxy.stop(), 0)
    const verified = await steno(['verify', '--all', '--store', proxy.storeUrl])
    assert.equal(verified.status, 0, verified.stdout + verified.stderr)
    const store = await openStore(proxy.storeUrl)
    const stated: { from: number; to: number | null; bytes: number }[] = []
    for await (const session of sessionIds(store, 'oldest'))
      for await (const { type, payload } of readRecords(store, session))
        if (type === recordType.deliveredUnstored) stated.push(JSON.parse(payload.toString('utf8')) as (typeof stated)[number])
    const [began, ended] = stated
    assert.ok(began !== undefined && ended !== undefined && began.to === null && ended.to !== null, JSON.stringify(stated))
    assert.equal(began.from, ended.from)
    assert.ok(ended.bytes > began.bytes && ended.to >= ended.from)
  },
)
