/**
 * Goal: a script of `steno replay --as sql`, run by a real psql, says to a real server what the session said, byte for byte, and nothing
 * that any data holds becomes a command of psql.
 * Method: sessions full of what could break out are recorded; the script runs on a fresh copy; the server's own log of both is compared.
 * Every attack tries to make a file; there must be none.
 */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import pg from 'pg'
import { encodeMessage } from '../../postgres/startup-messages.ts'
import { program, type Program } from '../../tools/debian-programs.ts'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { startProxyProcess, steno, type RunningProxy } from '../support/proxy.ts'
import { runProgram, type ProgramResult } from '../support/run-program.ts'
import { readServerLog, statementLogSettings, type LoggedBackend } from '../support/server-log.ts'

let server: EmbeddedPostgres
let psql: Program
let folder: string
let databases = 0

before(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'steno-script-'))
  ;[server, psql] = await Promise.all([
    startPostgres({ settings: { ...statementLogSettings, log_parameter_max_length: '-1' } }),
    program('psql'),
  ])
})
after(async () => {
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
})

const url = (database: string): string => `postgresql://postgres:${server.password}@${server.host}:${server.port}/${database}`

type Scripted = {
  readonly script: string
  readonly psql: ProgramResult
  /** What the server logged of the session, and of the script. */
  readonly original: readonly string[]
  readonly again: readonly string[]
  readonly query: (sql: string) => Promise<Record<string, unknown>[]>
}

type Recording = {
  readonly prepare?: string
  readonly changed?: string
  readonly speak: (proxy: RunningProxy, database: string) => Promise<void>
}

/** Records a session in one database, runs its script in a copy of what that was before; `changed` alters the copy. */
async function scripted({ prepare = 'select 1', changed = 'select 1', speak }: Recording): Promise<Scripted> {
  const database = `script_${++databases}`
  const copy = `${database}_copy`
  await server.query(`create database ${database}`)
  await server.query(prepare, database)
  await server.query(`create database ${copy} template ${database}`)
  await server.query(changed, copy)
  await using proxy = await startProxyProcess({ upstream: url(database) })
  await speak(proxy, database)
  assert.equal(await proxy.stop(), 0)
  const { stdout: script, stderr, status } = await steno(['replay', 'last', '--as', 'sql', '--store', proxy.storeUrl])
  assert.equal(status, 0, stderr)
  const ran = await runProgram(psql, ['--no-psqlrc', '--file', '-', url(copy)], { input: script, environment: { HOME: folder } })
  const log = await readServerLog(server)
  const of = (name: string): readonly LoggedBackend[] => log.filter((backend) => backend.database === name)
  return {
    script,
    psql: ran,
    original: of(database).flatMap(({ statements }) => statements.map(({ text }) => text)),
    again: of(copy).flatMap((backend) => withoutCarriers(backend)),
    query: (sql) => server.query(sql, copy),
  }
}

/** What the script says beside the session's own statements; EXECUTE stands for what was prepared. */
function withoutCarriers({ statements }: LoggedBackend): string[] {
  const prepared = new Map<string, string>()
  return statements.flatMap(({ text }) => {
    if (/^SELECT (\$steno\d*\$|E?'|pg_catalog\.set_config\()/.test(text) || text.startsWith('DEALLOCATE "steno')) return []
    const [, name, meaning] = /^PREPARE ("[^"]*")(?: \([^)]*\))? AS ([\s\S]*)$/.exec(text) ?? []
    if (name !== undefined && meaning !== undefined) prepared.set(name, meaning)
    if (name !== undefined) return []
    const executed = /^EXECUTE ("[^"]*") \(/.exec(text)?.[1]
    return [executed === undefined ? text : prepared.get(executed)!]
  })
}

async function clientOf(proxy: RunningProxy, database: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: proxy.url({ database }), ssl: false })
  client.on('error', () => undefined)
  await client.connect()
  return client
}

