/**
 * Goal: what `steno replay --against` calls alike is alike, and what it calls different is named.
 * Method: the demo's agent and a pgbench are recorded through the proxy, and run again on copies that were taken of the database before.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import pg from 'pg'
import postgres from 'postgres'
import { runAgent } from '../../examples/agent.ts'
import { program } from '../../tools/debian-programs.ts'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { startProxyProcess, steno, type RunningProxy, type StenoResult } from '../support/proxy.ts'
import { runProgram } from '../support/run-program.ts'

let server: EmbeddedPostgres
let copies = 0

before(async () => {
  server = await startPostgres()
  await server.query(`create role shop login createrole createdb password 'secret'`)
})
after(() => server.stop())

const url = (database: string): string => `postgresql://shop:secret@${server.host}:${server.port}/${database}`

async function copyOf(database: string): Promise<string> {
  const copy = `${database}_copy_${++copies}`
  await server.query(`create database ${copy} template ${database} owner shop`)
  return copy
}

/** A database, a copy of it as it was, and a recording of what `speak` did to it. */
async function record(database: string, prepare: string, speak: (proxy: RunningProxy) => Promise<void>) {
  await server.query(`create database ${database} owner shop`)
  await server.query(`set role shop; ${prepare}`, database)
  const pristine = await copyOf(database)
  const proxy = await startProxyProcess({ upstream: url(database) })
  try {
    await speak(proxy)
    assert.equal(await proxy.stop(), 0)
  } catch (error) {
    await proxy[Symbol.asyncDispose]()
    throw error
  }
  return {
    database,
    proxy,
    /** Runs the session again on a fresh copy, changed by `change`. */
    async again(args: readonly string[] = [], change = 'select 1'): Promise<StenoResult> {
      const copy = await copyOf(pristine)
      await server.query(`set role shop; ${change}`, copy)
      return against(proxy, ['--against', ...args], url(copy))
    },
    [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
  }
}

function against({ storeUrl }: RunningProxy, args: readonly string[], target: string, input = ''): Promise<StenoResult> {
  return steno(['replay', 'last', '--store', storeUrl, ...args], { environment: { STENO_AGAINST: target }, input })
}

const shop = `
  create table customers (id int primary key, name text not null, city text not null, joined date not null);
  create table orders (id int generated always as identity primary key, customer_id int references customers, cents int check (cents > 0), note text);
  insert into customers values (1, 'Anna Berzina', 'Riga', '2026-01-01'), (2, 'Tomas Kask', 'Tallinn', '2026-01-02'), (3, 'Inese Ozola', 'Riga', '2026-01-03'), (4, 'Jonas Petraitis', 'Vilnius', '2026-01-04');
  insert into orders (customer_id, cents) select 1 + n % 4, 100 * n from generate_series(1, 60) n`

test("the demo's session comes out alike on a fresh copy, and a changed row is named", async () => {
  await using session = await record('shop', shop, async ({ host, port }) => {
    await runAgent({ host, port, database: 'shop' }, { password: 'of-the-role', say: () => undefined })
  })
  const alike = await session.again()
  assert.equal(alike.status, 0, alike.stdout + alike.stderr)
  assert.match(alike.stdout, /^statement \d+: not run \(redacted: its literals are not in the recording\)\n {2}create role reporting/m)
  assert.match(alike.stdout, /^\d+ statements: \d+ equal, 1 not run$/m)
  assert.equal(alike.stdout.match(/^statement /gm)?.length, 1)
  const changed = await session.again([], `update customers set name = 'Inese Ozolina' where id = 3`)
  assert.equal(changed.status, 1)
  assert.match(changed.stdout, /rows differ: - as recorded, \+ as run again/)
  assert.match(changed.stdout, /^ {2} - 2 \| +3 \| Inese Ozola +\| Riga/m)
  assert.match(changed.stdout, /^ {2} \+ 2 \| +3 \| Inese Ozolina +\| Riga/m)
  assert.match(changed.stdout, /\b1 different\b/)
})

test('a pgbench TPC-B session comes out alike on a fresh copy, and a changed balance is named', async () => {
  const pgbench = await program('pgbench')
  for (const [index, protocol] of ['simple', 'prepared'].entries()) {
    const database = `bench_${index}`
    await server.query(`create database ${database} owner shop`)
    const { status, stderr } = await runProgram(pgbench, ['--initialize', '--quiet', '--scale', '1', url(database)])
    assert.equal(status, 0, stderr)
    const pristine = await copyOf(database)
    await using proxy = await startProxyProcess({ upstream: url(database) })
    const ran = await runProgram(pgbench, [
      '--random-seed',
      '7',
      '--client',
      '1',
      '--transactions',
      '60',
      '--no-vacuum',
      '--protocol',
      protocol,
      proxy.url({ database, sslmode: 'disable' }),
    ])
    assert.equal(ran.status, 0, ran.stderr)
    assert.equal(await proxy.stop(), 0)
    // The first connection of a pgbench only asks for the scale.
    const listed = (await steno(['sessions', '--json', '--store', proxy.storeUrl])).stdout.trim().split('\n')
    const sessions = listed.map((line) => JSON.parse(line) as { session: string; statements: number })
    const { session: id } = sessions.toSorted((one, other) => other.statements - one.statements)[0]!
    const run = async (change: string): Promise<StenoResult> => {
      const copy = await copyOf(pristine)
      await server.query(change, copy)
      return steno(['replay', id, '--against', '--store', proxy.storeUrl], { environment: { STENO_AGAINST: url(copy) } })
    }
    const alike = await run('select 1')
    assert.equal(alike.status, 0, alike.stdout + alike.stderr)
    assert.match(alike.stdout, /^42\d statements: 42\d equal$/m)
    const { rows } = await statementWithAccount(proxy.storeUrl, id)
    const changed = await run(`update pgbench_accounts set abalance = 77777 where aid = ${rows}`)
    assert.equal(changed.status, 1)
    assert.match(changed.stdout, /SELECT abalance FROM pgbench_accounts/)
    assert.match(changed.stdout, /rows differ/)
    assert.match(changed.stdout, /\b1 different$/m)
  }
})

/** The account that the first transaction of a pgbench reads. */
async function statementWithAccount(storeUrl: string, id: string): Promise<{ rows: string }> {
  const { stdout } = await steno(['show', id, '--json', '--store', storeUrl])
  for (const line of stdout.split('\n')) {
    const { sql = '', parameters = [] } = (line === '' ? {} : JSON.parse(line)) as { sql?: string; parameters?: { value: string }[] }
    if (!sql.startsWith('SELECT abalance')) continue
    return { rows: parameters[0]?.value ?? /aid = (\d+)/.exec(sql)![1]! }
  }
  throw new Error('pgbench read no account')
}

/** One connection of npm `pg` that says each text as a simple query, whatever comes of it. */
async function sayAll(proxy: RunningProxy, database: string, texts: readonly string[]): Promise<void> {
  const client = new pg.Client({ connectionString: proxy.url({ database }), ssl: false })
  client.on('error', () => undefined)
  await client.connect()
  for (const text of texts) await client.query(text).catch(() => undefined)
  await client.end().catch(() => undefined)
}

test('rows, counts, tags, errors and columns that differ are named, statement by statement', async () => {
  const texts = [
    'select * from t order by id',
    'update t set a = upper(a) where id > 1',
    'insert into t values (4, null)',
    'select id, a from t order by id desc',
    'select count(*) from other',
    'begin',
    "insert into t values (1, 'again')",
    'rollback',
    'select now()',
  ]
  await using session = await record(
    'diff',
    "create table t (id int primary key, a text); insert into t values (1, 'a'), (2, 'b'), (3, 'c'); create table other ()",
    (proxy) => sayAll(proxy, 'diff', texts),
  )
  const { status, stdout } = await session.again(['--json'], "insert into t values (4, 'taken'); drop table other")
  assert.equal(status, 1)
  type Line = {
    type: string
    number: number
    verdict: string
    differences: { kind: string; recorded: unknown; again: unknown }[]
    totals: Record<string, number>
    alike: boolean
  }
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)
  const found = new Map(lines.filter(({ verdict }) => verdict === 'different').map(({ number, differences }) => [number, differences]))
  assert.deepEqual([...found.keys()], [1, 2, 3, 4, 5, 9])
  assert.deepEqual(found.get(1), [
    { kind: 'rowCount', recorded: '3', again: '4' },
    { kind: 'row', row: 4, recorded: null, again: ['4', 'taken'] },
  ])
  assert.deepEqual(found.get(2), [{ kind: 'tag', recorded: 'UPDATE 2', again: 'UPDATE 3' }])
  assert.deepEqual(
    found.get(3)?.map(({ kind, recorded }) => [kind, recorded]),
    [['outcome', 'completed']],
  )
  assert.deepEqual(found.get(4), [{ kind: 'row', row: 1, recorded: ['4', null], again: ['4', 'TAKEN'] }])
  assert.match(String(found.get(5)?.[0]?.again), /42P01: relation "other" does not exist/)
  assert.deepEqual(lines.at(-1)?.totals, { equal: 3, different: 6, 'not run': 0, missing: 0, extra: 0 })
  const ignored = await session.again(['--ignore-type', 'timestamptz'])
  assert.equal(ignored.status, 0, ignored.stdout)
  const byColumn = await session.again(['--ignore-column', 'NOW'])
  assert.equal(byColumn.status, 0, byColumn.stdout)
  const strict = await session.again()
  assert.equal(strict.status, 1)
  assert.match(strict.stdout, /--ignore-column/)
})

