/**
 * Goal: what real clients said to a real PostgreSQL is found, exported and asked for, through `bin/steno` as a person runs it.
 * Method: one proxy, sessions of two users, and statements that try to be trouble; then each command over the store they left.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet'
import pg from 'pg'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { startProxyProcess, steno, type RunningProxy, type StenoResult } from '../support/proxy.ts'

const program = fileURLToPath(new URL('../../bin/steno', import.meta.url))
let server: EmbeddedPostgres
let proxy: RunningProxy
let folder = ''
const parquetFile = (): string => join(folder, 'statements.parquet')

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'steno-search-'))
  server = await startPostgres()
  await server.query("create role anna login password 'hers'; create role bert login password 'his'; create role carl login password 'own'")
  await server.query('create table orders (id int primary key, note text, cents bigint); grant all on orders to anna, bert')
  proxy = await startProxyProcess({ upstream: `postgresql://${server.host}:${server.port}/?sslmode=disable`, folder })
  await session('anna', 'hers', 'shop front', async (client) => {
    await client.query('insert into orders select n, $1, n * 100 from generate_series(1, 3) n', ['first'])
    await client.query('select id, note, cents from orders order by id')
    await client.query(
      "select null::text as nothing, '' as empty, E'two\\nlines' as both, '\\xdeadbeef'::bytea as bytes, 1.50::numeric as price",
    )
    await assert.rejects(client.query("insert into orders values (1, 'again', 0)"), { code: '23505' })
    await client.query('select \'\x1b[31mred\u202e\' as "Orders"')
  })
  await session('bert', 'his', '=cmd|calc', async (client) => {
    await client.query('=1+1; select 1').catch(() => undefined)
    await client.query('select count(*) from public.orders')
    await client.query('prepare counting as select sum(cents) from orders')
    await client.query('execute counting')
    await client.query('select pg_sleep(0.12)')
  })
  await session('carl', 'own', '', async (client) => {
    await client.query("copy (values (1, null), (2, 'two')) to stdout")
    const inBatches = { text: 'select n from generate_series(1, $1::int) n', values: [5], rows: 2 }
    await client.query(inBatches)
    await client.query('set client_encoding to latin1')
    await client.query('select chr(233)')
  })
  assert.equal(await proxy.stop(), 0)
})
after(async () => {
  await proxy.stop()
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
})

async function session(user: string, password: string, application: string, talk: (client: pg.Client) => Promise<void>): Promise<void> {
  const { host, port } = proxy
  const client = new pg.Client({ host, port, user, password, database: 'postgres', application_name: application })
  await client.connect()
  await talk(client)
  await client.end()
}

const run = (...args: string[]): Promise<StenoResult> => steno([...args, '--store', proxy.storeUrl])

async function documents(...args: string[]): Promise<Record<string, unknown>[]> {
  const { stdout, stderr } = await run(...args)
  assert.equal(stderr, '')
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}

const found = async (...filters: string[]): Promise<unknown[]> => (await documents('search', '--json', ...filters)).map(({ sql }) => sql)

test('each filter finds the statements that it names, and no other', async () => {
  assert.equal((await found()).length, 14)
  assert.equal((await found('--user', 'anna')).length, 5)
  assert.equal((await found('--user', 'anna', '--user', 'bert')).length, 10)
  assert.deepEqual(await found('--user', 'dora'), [])
  assert.equal((await found('--database', 'postgres', '--application', 'shop front')).length, 5)
  assert.deepEqual(await found('--sqlstate', '23505'), ["insert into orders values (1, 'again', 0)"])
  assert.deepEqual(await found('--sqlstate', '23'), ["insert into orders values (1, 'again', 0)"])
  assert.deepEqual(await found('--failed', '--user', 'bert'), ['=1+1; select 1'])
  // On a busy machine others may take as long.
  const slow = (await documents('search', '--json')).filter(({ started, finished }) => Number(finished) - Number(started) >= 100)
  const tookLong = await found('--min-duration', '100ms')
  assert.deepEqual(
    tookLong,
    slow.map(({ sql }) => sql),
  )
  assert.ok(tookLong.includes('select pg_sleep(0.12)'))
  assert.deepEqual(await found('--text', 'PG_SLEEP', '--text', 'Generate_Series(1, 3)'), [
    'select pg_sleep(0.12)',
    'insert into orders select n, $1, n * 100 from generate_series(1, 3) n',
  ])
  assert.deepEqual(await found('--regex', '^select pg_[a-z]+\\('), ['select pg_sleep(0.12)'])
  assert.deepEqual(await found('--table', 'public.orders'), ['select count(*) from public.orders'])
  assert.equal((await found('--table', 'orders')).length, 6, 'four that name it, PREPARE, and EXECUTE by what was prepared')
  assert.deepEqual(await found('--table', '"Orders"'), ['select \'\x1b[31mred\u202e\' as "Orders"'])
  assert.equal((await found('--since', '1h')).length, 14)
  assert.deepEqual(await found('--until', '1h'), [])
  const [{ fingerprint } = {}] = await documents('search', '--json', '--text', 'pg_sleep')
  assert.deepEqual(await found('--fingerprint', String(fingerprint)), ['select pg_sleep(0.12)'])
})

test('a line shows session, number, time, duration, result and SQL, and nothing in it can move the cursor', async () => {
  const { stdout, status } = await run('search', '--text', 'red')
  assert.equal(status, 0)
  assert.match(
    stdout,
    /^[0-9a-f-]{36} {7}5 {2}\d{4}-\d\d-\d\dT[\d:.]{12}Z +[\d.]+ ms {2}SELECT 1 +select '\\x1B\[31mred\\u202E' as "Orders"\n$/,
  )
  for (const args of [['search', '--json'], ['export'], ['export', '--format', 'ocsf'], ['query', 'from statements', '--json']]) {
    const { stdout: text } = await run(...args)
    assert.ok(text.includes('31mred'), args.join(' '))
    assert.doesNotMatch(text, /[\x00-\x09\x0b-\x1f\x7f\u202e]/, args.join(' '))
  }
})

test('sessions lists those that have a statement that fits', async () => {
  const users = async (...filters: string[]): Promise<unknown[]> =>
    (await documents('sessions', '--json', ...filters)).map(({ identity }) => (identity as { user: string }).user)
  assert.deepEqual(await users('--failed'), ['bert', 'anna'])
  assert.deepEqual(await users('--sqlstate', '23505'), ['anna'])
  assert.deepEqual(await users('--text', 'pg_sleep'), ['bert'])
  assert.deepEqual(await users('--application', 'shop front'), ['anna'])
  assert.deepEqual(await users('--text', 'nowhere'), [])
})

test('rows are exported behind their statements as the client read them', async () => {
  const lines = await documents('export', '--rows', '--user', 'anna')
  assert.deepEqual(
    lines.map(({ type }) => type),
    ['statement', 'statement', 'row', 'row', 'row', 'statement', 'row', 'statement', 'statement', 'row'],
  )
  assert.deepEqual(
    lines.filter(({ type }) => type === 'row').map(({ statement, values }) => [statement, values]),
    [
      [2, ['1', 'first', '100']],
      [2, ['2', 'first', '200']],
      [2, ['3', 'first', '300']],
      [3, [null, '', 'two\nlines', '\\xdeadbeef', '1.50']],
      [5, ['\x1b[31mred\u202e']],
    ],
  )
  const copied = await documents('export', 'last', '--rows')
  assert.deepEqual(
    copied.map(({ type, statement, values, data }) => [type, statement, values ?? (data === undefined ? null : atob(data as string))]),
    [
      ['statement', undefined, null],
      ['copy', 1, '1\t\\N\n'],
      ['copy', 1, '2\ttwo\n'],
      ['statement', undefined, null],
      ...['1', '2', '3', '4', '5'].map((value) => ['row', 2, [value]]),
      ['statement', undefined, null],
      ['statement', undefined, null],
      ['row', 4, ['é']],
    ],
  )
  const one = await documents('export', '--rows', '--text', 'execute')
  assert.deepEqual(
    one.map(({ type, values }) => [type, values]),
    [
      ['statement', undefined],
      ['row', ['600']],
    ],
  )
})

test('the Parquet file has typed columns that hyparquet and DuckDB read alike', async () => {
  assert.deepEqual(await run('export', '--format', 'parquet', '--output', parquetFile()), { status: 0, stdout: '', stderr: '' })
  const rows = await parquetReadObjects({ file: await asyncBufferFromFile(parquetFile()) })
  const indexed = await documents('export')
  assert.equal(rows.length, 14)
  for (const [index, row] of rows.entries()) {
    const line = indexed[index] as { sql: string; number: number; started: number; parameters: unknown; error: { code: string } | null }
    assert.equal(row['sql'], line.sql)
    assert.equal(row['number'], BigInt(line.number))
    assert.equal((row['started'] as Date).getTime(), Math.floor(line.started))
    assert.deepEqual(row['parameters'], line.parameters)
    assert.equal(row['sqlstate'], line.error?.code ?? null)
  }
  const { DuckDBInstance } = await import('@duckdb/node-api')
  const instance = await DuckDBInstance.create()
  const connection = await instance.connect()
  const described = await (await connection.run(`describe from '${parquetFile()}'`)).getRowsJson()
  const types = new Map(described.map(([name, type]) => [name, type]))
  assert.deepEqual(
    ['session', 'number', 'started', 'duration_ms', 'redacted', 'parameters'].map((name) => types.get(name)),
    ['VARCHAR', 'BIGINT', 'TIMESTAMP WITH TIME ZONE', 'DOUBLE', 'BOOLEAN', 'JSON'],
  )
  const answer = await connection.run(
    `select user_name, sum(row_count)::int, max(parameters->0->>'value') from '${parquetFile()}' group by 1 order by 1`,
  )
  assert.deepEqual(await answer.getRowsJson(), [
    ['anna', 5, 'first'],
    ['bert', 3, null],
    ['carl', 6, '5'],
  ])
  connection.closeSync()
  instance.closeSync()
})

test('an export appears whole under its name, or not at all', async () => {
  const file = join(folder, 'kept.csv')
  writeFileSync(file, 'before')
  const refused = await run('export', 'ffffffff', '--output', file)
  assert.equal(refused.status, 1)
  assert.match(refused.stderr, /SESSION_NOT_FOUND/)
  assert.equal(readFileSync(file, 'utf8'), 'before')
  assert.equal((await run('export', '--format', 'csv', '--output', file)).status, 0)
  assert.match(readFileSync(file, 'utf8'), /^session,number,.*\r\n/)
  const nowhere = await run('export', '--output', join(folder, 'no', 'such', 'folder.jsonl'))
  assert.equal(nowhere.status, 1)
  assert.match(nowhere.stderr, /OUTPUT_UNUSABLE/)
})

test('CSV is what PostgreSQL itself reads back, and no text in it is a formula', async () => {
  const { stdout } = await run('export', '--format', 'csv')
  const file = join(server.folder, 'exported.csv')
  writeFileSync(file, stdout, { mode: 0o644 })
  const header = stdout.split('\r\n')[0]!.split(',')
  await server.query(`create table exported (${header.map((name) => `${name} text`).join(', ')})`)
  await server.query(`copy exported from '${file}' with (format csv, header match)`)
  const rows = await server.query('select sql, application, sqlstate from exported order by session, number')
  assert.equal(rows.length, 14)
  const indexed = await documents('export')
  assert.deepEqual(
    rows.map(({ sql }) => sql),
    indexed.map(({ sql }) => (sql === '=1+1; select 1' ? `'${sql}` : sql)),
  )
  assert.ok(rows.some(({ application }) => application === "'=cmd|calc"))
  assert.match((await run('export', '--format', 'csv', '--no-formula-guard')).stdout, /,=cmd\|calc,/)
})

test('query answers in SQL over statements and sessions, as a grid, CSV and JSON', async () => {
  const grid = await run('query', 'select user_name, count(*) as statements, sum(row_count) from statements group by 1 order by 1')
  assert.equal(
    grid.stdout,
    [
      ' user_name | statements | sum(row_count) ',
      '-----------+------------+----------------',
      ' anna      |          5 |              5',
      ' bert      |          5 |              3',
      ' carl      |          4 |              6',
      '(3 rows)',
      '',
    ].join('\n'),
  )
  const joined =
    'select s.user_name, state, s.application, count(*) n from sessions s join statements using (session) group by all order by 1'
  assert.equal(
    (await run('query', joined, '--format', 'csv')).stdout,
    "user_name,state,application,n\r\nanna,closed,shop front,5\r\nbert,closed,'=cmd|calc,5\r\ncarl,closed,,4\r\n",
  )
  assert.deepEqual(await documents('query', 'select max(number) as n, null as nothing from statements', '--json', '--user', 'anna'), [
    { n: 5, nothing: null },
  ])
  const input = await steno(['query', '-', '--json', '--store', proxy.storeUrl], { input: 'select count(*) as n from sessions' })
  assert.equal(input.stdout, '{"n":3}\n')
})

test("the user's SQL reads the recordings and nothing else", async () => {
  const stolen = join(folder, 'stolen.csv')
  for (const sql of [
    "select * from read_text('/etc/passwd')",
    "select * from glob('/*')",
    `copy statements to '${stolen}'`,
    `attach '${stolen}' as other`,
    "select * from 'https://example.com/x.csv'",
    'install httpfs',
    'set enable_external_access = true',
    "set memory_limit = '64GB'",
    'delete from statements',
    "select * from query('from st' || 'atements')",
    'select 1; select 2',
    'select nonsense from statements',
    '',
  ]) {
    const { status, stdout, stderr } = await run('query', sql)
    assert.deepEqual([status, stdout], [1, ''], sql)
    assert.match(stderr, /\(QUERY_FAILED\)/, sql)
  }
  assert.throws(() => readFileSync(stolen), { code: 'ENOENT' })
})

test('a query leaves nothing behind, however it ends', async () => {
  const temporary = mkdtempSync(join(folder, 'tmp-'))
  const environment = { TMPDIR: temporary }
  for (const sql of ['select count(*) from statements', "select sql::int from statements where sql like 'select%'", 'nonsense']) {
    await steno(['query', sql, '--store', proxy.storeUrl], { environment })
    assert.deepEqual(readdirSync(temporary), [], sql)
  }
  const endless = 'select count(*) from range(1000000000000) a, range(1000000000) b where a.range * b.range = 7'
  const watcher = watch(temporary)
  const made = once(watcher, 'change')
  const child = spawn(program, ['query', endless, '--store', proxy.storeUrl], { stdio: 'ignore', env: { ...process.env, ...environment } })
  await made
  watcher.close()
  child.kill('SIGTERM')
  await once(child, 'close')
  assert.deepEqual([child.signalCode, readdirSync(temporary)], ['SIGTERM', []])
})

test('one whole session is written as SQL that psql runs', async () => {
  const { status, stdout } = await run('export', 'last', '--format', 'sql')
  assert.equal(status, 0)
  assert.match(stdout, /generate_series/)
  for (const wrong of [[], ['last', '--failed'], ['last', '--rows'], ['last', '--since', '1h']]) {
    assert.equal((await run('export', '--format', 'sql', ...wrong)).status, 2, wrong.join(' '))
  }
})
