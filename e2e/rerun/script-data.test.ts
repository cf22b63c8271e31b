/**
 * Goal: values that a session sent beside its statements (parameters, COPY data) reach the database from a script of `steno replay --as sql`
 * as they were, and are never run. Method: as in script.test.ts; what the copy then holds is read.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startPostgres } from '../../tools/embedded-postgres.ts'
import type { RunningProxy } from '../support/proxy.ts'
import { runProgram } from '../support/run-program.ts'
import { clientOf, copyIn, pipeline } from './script-talk.ts'
import { createScriptWorld, type ScriptWorld } from './script-world.ts'

let world: ScriptWorld
before(async () => {
  world = await createScriptWorld()
})
after(() => world[Symbol.asyncDispose]())

test('parameters keep their types, values and nulls, whatever they hold', async () => {
  const file = world.canary
  const values = [
    'plain',
    "it's",
    'back\\slash',
    'new\nline',
    'Rīga 😀',
    `'); \\! touch ${file}`,
    `\\! touch ${file}`,
    '$steno$',
    ':HOME',
    '',
  ]
  const scriptedSession = await world.scripted({
    prepare: 'create table t (id int generated always as identity, a text, n int, at timestamptz, b bytea, x jsonb)',
    async speak(proxy, database) {
      const client = await clientOf(proxy, database)
      for (const value of values) await client.query('insert into t (a, n) values ($1, $2)', [value, 7])
      await client.query('insert into t (a, n, at, b, x) values ($1, $2, $3, $4, $5)', [
        null,
        null,
        new Date(0),
        Buffer.from([0, 255, 92]),
        { a: "'" },
      ])
      await client.query({ name: 'by "name" \\! x', text: 'select a from t where n = $1', values: [7] })
      await client.query({ name: 'named', text: 'select a from t where id > $1;', values: [1] })
      await client.query({ name: 'named', text: 'select a from t where id > $1;', values: [2] })
      await client.query('execute named (3)')
      await client.query('select $1::int / $2::int', [1, 0]).catch(() => undefined)
      await client.query('select 1; select 2 where $1 = 1', [1]).catch(() => undefined)
      await client.query('begin')
      await client.query('create table gone as select $1::int', [1]).catch(() => undefined)
      await client.query('rollback')
      await client.end()
    },
  })
  const { original, again, query, script } = scriptedSession
  const refused = 'select 1; select 2 where $1 = 1'
  assert.deepEqual(
    again.filter((text) => !text.startsWith('DO ')),
    original.filter((text) => text !== refused && !text.startsWith('create table gone')),
  )
  assert.match(script, /^-- NOT RUN: it is several statements in one/m)
  assert.match(script, /^PREPARE "named" /m)
  // Whatever the server took it for: a binary value of an unknown type is right, or refused.
  assert.match(script, /^PREPARE "steno_\d+" \(unknown, unknown, unknown, bytea, unknown\) AS/m)
  const rows = await query('select a, n, at, b, x from t order by id')
  assert.deepEqual(
    rows.slice(0, values.length),
    values.map((a) => ({ a, n: 7, at: null, b: null, x: null })),
  )
  assert.deepEqual(rows.at(-1), { a: null, n: null, at: new Date(0), b: Buffer.from([0, 255, 92]), x: { a: "'" } })
  await world.noCanary()
})

test('binary parameters are written as text that means the same', async () => {
  const samples: readonly (readonly [type: string, oid: number, text: string])[] = [
    ['int4', 23, '258'],
    ['int8', 20, '-9007199254740993'],
    ['float8', 701, '0.1'],
    ['numeric', 1700, '12345.6700'],
    ['bool', 16, 't'],
    ['timestamptz', 1184, '2026-03-29 02:30:00.123456+00'],
    ['date', 1082, '0044-03-15 BC'],
    ['interval', 1186, '1 year -2 days +03:04:05.6'],
    ['bytea', 17, '\\x00ff5c27'],
    ['text', 25, "it's \\ Rīga"],
    ['int4[]', 1007, '{1,NULL,3}'],
    ['jsonb', 3802, '{"a": "\'"}'],
    ['uuid', 2950, '00112233-4455-6677-8899-aabbccddeeff'],
    ['"char"', 18, 'x'],
  ]
  const columns = samples.map(([type], index) => `c${index} ${type}`).join(', ')
  const { query } = await world.scripted({
    prepare: `create table source (${columns}); create table t (${columns})`,
    async speak(proxy, database) {
      const client = await clientOf(proxy, database)
      await client.query("set TimeZone = 'Europe/Riga'; set DateStyle = 'SQL, DMY'; set IntervalStyle = 'sql_standard'")
      const values = await Promise.all(samples.map(([type, , text]) => binaryOf(text, type)))
      const text = `insert into t values (${samples.map((_, index) => `$${index + 1}`).join(', ')})`
      await pipeline(client, [{ text, types: samples.map(([, oid]) => oid), values }])
      await client.end()
    },
  })
  const [row] = await query(`set TimeZone = 'UTC'; select ${samples.map((_, index) => `c${index}::text`).join(', ')} from t`)
  assert.deepEqual(
    Object.values(row ?? {}),
    samples.map(([type, , text]) => (type === 'bool' ? 'true' : text)),
  )
})

/** A value's binary form, by the function that the server itself sends it with. */
async function binaryOf(text: string, type: string): Promise<Buffer> {
  const function_ =
    {
      'int4[]': 'array_send',
      '"char"': 'charsend',
      numeric: 'numeric_send',
      interval: 'interval_send',
      date: 'date_send',
      jsonb: 'jsonb_send',
      timestamptz: 'timestamptz_send',
      uuid: 'uuid_send',
    }[type] ?? `${type}send`
  const [row] = await world.server.query(`select ${function_}('${text.replaceAll("'", "''")}'::${type}) as value`)
  return row!['value'] as Buffer
}

