import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import pg from 'pg'
import { isRightAligned } from '../postgres/values/types.ts'
import { defaultSettings } from '../postgres/values/settings.ts'
import { textOf } from '../postgres/values/text-of.ts'
import { program, type Program } from '../tools/debian-programs.ts'
import { startPostgres, type EmbeddedPostgres } from '../tools/embedded-postgres.ts'
import { createGrid } from './grid.ts'

const results = [
  'select',
  'select from generate_series(1, 3)',
  'select 1 where false',
  'select 1 as a, 2.50 as "a longer name", null as nothing, true',
  "select n, repeat('x', n) as x, -n * 1.5 as y from generate_series(1, 12) n",
  `select 1 as "two\nlines", 'a' as "three\nlines\nhere", 2 as one`,
  "select e'first\\nsecond line\\nthird' as t, 1 as n, e'a\\nb' as u",
  "select 1 as n, e'first\\nsecond' as t union all select 22, 'one' union all select 333, e'\\n\\n'",
  "select '' as empty",
  "select null::text as a, null::int as b union all select 'x', 1",
  "select e'a\\tb\\tc' as tabs, e'12345678\\tx' as t2, e'\\t' as t3",
  "select e'carriage\\rreturn' as r, e'\\x1b[31mred\\x07\\x7f' as escape, e'\\u0085\\u009b' as c1",
  "select '日本語' as wide, 'ab' as narrow, '한국' as k union all select 'x', '漢', 'ｆｕｌｌ'",
  "select 'é' as composed, e'e\\u0301' as combining, '🎉🎉' as emoji, e'\\u2603' as snow, '🇩🇪' as flag union all select 'xx', 'yy', 'zz', 'v', 'u'",
  "select 1::int2 as a, 2::int8 as b, 3::oid as c, '4'::xid as d, '5'::cid as e, '6'::xid8 as f, '7'::money as g, 1.5::float4 as h, now() - now() as i, '{1}'::int[] as j",
  "select e'\\\\' as backslash, '|' as bar, '+' as plus, '  spaces  ' as s",
  "select e'a\\nb' as t, 1 as n union all select 'c', 22",
  "select 1 as n, e'a\\n' as t, 2 as m union all select 2, '', null",
  'select relname, relkind, reltuples, relacl from pg_class where oid < 2700 order by oid limit 30',
  "select proname, prosrc, pronargs from pg_proc where prosrc like e'%\\n%' order by oid limit 5",
]

let server: EmbeddedPostgres
let psql: Program
let client: pg.Client

before(async () => {
  server = await startPostgres()
  psql = await program('psql')
  client = new pg.Client({ connectionString: server.url, types: { getTypeParser: () => (value: unknown) => value } })
  await client.connect()
})
after(async () => {
  await client.end()
  await server.stop()
})

async function printedByPsql(sql: string, ...options: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(psql.command, ['-X', '-P', 'pager=off', ...options, '-c', sql, server.url], {
    env: { ...process.env, ...psql.env, PGCLIENTENCODING: 'UTF8', LC_ALL: 'C' },
    maxBuffer: 64 * 1024 * 1024,
  })
  return stdout
}

async function printedByGrid(sql: string, nullText: string): Promise<string> {
  const { fields, rows } = await client.query<(string | null)[]>({ text: sql, rowMode: 'array' })
  const columns = fields.map(({ name, dataTypeID }) => ({
    name,
    align: isRightAligned(dataTypeID) ? ('right' as const) : ('left' as const),
  }))
  const grid = createGrid({ columns, rowsMax: 1_000, nullText })
  for (const row of rows) {
    grid.push(
      row.map((value, index) => {
        const column = { typeOid: fields[index]!.dataTypeID, typeModifier: -1, format: 'text' as const }
        return value === null ? null : textOf(Buffer.from(value), column, defaultSettings)
      }),
    )
  }
  return [...grid.lines(), '', ''].join('\n')
}

// Goal: the grid is psql's to the byte. Method: real psql prints the same results.
test('a grid is what psql prints, byte for byte', async () => {
  for (const sql of results) assert.equal(await printedByGrid(sql, ''), await printedByPsql(sql), sql)
  const sql = results[3]!
  assert.equal(await printedByGrid(sql, '∅'), await printedByPsql(sql, '-P', 'null=∅'))
})

function gridOf(rowsMax: number, rows: (string | null)[][], charactersMax?: number): string[] {
  const limit = charactersMax === undefined ? {} : { charactersMax }
  const grid = createGrid({ columns: [{ name: 'a', align: 'left' }], rowsMax, nullText: '', ...limit })
  for (const row of rows) grid.push(row)
  return [...grid.lines()]
}

test('a grid holds no more rows and characters than it may, and says how many rows there are', () => {
  const rows = Array.from({ length: 5 }, (_, index) => [`v${index}`])
  assert.deepEqual(gridOf(2, rows), [' a  ', '----', ' v0', ' v1', '(2 rows shown of 5; --rows-max shows more)'])
  assert.deepEqual(gridOf(9, rows, 3), [' a  ', '----', ' v0', ' v1', '(2 rows shown of 5; --rows-max shows more)'])
})

test('no control character and no bidirectional override of a value reaches the terminal', () => {
  const everything = Array.from({ length: 0x3000 }, (_, code) => String.fromCharCode(code)).join('')
  for (const line of gridOf(5, [[everything], [null]])) assert.doesNotMatch(line, /[\p{Cc}\u202a-\u202e\u2066-\u2069]/u)
})