test('--ignore-order forgives another order and nothing else', async () => {
  await using session = await record('unordered', 'create table t (a int); insert into t values (1), (2), (2)', (proxy) =>
    sayAll(proxy, 'unordered', ['select a from t']),
  )
  const otherOrder = 'truncate t; insert into t values (2), (1), (2)'
  assert.equal((await session.again([], otherOrder)).status, 1)
  assert.equal((await session.again(['--ignore-order'], otherOrder)).status, 0)
  const { status, stdout } = await session.again(['--ignore-order'], 'truncate t; insert into t values (2), (1), (1)')
  assert.equal(status, 1)
  assert.match(stdout, /^ +- 2 \| 2$/m)
  assert.match(stdout, /^ +\+ 3 \| 1$/m)
})

test('the database that was recorded is not run against without --yes, and the plan is said first', async () => {
  await using session = await record('same', 'create table t (a int)', (proxy) => sayAll(proxy, 'same', ['insert into t values (1)']))
  const socket = `postgresql://shop:secret@/same?host=${encodeURIComponent(server.folder)}&port=${server.port}`
  for (const target of [url('same'), url('same').replace('127.0.0.1', 'localhost'), socket]) {
    const refused = await against(session.proxy, ['--against'], target)
    assert.equal(refused.status, 1)
    assert.match(refused.stderr, /RERUN_NOT_CONFIRMED/)
    assert.match(refused.stderr, /^will run +1 statement in the order recorded/m)
  }
  assert.deepEqual(await server.query('select count(*)::int as count from t', 'same'), [{ count: 1 }])
  const ran = await against(session.proxy, ['--against', '--yes'], url('same'))
  assert.equal(ran.status, 0, ran.stderr)
  assert.deepEqual(await server.query('select count(*)::int as count from t', 'same'), [{ count: 2 }])
})

