import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import pg from 'pg'
import { createMemoryStore, type MemoryStore } from '../session/memory-store.ts'
import { recordType } from '../session/records.ts'
import { segmentKey } from '../session/object-keys.ts'
import { testEpoch } from '../session/test-recording.ts'
import { program, type Program } from '../tools/debian-programs.ts'
import { startPostgres, type EmbeddedPostgres } from '../tools/embedded-postgres.ts'
import { show, type ShowOptions } from './show.ts'
import { sealCaptured, startCapture } from './test-capture.ts'

let server: EmbeddedPostgres
let psql: Program
let capture: Awaited<ReturnType<typeof startCapture>>

before(async () => {
  server = await startPostgres({ authentication: 'trust' })
  psql = await program('psql')
  capture = await startCapture(server)
})
after(async () => {
  await capture.stop()
  await server.stop()
})

async function runPsql(commands: readonly string[], input = ''): Promise<{ stdout: string; stderr: string }> {
  const url = `postgresql://${server.superuser}@${capture.host}:${capture.port}/postgres?sslmode=disable&gssencmode=disable`
  const options = commands.flatMap((command) => ['-c', command])
  const running = promisify(execFile)(psql.command, ['-X', '-P', 'pager=off', '-P', 'null=~', url, ...options], {
    env: { ...process.env, ...psql.env, PGCLIENTENCODING: 'UTF8', LC_ALL: 'C' },
  })
  running.child.stdin?.end(input)
  return running.catch((error: unknown) => error as { stdout: string; stderr: string })
}

/** The last conversation as a session in a store of its own. */
async function lastSession(options: Partial<Parameters<typeof sealCaptured>[3]> = {}): Promise<{ store: MemoryStore; session: string }> {
  const store = createMemoryStore()
  return { store, session: await sealCaptured(store, capture.sessions.at(-1)!, 1, { manifest: true, ...options }) }
}

async function shown(store: MemoryStore, options: Partial<ShowOptions> = {}): Promise<string[]> {
  return Array.fromAsync(show(store, 'last', { null: '', ...options }))
}

// Goal: what was recorded reads as psql showed it at the time. Method: real psql through a recording pipe, and its own output.
test('the rows of a recorded statement are shown as psql printed them', async () => {
  const queries = [
    "select 1 as a, 'x' as b, null as c",
    "select n, repeat('ü', n) as text, n * 1.5 as x, now() as t from generate_series(1, 20) n",
    "select e'two\\nlines', '日本' as wide",
    'select from generate_series(1, 3)',
    'select 1 where false',
    'select * from pg_type where oid < 1000 order by oid',
  ]
  const { stdout } = await runPsql(queries)
  for (const manifest of [true, false]) {
    const { store } = await lastSession({ manifest })
    let grids = ''
    for (let number = 1; number <= queries.length; number++) {
      const lines = await shown(store, { statement: number, null: '~' })
      const sqlAt = lines.indexOf(queries[number - 1]!)
      assert.ok(sqlAt > 0, queries[number - 1])
      grids += `${lines.slice(sqlAt + 2).join('\n')}\n\n`
    }
    assert.equal(grids, stdout)
  }
})

test('an error and its notices are shown as psql printed them, wherever in a simple query they came', async () => {
  for (const sql of [
    'selec 1',
    'select 1;\nselect 2,\n  wrong_name;\nselect 3',
    "do $$ begin raise notice 'careful'; perform 1/0; end $$",
  ]) {
    const { stderr } = await runPsql([sql])
    const { store } = await lastSession()
    const failed = (await shown(store, { json: true })).map((line) => JSON.parse(line)).find(({ outcome }) => outcome === 'failed')
    const lines = await shown(store, { statement: failed.number })
    assert.ok(lines.join('\n').endsWith(stderr.trimEnd()), `${lines.join('\n')}\n--- psql:\n${stderr}`)
  }
})

