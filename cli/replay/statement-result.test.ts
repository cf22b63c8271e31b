/**
 * Goal: what the player reads of one statement from the middle of a recording is what reading it from the start gives.
 * Method: a real conversation with all that makes the middle hard (prepared statements, pipelines, cursors, changed time zones, COPY,
 * errors), each statement read in a random order and compared with `steno show`.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import pg from 'pg'
import postgres from 'postgres'
import { createMemoryStore, type MemoryStore } from '../../session/memory-store.ts'
import { readIdentity } from '../../session/read-session.ts'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { show } from '../show.ts'
import { sealCaptured, startCapture } from '../test-capture.ts'
import { plainLines } from './plain.ts'
import { createSettingsHistory } from './settings-history.ts'
import { openStatementList } from './statement-list.ts'
import { createResultReader, type StatementResult } from './statement-result.ts'

let server: EmbeddedPostgres
let capture: Awaited<ReturnType<typeof startCapture>>
let store: MemoryStore
let session: string

before(async () => {
  server = await startPostgres({ authentication: 'trust' })
  capture = await startCapture(server)
  const sql = postgres({ host: capture.host, port: capture.port, user: server.superuser, max: 1, ssl: false, onnotice: () => undefined })
  await sql`create table orders (id int primary key, note text)`
  await sql`insert into orders select n, 'note ' || n from generate_series(1, 100) n`
  // Sent in one go, answered in one go.
  await Promise.all([1, 2, 3, 4].map((id) => sql`select id, note, now() as at from orders where id > ${id * 10} order by id`))
  await sql`set timezone to 'Asia/Tokyo'`
  await sql`select '2026-11-21 09:00:00+00'::timestamptz as at`
  await sql.begin(async (transaction) => {
    for await (const rows of transaction`select * from orders order by id`.cursor(30)) assert.ok(rows.length > 0)
    await transaction`declare batches cursor for select * from orders order by id`
    for (const _ of [1, 2, 3]) {
      await transaction`fetch 20 from batches`
      await transaction`select 20::int as so_many`
    }
  })
  await sql`select * from nowhere`.catch(() => undefined)
  await sql
    .unsafe('select 1 as one; select 2 as two, wrong_name')
    .simple()
    .catch(() => undefined)
  for await (const piece of await sql`copy orders to stdout`.readable()) assert.ok(String(piece).length > 0)
  await sql`select null as nothing, 'NULL' as text, ${Buffer.from([0, 255])}::bytea as bytes`
  await sql.end()
  store = createMemoryStore()
  session = await sealCaptured(store, capture.sessions.at(-1)!, 1, { manifest: true })
})
after(async () => {
  await capture.stop()
  await server.stop()
})

async function createReader(from: MemoryStore = store, id: string = session) {
  const statements = await openStatementList(from, id)
  const identity = await readIdentity(from, id)
  const settings = createSettingsHistory(from, id, identity.serverParameters)
  const reader = createResultReader({ store: from, identity, statements, settings })
  const early: StatementResult[] = []
  return {
    statements,
    early,
    async read(number: number, rowsMax = 1_000): Promise<StatementResult> {
      const statement = await statements.statement(number)
      assert.ok(statement !== null)
      return reader.read(statement, { rowsMax, signal: new AbortController().signal, onEarly: (result) => early.push(result) })
    },
  }
}

type Document = { type: string; values?: (string | null)[]; data?: string; sql?: string }

async function shownRows(number: number): Promise<{ rows: unknown[]; copied: string }> {
  const lines = await Array.fromAsync(show(store, session, { statement: number, null: '', json: true }))
  const documents = lines.map((line) => JSON.parse(line) as Document)
  return {
    rows: documents.filter(({ type }) => type === 'row').map(({ values }) => values),
    copied: documents.map(({ data = '' }) => Buffer.from(data, 'base64').toString()).join(''),
  }
}

test('each statement, read in any order, has the rows that reading from the start gives', async () => {
  const { statements, read } = await createReader()
  assert.ok(statements.count > 20)
  const numbers = Array.from({ length: statements.count }, (_, index) => index + 1)
  for (const order of [numbers, numbers.toReversed(), numbers.map((number) => ((number * 7) % statements.count) + 1)]) {
    for (const number of order) {
      const result = await read(number)
      const expected = await shownRows(number)
      assert.deepEqual(result.rows, expected.rows, `statement ${number}: ${result.statement.sql}`)
      assert.equal(result.brokenBy, null)
      assert.equal(result.copies.flatMap(({ lines }) => lines).join('\n'), expected.copied.trimEnd())
    }
  }
})

test('a time zone that was set earlier holds, though its statement was never looked at', async () => {
  const client = new pg.Client({ host: capture.host, port: capture.port, user: server.superuser, database: 'postgres' })
  await client.connect()
  await client.query("set timezone to 'Asia/Tokyo'")
  await client.query('select 1')
  // In binary form the value itself says nothing of the zone.
  const binary = { text: 'select $1::timestamptz as at', values: ['2026-11-21 09:00:00+00'], binary: true }
  await client.query(binary)
  await client.end()
  const own = createMemoryStore()
  const id = await sealCaptured(own, capture.sessions.at(-1)!, 2, { manifest: true })
  const { read, early } = await createReader(own, id)
  assert.deepEqual((await read(3)).rows, [['2026-11-21 18:00:00+09']])
  // By the settings of the session's start, since these are all that is known without reading.
  assert.notDeepEqual(
    early.map(({ rows }) => rows),
    [[['2026-11-21 18:00:00+09']]],
  )
  assert.equal(early.length, 1)
  await read(3)
  await read(2)
  assert.equal(early.length, 1, 'what was read is not read again')
})

test('no more rows are read than asked for, and they are the right ones in a pipeline too', async () => {
  const { statements, read } = await createReader()
  const first = (await numberOf(statements, 'insert into orders')) + 1
  for (const [index, id] of [11, 21, 31, 41].entries()) {
    for (const rowsMax of [1, 2]) {
      const { rows } = await read(first + index, rowsMax)
      assert.deepEqual(
        rows.map((row) => row[0]),
        [id, id + 1].slice(0, rowsMax).map(String),
      )
    }
  }
})

test('an error in a query of several statements points into the whole text', async () => {
  const { statements, read } = await createReader()
  const result = await read(await numberOf(statements, 'wrong_name'))
  assert.equal(result.queryText, 'select 1 as one; select 2 as two, wrong_name')
})

test('reading can be given up', async () => {
  const { statements } = await createReader()
  const identity = await readIdentity(store, session)
  const settings = createSettingsHistory(store, session, identity.serverParameters)
  const reader = createResultReader({ store, identity, statements, settings })
  const statement = await statements.statement(5)
  const signal = AbortSignal.abort(new Error('moved on'))
  await assert.rejects(reader.read(statement!, { rowsMax: 10, signal, onEarly: () => undefined }), /moved on/)
})

test('the plain form has every statement with its rows, and tells NULL from the text', async () => {
  const lines = await Array.fromAsync(plainLines(store, await readIdentity(store, session), 1))
  const { statements } = await createReader()
  for (let number = 1; number <= statements.count; number++) {
    assert.equal(lines.filter((line) => line.startsWith(`statement ${number}, `)).length, 1)
  }
  const text = lines.join('\n')
  assert.match(text, /\n {2}nothing is NULL\n {2}text: NULL\n {2}bytes: \\x00ff\n1 row in all\n/)
  assert.match(text, /\n {2}at: 2026-11-21 18:00:00\+09\n/)
  assert.match(text, /\nERROR: {2}relation "nowhere" does not exist\nLINE 1: select \* from nowhere\n {22}\^\n/)
  assert.match(text, /\nended +the client said goodbye/)
  assert.doesNotMatch(text, /[\x00-\x08\x0b-\x1f\x7f-\x9f\u2500-\u257f]/)
  const later = await Array.fromAsync(plainLines(store, await readIdentity(store, session), 10))
  assert.equal(
    later.some((line) => line.startsWith('statement 9,')),
    false,
  )
  assert.ok(later.some((line) => line.startsWith('statement 10,')))
})

async function numberOf(statements: Awaited<ReturnType<typeof openStatementList>>, sql: string): Promise<number> {
  for (let number = 1; number <= statements.count; number++) {
    if ((await statements.statement(number))!.sql.includes(sql)) return number
  }
  throw new Error(`no statement has ${sql}`)
}
