/** Real conversations with a real server: what the tracker says against what the server logged and what the client was told. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import test, { after, before } from 'node:test'
import pg from 'pg'
import { startPostgres, type EmbeddedPostgres } from '../tools/embedded-postgres.ts'
import { frontend as f } from './messages/write-for-tests.ts'
import { connectRaw, startRecorder, type RawClient, type Recorder } from './statements/recorder-for-tests.ts'
import { lines } from './statements/track-for-tests.ts'

let server: EmbeddedPostgres
before(async () => {
  server = await startPostgres({ authentication: 'trust', settings: { log_statement: 'all', log_line_prefix: "'%a %p '" } })
  await server.query('create table t (id int primary key, name text); create table d (id int references t deferrable initially deferred)')
})
after(async () => {
  await server.stop('immediate')
})

async function withRaw(conversation: (client: RawClient) => Promise<void>): Promise<Recorder> {
  const recorder = await startRecorder(server)
  await using client = await connectRaw(recorder.port)
  await conversation(client)
  await client.end()
  await recorder.closed()
  await recorder[Symbol.asyncDispose]()
  for (const { number, rows } of recorder.statements()) assert.equal(recorder.rows.get(number) ?? 0, rows)
  return recorder
}

test('npm pg: every statement with parameters, columns, rows, errors and transaction state', async () => {
  await using recorder = await startRecorder(server)
  const client = new pg.Client({ host: '127.0.0.1', port: recorder.port, user: 'postgres', database: 'postgres' })
  await client.connect()
  const told: (number | string | null | undefined)[] = []
  const run = async (query: string | pg.QueryConfig, values?: unknown[]): Promise<void> => {
    try {
      const { rows, rowCount } = await client.query(query as string, values)
      told.push(rows.length > 0 ? rows.length : rowCount)
    } catch (error) {
      told.push((error as { code?: string }).code)
    }
  }
  await run('select generate_series(1, 1000) as n')
  await run('insert into t values ($1, $2)', [1, 'one'])
  await run({ name: 'by id', text: 'select * from t where id = $1' }, [1])
  await run({ name: 'by id', text: 'select * from t where id = $1' }, [2])
  await run('begin')
  await run('select 1/$1::int', [0])
  await run('select 1')
  await run('rollback')
  await run('selct 1')
  await run("do $$ begin raise notice 'hello'; end $$")
  await run({ text: 'select generate_series(1, 5) as m', rows: 2 } as never)
  await client.end()
  await recorder.closed()
  const statements = recorder.statements()
  assert.deepEqual(
    statements.map(
      ({ error, rows, tag }) => error?.code ?? (/^(SELECT|INSERT)/.test(tag ?? '') ? Math.max(rows, Number(tag!.split(' ').at(-1))) : null),
    ),
    told.map((value) => value ?? null),
  )
  assert.deepEqual(lines({ statements }), [
    '1 query completed [SELECT 1000] 1000 rows: select generate_series(1, 1000) as n',
    '2 execute completed [INSERT 0 1]: insert into t values ($1, $2)',
    '3 execute completed [SELECT 1] 1 rows: select * from t where id = $1',
    '4 execute completed [SELECT 0]: select * from t where id = $1',
    '5 query completed [BEGIN]: begin',
    '6 execute failed 22012: select 1/$1::int',
    '7 query failed 25P02: select 1',
    '8 query completed [ROLLBACK]: rollback',
    '9 query failed 42601: selct 1',
    "10 query completed [DO]: do $$ begin raise notice 'hello'; end $$",
    '11 execute completed [SELECT 1] 5 rows: select generate_series(1, 5) as m',
  ])
  assert.equal(statements.map(({ transactionBefore }) => transactionBefore).join(''), 'IIIIITEEIII')
  assert.equal(statements[9]!.notices[0]!.message, 'hello')
  assert.deepEqual(
    statements[3]!.columns!.map(({ name, typeOid }) => [name, typeOid]),
    [
      ['id', 23],
      ['name', 25],
    ],
  )
  assert.deepEqual(statements[3]!.parameters, [{ typeOid: 0, format: 'text', bytes: 1, value: '2' }])
})

test('a simple query with several statements, COPY in its middle, and a failing one', async () => {
  const recorder = await withRaw(async (client) => {
    client.send(f.query('select 1; copy t from stdin; select count(*) from t; select 1/0; select 5'))
    await client.until('G')
    client.send(f.copyData('10\tten\n11\televen\n'), f.sync, f.copyData('12\ttwelve\n'), f.copyDone)
    await client.until('Z')
    client.send(f.query('/* nothing */ ; ;'), f.query('copy (select generate_series(1, 3)) to stdout; select 6'))
    await client.until('Z', 2)
  })
  const statements = recorder.statements()
  assert.deepEqual(lines({ statements }), [
    '1 query completed [SELECT 1] 1 rows: select 1',
    '2 query completed [COPY 3]: copy t from stdin',
    '3 query completed [SELECT 1] 1 rows: select count(*) from t',
    '4 query failed 22012: select 1/0',
    '5 query skipped: select 5',
    '6 query completed: /* nothing */ ; ;',
    '7 query completed [COPY 3]: copy (select generate_series(1, 3)) to stdout',
    '8 query completed [SELECT 1] 1 rows: select 6',
  ])
  assert.deepEqual(statements[1]!.copy, { direction: 'in', messages: 2, bytes: 27 })
  assert.deepEqual(statements[6]!.copy, { direction: 'out', messages: 3, bytes: 6 })
})

