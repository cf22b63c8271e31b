/**
 * Goal: a search reads what it must and nothing else, misses nothing that fits, and goes on past what is damaged.
 * Method: generated stores behind a store that notes what is read of it.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { chmod, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, beforeEach, afterEach, test } from 'node:test'
import { addSession, uniqueViolation } from './test-store.ts'
import { manifestKey, statementIndexKey } from '../../session/object-keys.ts'
import { openDirectoryStore } from '../../session/stores/directory.ts'
import { StoreUnavailable, type Store } from '../../session/stores/store.ts'
import { testEpoch } from '../../session/test-recording.ts'
import type { FilterOptions } from './filters.ts'
import { emptyCounts, scanStatements } from './scan.ts'

const hour = 3_600_000
const day = 24 * hour
let folder = ''
const folders: string[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'steno-scan-'))
  folders.push(folder)
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))
after(() => folders.forEach((made) => rmSync(made, { recursive: true, force: true })))

/** Notes the keys that are read, and the folders that are listed. */
function watched(store: Store): Store & { readonly read: Set<string>; readonly listed: string[] } {
  const read = new Set<string>()
  const listed: string[] = []
  const noting =
    <Rest extends readonly unknown[], Result>(work: (key: string, ...rest: Rest) => Result) =>
    (key: string, ...rest: Rest): Result => {
      read.add(key)
      return work(key, ...rest)
    }
  return {
    ...store,
    read,
    listed,
    get: noting(store.get),
    head: noting(store.head),
    range: noting(store.range),
    folders(prefix) {
      listed.push(prefix)
      return store.folders(prefix)
    },
  }
}

async function scan(filters: FilterOptions, store: Store = openDirectoryStore(folder)) {
  const counts = emptyCounts()
  const damaged: string[] = []
  const found: string[] = []
  for await (const batch of scanStatements(store, { filters, counts, onDamage: (session) => damaged.push(session) })) {
    for (const { line } of batch) found.push(line.sql)
  }
  return { found, damaged, counts }
}

test('newest sessions come first, and the statements of each in their order', async () => {
  for (let index = 0; index < 30; index++) {
    addSession(folder, index, { opened: testEpoch + index * hour, statements: [{ sql: `a${index}` }, { sql: `b${index}` }] })
  }
  const { found, counts } = await scan({})
  assert.deepEqual(
    found,
    [...Array(30).keys()].toReversed().flatMap((index) => [`a${index}`, `b${index}`]),
  )
  assert.deepEqual([counts.sessions, counts.matches, counts.reached], [30, 60, testEpoch])
})

test('a session that opened before the span and went on into it is searched', async () => {
  const long = addSession(folder, 1, {
    opened: testEpoch,
    lastedMilliseconds: 5 * day,
    statements: [{ sql: 'early' }, { sql: 'late', started: testEpoch + 4 * day, finished: testEpoch + 4 * day + 1 }],
  })
  const over = addSession(folder, 2, { opened: testEpoch + hour, statements: [{ sql: 'over' }] })
  const store = watched(openDirectoryStore(folder))
  assert.deepEqual((await scan({ since: testEpoch + 3 * day }, store)).found, ['late'])
  assert.ok(store.read.has(statementIndexKey(long, 1)))
  assert.ok(!store.read.has(statementIndexKey(over, 1)), 'its manifest says that it had ended')
  assert.deepEqual((await scan({ until: testEpoch + 10 })).found, ['early'])
})

test('days after the span are not even listed, and no segment is ever read', async () => {
  for (let index = 0; index < 5; index++) addSession(folder, index, { opened: testEpoch + index * day, statements: [{ sql: `${index}` }] })
  const store = watched(openDirectoryStore(folder))
  assert.deepEqual((await scan({ until: testEpoch + day + 1 }, store)).found, ['1', '0'])
  assert.deepEqual(store.listed, ['sessions/', 'sessions/2026-11-22/', 'sessions/2026-11-21/'])
  assert.ok([...store.read].every((key) => !key.includes('segment-')))
})

test('the index of a session whose user, database or application does not fit is not read', async () => {
  const other = addSession(folder, 1, { opened: testEpoch, user: 'anna', database: 'shop', application: 'web', statements: [{ sql: 'a' }] })
  for (const filters of [{ user: ['bert'] }, { database: ['store'] }, { application: ['job'] }]) {
    const store = watched(openDirectoryStore(folder))
    assert.deepEqual((await scan(filters, store)).found, [])
    assert.ok(!store.read.has(statementIndexKey(other, 1)))
  }
  assert.deepEqual((await scan({ user: ['anna'], database: ['shop'], application: ['web'] })).found, ['a'])
})

test('a trace is found by the statement that carries it', async () => {
  const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
  addSession(folder, 1, {
    opened: testEpoch,
    statements: [{ sql: 'traced', trace: { traceId, parentSpanId: '00f067aa0ba902b7', sampled: true } }, { sql: 'untraced' }],
  })
  assert.deepEqual((await scan({ trace: [traceId] })).found, ['traced'])
  assert.deepEqual((await scan({ trace: ['0'.repeat(32)] })).found, [])
})

test('a statement that the index cuts is counted when it did not fit: the rest of it may', async () => {
  addSession(folder, 1, {
    opened: testEpoch,
    statements: [
      { sql: 'select long', sqlTruncated: true },
      { sql: 'select needle', sqlTruncated: true },
    ],
  })
  const { found, counts } = await scan({ text: ['needle'] })
  assert.deepEqual([found, counts.cutShort], [['select needle'], 1])
  assert.equal((await scan({ failed: true })).counts.cutShort, 0, 'what is ruled out by its outcome')
})

test('damage of one session is told and hides no other', async () => {
  const sessions = [...Array(5).keys()].map((index) =>
    addSession(folder, index, { opened: testEpoch + index, statements: [{ sql: `${index}`, outcome: 'failed', error: uniqueViolation }] }),
  )
  const spoil = async (key: string, change: (text: string) => string): Promise<void> => {
    await chmod(join(folder, key), 0o600)
    await writeFile(join(folder, key), change(await readFile(join(folder, key), 'utf8')))
  }
  await spoil(statementIndexKey(sessions[1]!, 1), (text) => text.replace('23505', '23506'))
  await spoil(statementIndexKey(sessions[2]!, 1), (text) => text.slice(0, -20))
  await spoil(manifestKey(sessions[3]!), () => 'no manifest')
  const { found, damaged, counts } = await scan({ failed: true })
  assert.deepEqual([found.includes('0'), found.includes('4')], [true, true])
  assert.deepEqual(damaged.sort(), sessions.slice(1, 4))
  assert.equal(counts.damaged, 3)
})

test('a store that does not answer ends the search', async () => {
  addSession(folder, 1, { opened: testEpoch, statements: [{ sql: 'a' }] })
  const broken: Store = {
    ...openDirectoryStore(folder),
    range: () => Promise.reject(new StoreUnavailable('it is away', 'Wait.')),
  }
  await assert.rejects(scan({}, broken), { code: 'STORE_UNAVAILABLE' })
})
