import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { promisify } from 'node:util'
import pg from 'pg'
import type { ErrorFields } from '../postgres/statement.ts'
import { program } from '../tools/debian-programs.ts'
import { startPostgres } from '../tools/embedded-postgres.ts'
import { errorLines } from './error-report.ts'

const failing = [
  'selec 1',
  'select 1,\n  2 fromm pg_class x y\n where true',
  'select\r\n1 +\r\n foo',
  'select 1/0',
  'select * from missing_table',
  "select 'x' || \t\tno_column",
  `select ${'1 + '.repeat(40)} wrong_name`,
  `select ${'1 + '.repeat(10)} wrong_name ${' + 1'.repeat(40)}`,
  `select wrong_name ${' + 1'.repeat(40)}`,
  "select '日本語日本語', wrong_name",
  `select '${'日本'.repeat(40)}', wrong_name, '${'日本'.repeat(40)}'`,
  "select 'é🎉', wrong_name",
  'select pg_clas()',
  "do $$ begin raise exception using message = e'two\\nlines', detail = 'the detail', hint = 'the hint'; end $$",
  "do $$ begin raise notice 'careful'; raise warning 'watch\x1b[31m out'; perform 1/0; end $$",
  'insert into pg_class (oid) values (1)',
  "select 'abc'::int",
  'select (',
]

// Goal: an error reads as psql prints it. Method: real psql and our rendering of the same server's fields.
test('an error is what psql prints, byte for byte', async () => {
  await using server = await startPostgres()
  const psql = await program('psql')
  const client = new pg.Client({ connectionString: server.url })
  await client.connect()
  let notices: pg.DatabaseError[] = []
  client.on('notice', (notice) => notices.push(notice as pg.DatabaseError))
  for (const sql of failing) {
    notices = []
    const error = await client.query(sql).then(
      () => assert.fail(sql),
      (thrown: unknown) => thrown as pg.DatabaseError,
    )
    const lines = [
      ...notices.flatMap((notice) => errorLines(fieldsOf(notice), sql, { context: false })),
      ...errorLines(fieldsOf(error), sql, { context: true }),
    ]
    const { stderr } = await promisify(execFile)(psql.command, ['-X', '-c', sql, server.url], {
      env: { ...process.env, ...psql.env, PGCLIENTENCODING: 'UTF8', LC_ALL: 'C' },
    }).then(
      () => assert.fail(sql),
      (thrown: unknown) => thrown as { stderr: string },
    )
    // psql passes on what the server says; we escape it.
    assert.equal(`${lines.join('\n')}\n`, stderr.replaceAll('\x1b', '\\x1B'), sql)
  }
  await client.end()
})

function fieldsOf(error: pg.DatabaseError): ErrorFields {
  const { severity, code, message, detail, hint, position, where } = error
  const optional = Object.fromEntries(Object.entries({ detail, hint, position, where }).filter(([, value]) => value !== undefined))
  return { severity: severity ?? '', code: code ?? '', message, ...optional }
}