test('parameters are shown with number, type, format and value', async () => {
  const client = new pg.Client({ host: capture.host, port: capture.port, user: server.superuser, database: 'postgres' })
  await client.connect()
  await client.query('select $1::int4 + 1 as n, $2::text as t, $3::bytea as b, $4::date as d', [
    41,
    'tab\tand \x1b[2J',
    Buffer.from([1, 2]),
    null,
  ])
  await client.end()
  const { store } = await lastSession()
  const lines = await shown(store, { statement: 1 })
  const at = lines.indexOf('parameters')
  assert.deepEqual(lines.slice(at, at + 10), [
    'parameters',
    // The client named no types and did not ask the server for them.
    '  $1  unspecified  text    41',
    '  $2  unspecified  text    tab\\tand \\x1B[2J',
    '  $3  unspecified  binary  \\x0102',
    '  $4  unspecified  text    NULL',
    '',
    ' n  |          t          |   b    | d ',
    '----+---------------------+--------+---',
    ' 42 | tab     and \\x1B[2J | \\x0102 | ',
    '(1 row)',
  ])
})

test('COPY data is shown as lines, binary COPY as hexadecimal', async () => {
  await runPsql(
    ['create temp table t (a int, b text)', 'copy t from stdin', 'copy (select * from t) to stdout', 'copy t to stdout (format binary)'],
    '1\tone\n2\tzwö\\\\\n',
  )
  const { store } = await lastSession()
  assert.deepEqual((await shown(store, { statement: 2 })).slice(-3), ['COPY data from the client: 15 bytes', '1\tone', '2\tzwö\\\\'])
  assert.deepEqual((await shown(store, { statement: 3, rowsMax: 1 })).slice(-3), [
    'COPY data from the server: 15 bytes',
    '1\tone',
    '(1 line shown of 2; --rows-max shows more)',
  ])
  const lines = await shown(store, { statement: 4 })
  assert.match(lines.join('\n'), /COPY data from the server: binary, \d+ bytes\n00000000 {2}50 47 43 4f 50 59 0a ff 0d 0a 00/)
})

test('rows whose columns the client never asked about are shown all the same', async () => {
  const framed = (type: string, body: string): Buffer => {
    const frame = Buffer.from(`${type}\0\0\0\0${body}`, 'latin1')
    frame.writeInt32BE(frame.length - 1, 1)
    return frame
  }
  const frontend = [
    ['P', '\0select a, b from t\0\0\0'],
    ['B', '\0\0\0\0\0\0\0\x01\0\x01'],
    ['E', '\0\0\0\0\0'],
    ['S', ''],
  ] as const
  const row = '\0\x03\0\0\0\x04\0\0\0\x2a\0\0\0\x01x\xff\xff\xff\xff'
  const backend = [
    ['1', ''],
    ['2', ''],
    ['D', row],
    ['C', 'SELECT 1\0'],
    ['Z', 'I'],
  ] as const
  const pieces = [
    { type: recordType.frontend, payload: Buffer.concat(frontend.map(([type, body]) => framed(type, body))) },
    { type: recordType.backend, payload: Buffer.concat(backend.map(([type, body]) => framed(type, body))) },
  ]
  const store = createMemoryStore()
  await sealCaptured(store, { serverParameters: {}, pieces }, 1, { manifest: true })
  assert.deepEqual((await shown(store, { statement: 1 })).slice(-4), [
    '  column 1  | column 2 | column 3 ',
    '------------+----------+----------',
    ' \\x0000002a | x        | ',
    '(1 row)',
  ])
})