test('COPY by the extended protocol as libpq speaks it, whole, failing early, failing late, and refused before it reads', async () => {
  const copy = (sql: string) => [f.parse(sql), f.bind(), f.describe('P'), f.execute(), f.sync]
  const recorder = await withRaw(async (client) => {
    client.send(...copy('copy t from stdin'))
    await client.until('G')
    client.send(f.copyData('20\ttwenty\n'), f.copyDone, f.sync)
    await client.until('Z')

    client.send(...copy('copy t (id) from stdin'))
    await client.until('G')
    client.send(f.copyData('not a number\n'.repeat(10_000)))
    await client.until('E')
    client.send(f.copyData('21\n'), f.copyDone, f.sync)
    await client.until('Z')

    client.send(...copy('copy t (name) from stdin'))
    await client.until('G')
    client.send(f.copyFail('changed my mind'), f.sync)
    await client.until('Z')

    // A view cannot be copied to: the server says so behind CopyInResponse, before it reads the first Sync.
    client.send(f.query('create temp view v as select 1 as a'))
    await client.until('Z')
    client.send(...copy('copy v from stdin'))
    await client.until('E')
    await client.until('Z')
    client.send(f.copyDone, f.sync)
    await client.until('Z')

    client.send(...copy('copy nowhere from stdin'), f.copyData('lost\n'), f.copyDone, f.sync)
    await client.until('Z', 2)
    client.send(f.query('select 7'))
    await client.until('Z')
  })
  assert.deepEqual(lines({ statements: recorder.statements() }), [
    '1 execute completed [COPY 1]: copy t from stdin',
    '2 execute failed 22P02: copy t (id) from stdin',
    '3 execute failed 57014: copy t (name) from stdin',
    '4 query completed [CREATE VIEW]: create temp view v as select 1 as a',
    '5 execute failed 42809: copy v from stdin',
    '6 execute failed 42P01: copy nowhere from stdin',
    '7 query completed [SELECT 1] 1 rows: select 7',
  ])
})

test('portals in batches, FunctionCall, SQL-level names, and a deferred constraint at Sync', async () => {
  const recorder = await withRaw(async (client) => {
    client.send(f.query('begin'), f.parse('select generate_series(1, 10)', 's'), f.bind({ portal: 'p', statement: 's' }))
    client.send(f.execute('p', 4), f.execute('p', 4), f.sync, f.execute('p', 4), f.execute('p', 4), f.sync)
    client.send(f.bind({ portal: 'q', statement: 's' }), f.execute('q', 3), f.sync, f.query('commit'))
    await client.until('Z', 5)
    client.send(f.functionCall(1317, ['four']))
    await client.until('Z')
    client.send(f.query("prepare x (int) as select $1, 'x'; execute x(1)"))
    client.send(f.bind({ statement: 'x', values: ['5'] }), f.execute(), f.sync)
    client.send(f.query('begin; declare c cursor for select generate_series(1, 5); fetch 2 from c'))
    client.send(f.execute('c', 2), f.sync, f.query('rollback; deallocate x'))
    await client.until('Z', 5)
    client.send(f.bind({ statement: 'x', values: ['5'] }), f.execute(), f.sync)
    await client.until('Z')
    client.send(f.parse('insert into d values (999)'), f.bind(), f.execute(), f.sync)
    await client.until('Z')
  })
  const statements = recorder.statements()
  assert.deepEqual(lines({ statements }), [
    '1 query completed [BEGIN]: begin',
    '2 execute completed [SELECT 2] 10 rows: select generate_series(1, 10)',
    '3 execute completed [SELECT 0]: select generate_series(1, 10)',
    '4 execute suspended 3 rows: select generate_series(1, 10)',
    '5 query completed [COMMIT]: commit',
    '6 function completed: (call of the function with OID 1317)',
    "7 query completed [PREPARE]: prepare x (int) as select $1, 'x'",
    '8 query completed [SELECT 1] 1 rows: execute x(1)',
    "9 execute completed [SELECT 1] 1 rows: select $1, 'x'",
    '10 query completed [BEGIN]: begin',
    '11 query completed [DECLARE CURSOR]: declare c cursor for select generate_series(1, 5)',
    '12 query completed [FETCH 2] 2 rows: fetch 2 from c',
    '13 execute suspended 2 rows: select generate_series(1, 5)',
    '14 query completed [ROLLBACK]: rollback',
    '15 query completed [DEALLOCATE]: deallocate x',
    '16 execute failed 26000: (prepared where the recording cannot see it)',
    '17 execute completed [INSERT 0 1]: insert into d values (999)',
    '18 protocol failed 23503: insert into d values (999)',
  ])
  assert.deepEqual([statements[7]!.preparedSql, statements[11]!.preparedSql], ["select $1, 'x'", 'select generate_series(1, 5)'])
})