test('a target that cannot be used is refused with what to do', async () => {
  await using session = await record('target', 'select 1', (proxy) => sayAll(proxy, 'target', ['select 1']))
  const { proxy } = session
  const cases = [
    [['--against'], '', 'BAD_TARGET'],
    [['--against', `postgresql://${server.host}:${server.port}/target`], '', 'BAD_TARGET'],
    [['--against', url('target')], '', 'PASSWORD_IN_ARGUMENT'],
    [['--against-file', '/nowhere/at/all'], '', 'BAD_TARGET'],
    [['--against'], url('nowhere'), 'RERUN_REFUSED'],
    [['--against'], url('target').replace('secret', 'wrong').replace('/target', '/postgres'), 'RERUN_REFUSED'],
  ] as const
  for (const [args, target, code] of cases) {
    const { status, stderr } = await against(proxy, args, target)
    assert.equal(status, 1, code)
    assert.match(stderr, new RegExp(`\\(${code}\\)`))
    assert.doesNotMatch(stderr, /secret|wrong/)
  }
  assert.equal((await against(proxy, ['--against', '--as', 'sql'], url('target'))).status, 2)
})

test('COPY stays in step when only one side asks for data', async () => {
  const copy = async (proxy: RunningProxy): Promise<void> => {
    const { host, port } = proxy
    const sql = postgres({ host, port, database: 'copies', user: 'agent', ssl: false, max: 1, fetch_types: false })
    const writable = await sql`copy t from stdin`.writable()
    await new Promise((resolve) => writable.once('finish', resolve).end('1\n2\n'))
    await sql`select count(*) from t`
    await sql.unsafe('copy missing from stdin').catch(() => undefined)
    await sql`select 'after'`
    await sql.end()
  }
  await using session = await record('copies', 'create table t (a int)', copy)
  assert.equal((await session.again()).status, 0)
  const gone = await session.again([], 'drop table t')
  assert.match(gone.stdout, /^4 statements: 2 equal, 2 different$/m)
  const there = await session.again([], 'create table missing (a int)')
  assert.match(there.stdout, /^4 statements: 3 equal, 1 different$/m)
  assert.match(there.stdout, /57014: COPY from stdin failed: no COPY data was recorded here/)
})