/** Each text as one simple query; errors are part of it. */
function sayAll(texts: readonly string[]) {
  return async (proxy: RunningProxy, database: string): Promise<void> => {
    const client = await clientOf(proxy, database)
    for (const text of texts) await client.query(text).catch(() => undefined)
    await client.end()
  }
}

const canary = (): string => path.join(folder, 'canary')

async function noCanary(): Promise<void> {
  assert.equal(existsSync(canary()), false, 'something in data was run as a command')
  assert.deepEqual(await readdir(folder), [])
}

test('a script says byte for byte what the session said, with its transactions and errors', async () => {
  const texts = [
    'create table t (id int primary key, a text)',
    "insert into t values (1, 'one'), (2, 'tw;o')",
    'begin',
    "insert into t values (3, 'three')",
    "insert into t values (3, 'again')",
    'select 1',
    'rollback',
    'begin; insert into t values (4, $$fo;ur$$); commit',
    "insert into t values (5, 'x'); select 1/0",
    "select id::int, a from t where a like '%:b' and id = any(array[1,2]) -- a comment",
    '  select 1',
    '-- first a comment\nselect 2',
    '/* first a comment */ select 3',
    'select 4,\n\n  5',
    'select 6;\n',
    'create function f() returns int language sql begin atomic; select 1; select 2; end',
    "select 'Rīga', 'ž\\', '😀', E'\\x41'",
    "select '\r\n'",
    'select from where',
    '',
    '-- nothing',
    'select f()',
  ]
  const { original, again, script, psql: ran, query } = await scripted({ speak: sayAll(texts) })
  assert.deepEqual(
    again,
    original.filter((text) => text.trim() !== '' && text !== '-- nothing').map((text) => text),
  )
  assert.match(script, /^-- 6: ERROR 25P02: current transaction is aborted/m)
  assert.deepEqual(await query('select id from t order by id'), [{ id: 1 }, { id: 2 }, { id: 4 }])
  assert.equal(ran.status, 0)
})

test('nothing in a statement becomes a command of psql', async () => {
  const file = canary()
  const texts = [
    `select 1 \\! touch ${file}`,
    `\\! touch ${file}`,
    `select 1\n\\! touch ${file}\n`,
    `select 'a\\'; \\! touch ${file}`,
    `select 'open\n\\! touch ${file}`,
    `select "open\n\\! touch ${file}`,
    `/* open\n\\! touch ${file}`,
    `select $a$ open\n\\! touch ${file}`,
    `select 1 -- \r\\! touch ${file}`,
    `select '$steno$ \\gexec', $steno1$ $steno$ \\gexec\n\\! touch ${file}\n $steno1$, $steno`,
    `select 1 as x \\g |touch ${file}`,
    `select '\`touch ${file}\`' \\o |touch ${file}`,
    `select :'USER', :PORT, :{?PORT}, :"USER"`,
    `select 1 as "a:PORT;b", 'x:PORT', array[1,2,3][1:PORT], 1::VERSION`,
    'set standard_conforming_strings = off',
    `select 'a\\'; \\! touch ${file}`,
    `select 'a\\' || ' \\! touch ${file} '`,
    `select E'\\'; \\! touch ${file} '`,
    'set standard_conforming_strings = on',
    `select U&'\\0061' '\\! touch ${file}'`,
    `do $$ begin raise exception E'x\\n\\\\! touch ${file}\\r\\\\! touch ${file}'; end $$`,
    `do $$ begin raise notice E'\\n\\\\! touch ${file}'; end $$`,
    `(select 1;\n\\! touch ${file}`,
    `select /* /* */ \\! touch ${file}\n */ 1`,
    `select '\u0001\u001b[2J', 'é'; \\! touch ${file}`,
    '\\.',
  ]
  const { original, again } = await scripted({ speak: sayAll(texts) })
  assert.deepEqual(again, original)
  await noCanary()
})