test('an administrator’s end of the session, idle and in a statement', async () => {
  for (const isIdle of [true, false]) {
    await using recorder = await startRecorder(server)
    await using client = await connectRaw(recorder.port)
    client.send(f.query(isIdle ? 'select 1' : 'select 1; select pg_sleep(60); select 2'))
    if (isIdle) await client.until('Z')
    else while ((await server.query("select 1 from pg_stat_activity where wait_event = 'PgSleep'")).length === 0) await sleep(10)
    await server.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name = '' and backend_type = 'client backend'",
    )
    await client.until('E')
    await recorder.closed()
    assert.deepEqual(
      lines({ statements: recorder.statements() }).slice(1),
      isIdle ? [] : ['2 query failed 57P01: select pg_sleep(60)', '3 query skipped: select 2'],
    )
    assert.deepEqual(
      recorder.sessionErrors.map(({ code }) => code),
      isIdle ? ['57P01'] : [],
    )
  }
})

type Planned = { readonly messages: Buffer[]; readonly outcome: string; readonly rows: number }

/** A request whose end is known by construction; `id` is found again in the server's log. */
function plan(id: number, choice: number): Planned {
  const mark = `/* id ${id} */`
  const extended = (sql: string, ...values: string[]) => [f.parse(`${sql} ${mark}`), f.bind({ values }), f.describe('P'), f.execute()]
  switch (choice) {
    case 0:
      return { messages: extended('select generate_series(1, $1::int)', '3'), outcome: 'completed', rows: 3 }
    case 1:
      return { messages: extended('select 1 from', '3'), outcome: 'failed', rows: 0 }
    case 2:
      return { messages: extended('select $1::int', 'x'), outcome: 'failed', rows: 0 }
    case 3:
      return { messages: extended('select 1 / (2 - n) from generate_series(1, 3) n'), outcome: 'failed', rows: 1 }
    case 4:
      return {
        messages: [f.parse(`select generate_series(1, 5) ${mark}`), f.bind(), f.execute('', 2), f.execute('', 2)],
        outcome: 'suspended',
        rows: 4,
      }
    case 5:
      return { messages: extended('copy (values (1), (2)) to stdout'), outcome: 'completed', rows: 0 }
    default:
      return { messages: extended('select set_config($1, $1, true) where false', 'a.b'), outcome: 'completed', rows: 0 }
  }
}

test('random pipelines: outcomes are as constructed, and what the server’s log says ran is what is not skipped', async () => {
  const expected: string[] = []
  // A fixed linear congruential generator: the same pipelines in every run.
  let seed = 7
  const random = (below: number): number => ((seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) % 65536) % below
  const recorder = await withRaw(async (client) => {
    const readyAtLeast = async (count: number): Promise<void> => {
      while (client.heard.filter((letter) => letter === 'Z').length < count) await sleep(1)
    }
    for (let id = 0, segment = 0; segment < 300; segment++) {
      const messages: Buffer[] = []
      let failed = false
      for (let count = random(5); count >= 0; count--, id++) {
        const planned = plan(id, random(7))
        messages.push(...planned.messages)
        expected.push(failed ? `${id} skipped 0` : `${id} ${planned.outcome} ${planned.rows}`)
        failed ||= planned.outcome === 'failed'
      }
      client.send(...messages, f.sync)
      // Mostly pipelined beyond the Sync as well.
      if (random(3) === 0) await readyAtLeast(segment + 2)
    }
    client.send(f.query('select 1 /* last */'))
    await readyAtLeast(302)
  })
  const statements = recorder.statements()
  const idOf = (sql: string): string => /id (\d+)/.exec(sql)?.[1] ?? 'last'
  const actual = statements.map(({ sql, outcome, rows }) => `${idOf(sql)} ${outcome} ${rows}`)
  assert.deepEqual(actual.slice(0, -1), expected)
  const log = await readFile(server.logFile, 'utf8')
  const executed = new Set([...log.matchAll(/execute <unnamed>: .*? \/\* id (\d+) \*\//g)].map(([, id]) => id))
  const failed = new Set([...log.matchAll(/STATEMENT: .*? \/\* id (\d+) \*\//g)].map(([, id]) => id))
  assert.ok(executed.size > 300 && failed.size > 50)
  for (const { sql, outcome } of statements.slice(0, -1)) {
    const id = idOf(sql)
    assert.equal(executed.has(id) || failed.has(id), outcome !== 'skipped', `${outcome}: ${sql}`)
    assert.equal(failed.has(id), outcome === 'failed', `${outcome}: ${sql}`)
  }
})