test('a server that ends the session, or says nothing for too long, ends the run and is named', async () => {
  await using session = await record('ended', "create function f() returns text language sql as $$ select 'x' $$", (proxy) =>
    sayAll(proxy, 'ended', ['select f()', 'select 2']),
  )
  const closed = await session.again(
    [],
    'create or replace function f() returns text language sql as $$ select pg_terminate_backend(pg_backend_pid())::text $$; alter function f() security definer; reset role; alter function f() owner to postgres',
  )
  assert.equal(closed.status, 1)
  assert.match(closed.stdout, /^stopped.*terminating connection/m)
  assert.match(closed.stdout, /^statement 2: no result/m)
  const silent = await session.again(
    ['--wait-seconds-max', '1'],
    'create or replace function f() returns text language sql as $$ select pg_sleep(60)::text $$',
  )
  assert.equal(silent.status, 1)
  assert.match(silent.stdout, /^stopped +no answer came within 1 s/m)
  assert.match(silent.stdout, /57014: canceling statement/)
})

test('what depends on redacted values is not run, and what stands around it is', async () => {
  await using session = await record('redacted', 'create table t (a text)', async (proxy) => {
    const client = new pg.Client({ connectionString: proxy.url({ database: 'redacted' }), ssl: false })
    await client.connect()
    const password = { name: 'keeps', text: "insert into t values ($1 || 'literal') returning a as password" }
    await client.query({ ...password, values: ['not to be seen'] })
    await client.query({ ...password, values: ['nor this'] })
    await client.query({ name: 'bare', text: "select 'not this' as password" })
    await client.query('select a, $1::int from t', [1])
    await client.end()
  })
  const { status, stdout } = await session.again()
  assert.match(stdout, /^4 statements: 0 equal, 1 different, 3 not run$/m)
  assert.equal(status, 1)
  assert.match(stdout, /the number of rows differs\n {2}- 2\n {2}\+ 0/)
})