test('an encoding that a session chooses cannot swallow the end of a string in the script', async () => {
  const file = canary()
  const { psql: ran, query } = await scripted({
    prepare: 'create table t (a text)',
    async speak(proxy, database) {
      const client = await clientOf(proxy, database)
      await client.query("set client_encoding = 'SJIS'")
      // The last byte of this letter in UTF-8 is the first of two in Shift JIS, so psql would not see the character behind it.
      const letter = Buffer.from([0x82, 0xa0])
      for (const [front, behind] of [
        ["insert into t values ('", "')"],
        ["insert into t values ('\\') -- ", ''],
      ] as const) {
        await converse(client, ({ stream }) => stream.write(encodeMessage('Q', Buffer.from(front), letter, Buffer.from(`${behind}\0`))))
        await client.query(`\\! touch ${file}`).catch(() => undefined)
      }
      await client.end()
    },
  })
  assert.deepEqual(await query('select a from t order by a desc'), [{ a: 'あ' }, { a: '\\' }], ran.stderr)
  await noCanary()
})

test('the script is what the session said for any text', async () => {
  const file = canary()
  const piece = fc.constantFrom(
    ...[
      "'",
      '"',
      '$$',
      '$a$',
      '$steno$',
      '\\',
      '\\g',
      `\\! touch ${file}`,
      '\\.',
      ';',
      ':x',
      ":'x'",
      '::int',
      '--',
      '/*',
      '*/',
      '\n',
      '\n\n',
      '\r\n',
      ' ',
      '\t',
    ],
    ...[
      'select ',
      "E'",
      "U&'",
      "B'",
      'a',
      '1',
      '1$',
      '$1',
      '(',
      ')',
      ',',
      'é',
      '東',
      '😀',
      '`',
      '=',
      '-',
      '@',
      "''",
      '\\\\',
      '|',
      '\u0001',
    ],
  )
  const texts = fc.sample(
    fc.array(piece, { minLength: 1, maxLength: 12 }).map((parts) => parts.join('')),
    { numRuns: 400, seed: 11 },
  )
  const { original, again } = await scripted({ speak: sayAll([...texts, 'rollback', ...texts.map((text) => `select ${text}`)]) })
  assert.deepEqual(
    again,
    original.filter((text) => !isNothing(text)),
  )
  await noCanary()
})

/** A text of only comments and white space: psql would not send it, nor does the script try. */
const isNothing = (text: string): boolean => text.replaceAll(/\/\*.*?\*\/|--[^\n\r]*/gs, '').trim() === ''