test('COPY data is run as data: in a script whose COPY works, and in one whose COPY cannot begin', async () => {
  const file = world.canary
  const data = `1\t\\\\! touch ${file}\n2\tdrop table t;\n3\t\\N\n4\tRīga ž`
  const speak = async (proxy: RunningProxy, database: string): Promise<void> => {
    const client = await clientOf(proxy, database)
    await copyIn(client, 'copy t from stdin', data)
    await copyIn(client, 'copy t from stdin', '')
    await copyIn(client, "copy t from stdin; insert into t values (6, 'six'); copy t from stdin", '7\tseven', '8\teight')
    await copyIn(client, 'copy t from stdin', `5\tx\n\\.\n\\! touch ${file}\n`)
    await copyIn(client, 'copy t from stdin', 'not a number\tx\n')
    await client.query('insert into t values ($1, $2)', [9, 'after'])
    await client.end()
  }
  const worked = await world.scripted({ prepare: 'create table t (id int, a text)', speak })
  assert.deepEqual(await worked.query('select id, a from t order by id'), [
    { id: 1, a: `\\! touch ${file}` },
    { id: 2, a: 'drop table t;' },
    { id: 3, a: null },
    { id: 4, a: 'Rīga ž' },
    { id: 6, a: 'six' },
    { id: 7, a: 'seven' },
    { id: 8, a: 'eight' },
    { id: 9, a: 'after' },
  ])
  assert.match(worked.script, /^-- NOT RUN: a line of its data is \\\. by itself/m)
  await world.noCanary()
  const broken = await world.scripted({ prepare: 'create table t (id int, a text)', changed: 'alter table t rename to other', speak })
  assert.equal(broken.psql.status, 3, broken.psql.stderr)
  assert.deepEqual(await broken.query('select * from other'), [])
  await world.noCanary()
})

test('CSV data is loaded where psql and the server agree on its end, and else nothing is run from there on', async () => {
  const speak = async (proxy: RunningProxy, database: string): Promise<void> => {
    const client = await clientOf(proxy, database)
    await copyIn(client, 'copy t from stdin (format csv)', 'one\n"t\nwo",\n')
    await copyIn(client, 'copy t (a) from stdin (format csv)', 'one\n"t\nwo"\n')
    await client.end()
  }
  const { stdout: version } = await runProgram(world.psql, ['--version'])
  const isOld = Number(/ (\d+)/.exec(version)![1]) < 18
  const own = await world.scripted({ prepare: 'create table t (a text)', speak })
  const rows = await own.query('select a from t order by a')
  if (isOld) assert.match(own.psql.stdout, /^CSV data in a script needs psql 18/m)
  assert.deepEqual(rows, isOld ? [] : [{ a: 'one' }, { a: 't\nwo' }])
  await using older = await startPostgres({ version: 15 })
  await older.query('create table t (a text)')
  const ran = await runProgram(world.psql, ['--no-psqlrc', '--file', '-', older.url], { input: own.script })
  assert.equal(ran.status, 0, ran.stderr)
  assert.deepEqual(await older.query('select a from t order by a'), [{ a: 'one' }, { a: 't\nwo' }])
})