test('settings that change during the session change how binary values are shown', async () => {
  const { connect } = await import('../postgres/values/test-client.ts')
  const client = await connect({ ...capture, superuser: server.superuser })
  for (const zone of ['Asia/Tokyo', 'UTC']) {
    await client.run(`set TimeZone = '${zone}'`)
    await client.twice("select '2024-01-01 00:00 UTC'::timestamptz as v")
  }
  client.end()
  const { store } = await lastSession()
  for (const [statement, text] of [
    [2, '2024-01-01 09:00:00+09'],
    [4, '2024-01-01 00:00:00+00'],
  ] as const) {
    assert.equal((await shown(store, { statement })).at(-2), ` ${text} | ${text}`)
  }
})

test('a session is shown with who, where and when, how it ended, what is missing, and a line per statement', async () => {
  await runPsql(['select 1', 'create temp table a_table\n  (x int)', 'selec \x1b[2J'])
  const gap = { from: testEpoch + 100, to: testEpoch + 220, frontendBytes: 1, backendBytes: 20, reason: 'the disk was full' }
  for (const manifest of [true, false]) {
    const { store, session } = await lastSession({ gap, manifest })
    const lines = await shown(store)
    assert.equal(lines[0], `session    ${session}`)
    assert.equal(lines[1], 'when       2026-11-21 09:00:00.000 UTC, lasted 1.00 s')
    assert.equal(lines[2], 'who        agent from 127.0.0.1:40000, no TLS')
    assert.ok(lines.includes('ended      the client said goodbye (terminated)'))
    assert.ok(
      lines.includes(
        'gaps       2026-11-21 09:00:00.100 UTC, 120.0 ms: 1 byte from the client and 20 bytes from the database passed unrecorded: the disk was full',
      ),
    )
    const statements = lines.slice(lines.indexOf('') + 1)
    assert.deepEqual(statements, [
      '     #          at         took  result                 rows  sql',
      '     1    +0.001 s      1.00 ms  SELECT 1                  1  select 1',
      '     2    +0.003 s      1.00 ms  CREATE TABLE              0  create temp table a_table …',
      '     3    +0.005 s      1.00 ms  ERROR 42601               0  selec \\x1B[2J',
      '        ERROR: syntax error at or near "selec"',
    ])
    for (const line of lines) assert.doesNotMatch(line, /\p{Cc}/u)
  }
})

test('--json gives documents that hold the same, one per line', async () => {
  await runPsql(["select n, null as nothing, 'x\u202e' as t from generate_series(1, 3) n"])
  const { store, session } = await lastSession()
  const [head, statement] = (await shown(store, { json: true })).map((line) => JSON.parse(line))
  assert.equal(head.type, 'session')
  assert.equal(head.identity.session, session)
  assert.equal(head.close.reason, 'terminated')
  assert.equal(statement.type, 'statement')
  const lines = await shown(store, { json: true, statement: 1, rowsMax: 2 })
  for (const line of lines) assert.doesNotMatch(line, /[\p{Cc}\u202e]/u)
  const documents = lines.map((line) => JSON.parse(line))
  assert.deepEqual(documents[0], statement)
  assert.deepEqual(documents.slice(1), [
    { type: 'row', values: ['1', null, 'x\u202e'] },
    { type: 'row', values: ['2', null, 'x\u202e'] },
    { type: 'end', rows: 3, rowsShown: 2, brokenBy: null },
  ])
})

test('what is not there and what is damaged is refused by name', async () => {
  await runPsql(['select 1'])
  const { store, session } = await lastSession()
  await assert.rejects(shown(store, { statement: 7 }), { code: 'STATEMENT_NOT_FOUND' })
  await assert.rejects(Array.fromAsync(show(store, 'ffff', { null: '' })), { code: 'SESSION_NOT_FOUND' })
  const segment = store.objects.get(segmentKey(session, 1))!
  segment[segment.length - 1]! ^= 1
  await assert.rejects(shown(store, { statement: 1 }), { code: 'RECORDING_DAMAGED' })
  const twisted = await lastSession({ manifest: false, twistIndex: (line) => ({ ...line, sql: 7 }) as typeof line })
  await assert.rejects(shown(twisted.store), { code: 'RECORDING_DAMAGED' })
})