test('parameters keep their types, values and nulls, whatever they hold', async () => {
  const file = canary()
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
  const scriptedSession = await scripted({
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
  await noCanary()
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
  const { query } = await scripted({
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
  const [row] = await server.query(`select ${function_}('${text.replaceAll("'", "''")}'::${type}) as value`)
  return row!['value'] as Buffer
}

test('COPY data is run as data: in a script whose COPY works, and in one whose COPY cannot begin', async () => {
  const file = canary()
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
  const worked = await scripted({ prepare: 'create table t (id int, a text)', speak })
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
  await noCanary()
  const broken = await scripted({ prepare: 'create table t (id int, a text)', changed: 'alter table t rename to other', speak })
  assert.equal(broken.psql.status, 3, broken.psql.stderr)
  assert.deepEqual(await broken.query('select * from other'), [])
  await noCanary()
})

test('CSV data is loaded where psql and the server agree on its end, and else nothing is run from there on', async () => {
  const speak = async (proxy: RunningProxy, database: string): Promise<void> => {
    const client = await clientOf(proxy, database)
    await copyIn(client, 'copy t from stdin (format csv)', 'one\n"t\nwo",\n')
    await copyIn(client, 'copy t (a) from stdin (format csv)', 'one\n"t\nwo"\n')
    await client.end()
  }
  const { stdout: version } = await runProgram(psql, ['--version'])
  const isOld = Number(/ (\d+)/.exec(version)![1]) < 18
  const own = await scripted({ prepare: 'create table t (a text)', speak })
  const rows = await own.query('select a from t order by a')
  if (isOld) assert.match(own.psql.stdout, /^CSV data in a script needs psql 18/m)
  assert.deepEqual(rows, isOld ? [] : [{ a: 'one' }, { a: 't\nwo' }])
  await using older = await startPostgres({ version: 15 })
  await older.query('create table t (a text)')
  const ran = await runProgram(psql, ['--no-psqlrc', '--file', '-', older.url], { input: own.script })
  assert.equal(ran.status, 0, ran.stderr)
  assert.deepEqual(await older.query('select a from t order by a'), [{ a: 'one' }, { a: 't\nwo' }])
})

test('several executions before one Sync stay one transaction', async () => {
  const { query, script } = await scripted({
    prepare: 'create table t (id int primary key)',
    async speak(proxy, database) {
      const client = await clientOf(proxy, database)
      await pipeline(client, [{ text: 'insert into t values (1)' }, { text: 'insert into t values (2)' }])
      await pipeline(client, [
        { text: 'insert into t values (3)' },
        { text: 'insert into t values (1)' },
        { text: 'insert into t values (4)' },
      ])
      await client.end()
    },
  })
  assert.deepEqual(await query('select id from t order by id'), [{ id: 1 }, { id: 2 }])
  assert.match(script, /^-- NOT RUN: the server skipped it/m)
})

type Connection = {
  readonly stream: { write(bytes: Buffer): void }
  parse(query: object): void
  bind(query: object): void
  execute(query: object): void
  sync(): void
  query(text: string): void
  sendCopyFromChunk(chunk: Buffer): void
  endCopyFrom(): void
}

/** Lets `submit` speak the protocol; resolves at the next ReadyForQuery. */
function converse(
  client: pg.Client,
  submit: (connection: Connection) => void,
  onCopyIn: (connection: Connection) => void = () => undefined,
): Promise<void> {
  const ignore = (): undefined => undefined
  return new Promise((resolve) => {
    client.query({
      // What it returns is taken for an error.
      submit(connection: unknown): void {
        submit(connection as Connection)
      },
      ...{ handleCommandComplete: ignore, handleRowDescription: ignore, handleDataRow: ignore },
      ...{ handlePortalSuspended: ignore, handleEmptyQuery: ignore, handleCopyData: ignore },
      handleCopyInResponse: (connection: unknown) => onCopyIn(connection as Connection),
      // Behind an error the client tells its query of nothing more, but waits itself.
      handleError: () => resolve(),
      handleReadyForQuery: () => resolve(),
    } as unknown as pg.Submittable)
  })
}

type Execution = { readonly text: string; readonly types?: readonly number[]; readonly values?: readonly Buffer[] }

/** Parse, Bind, Execute of each, then one Sync. */
function pipeline(client: pg.Client, executions: readonly Execution[]): Promise<void> {
  return converse(client, (connection) => {
    for (const { text, types = [], values = [] } of executions) {
      connection.parse({ text, name: '', types })
      connection.bind({ portal: '', statement: '', values })
      connection.execute({ portal: '', rows: 0 })
    }
    connection.sync()
  })
}

/** A simple query that asks for COPY data as often as there is some. */
function copyIn(client: pg.Client, sql: string, ...data: readonly string[]): Promise<void> {
  const waiting = [...data]
  return converse(
    client,
    (connection) => connection.query(sql),
    (connection) => {
      connection.sendCopyFromChunk(Buffer.from(waiting.shift() ?? ''))
      connection.endCopyFrom()
    },
  )
}

test('what was redacted is no statement of the script', async () => {
  const { script, again } = await scripted({
    speak: sayAll(["create role script_reader password 'not to be seen'", 'select 1']),
  })
  assert.match(script, /^-- NOT RUN: its literals were replaced/m)
  assert.deepEqual(again, ['select 1'])
})
