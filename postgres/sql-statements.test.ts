import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import pg from 'pg'
import { startPostgres } from '../tools/embedded-postgres.ts'
import { splitStatements } from './sql-statements.ts'

const texts = (sql: string): string[] => splitStatements(sql).map(({ text }) => text)

const table: [string, string[]][] = [
  ['', []],
  [' ; /* c */ ; -- x', []],
  ['select 1', ['select 1']],
  [' select 1 ; select 2;', ['select 1', 'select 2']],
  [`select ';' ; select $$;$$ ; select ";" ; select E'\\';'`, [`select ';'`, 'select $$;$$', 'select ";"', `select E'\\';'`]],
  ['/* a; */ select 1 -- b;\n; select 2', ['/* a; */ select 1 -- b;', 'select 2']],
  [
    'create rule r as on insert to t do (select 1; select 2); select 3',
    ['create rule r as on insert to t do (select 1; select 2)', 'select 3'],
  ],
  [
    'CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC select 1; select case when true then 2 end; END; select 3',
    ['CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC select 1; select case when true then 2 end; END', 'select 3'],
  ],
  [
    'create procedure p() begin atomic select 1 as end; end; select 2',
    ['create procedure p() begin atomic select 1 as end; end', 'select 2'],
  ],
  ['begin; select 1; end; select 2', ['begin', 'select 1', 'end', 'select 2']],
  ['create table t(a int); begin; end', ['create table t(a int)', 'begin', 'end']],
]
for (const [sql, expected] of table) {
  test(`${JSON.stringify(sql)} is split as the server splits it`, () => assert.deepEqual(texts(sql), expected))
}

test('offsets point at the text', () => {
  const sql = ' select 1 ;\n select 2 '
  for (const { start, end, text } of splitStatements(sql)) assert.equal(sql.slice(start, end), text)
})

test('standard_conforming_strings off changes where a string ends', () => {
  const sql = `select 'a\\'; select 2; select '`
  assert.equal(splitStatements(sql).length, 3)
  assert.equal(splitStatements(sql, { standardConformingStrings: false }).length, 1)
})

const statement = fc.constantFrom(
  'select 1',
  `select ';'`,
  `select E'\\';'`,
  'select $a$ ; $$ ; $a$',
  'select 1 /* ; /* ; */ */',
  'select 2 -- ;\n',
  `select 'a' -- ;\n ';b'`,
  `select U&'\\003b;'`,
  `select 1 as "a;""b"`,
  'select case when true then 1 else (case when false then 2 end) end as end',
  'create or replace function pg_temp.f() returns int begin atomic select 1; select case when true then (case when true then 2 end) end; end',
  'create or replace procedure pg_temp.p(a int default (case when true then 1 end)) begin atomic select 1 as case; select 2; end',
  'create or replace rule r as on update to pg_temp.split_test do also (select 1; select 2)',
  'do $$ begin perform 1; end $$',
  `select 0x1f, 1_000, '{1}'::int[]`,
  'select -1-(-2)',
)
const filler = fc.constantFrom('', ' ', '\n', ';', ' ; ; ', '/* ; */', '-- ;\n')

test('the server completes as many commands as the split counts', async () => {
  await using server = await startPostgres({ authentication: 'trust' })
  const client = new pg.Client({ connectionString: server.url })
  await client.connect()
  try {
    await client.query('create temporary table split_test(a int)')
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(filler, statement, filler), { minLength: 1, maxLength: 8 }), async (parts) => {
        const sql = parts.map(([before, text, after]) => `${before}${text}${after};`).join('')
        const answer: unknown = await client.query(sql)
        assert.equal(splitStatements(sql).length, Array.isArray(answer) ? answer.length : 1, sql)
      }),
      { numRuns: 200 },
    )
  } finally {
    await client.end()
  }
})
