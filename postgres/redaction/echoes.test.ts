import assert from 'node:assert/strict'
import { test } from 'node:test'
import pg from 'pg'
import { startPostgres } from '../../tools/embedded-postgres.ts'
import { createRedactor } from './redactor.ts'
import { query, readResponse, response } from './test-frames.ts'
import { bearing } from './test-statements.ts'

// Goal: what a real server says about a secret is redacted too. Method: run every statement, and some more that only fail, and give its complaint to the redactor.
test('no complaint of a real server about a credential-bearing statement keeps the secret', async () => {
  await using server = await startPostgres({ authentication: 'trust' })
  const failing = [
    "select password, 'hunter2'::int from (select 1 as password) x",
    'select \'{"password": hunter2}\'::json',
    "do $$ begin raise notice 'password is %', 'hunter2'; execute 'alter role x password ''hunter2'''; end $$",
    "do $$ begin execute 'alter role x password hunter2'; end $$",
    "select set_config('a.secret', 'hunter2', false)::int",
    "select 'password=hunter2'::xml, '{hunter2 password'::text[]",
    "create role r password 'hunter2' valid until 'hunter2'",
    "alter system set primary_conninfo = 'host=h hunter2'; ",
    `select "password=hunter2 ${'x'.repeat(80)}"`,
  ]
  let echoed = 0
  for (const sql of [...bearing.filter((text) => !/program/i.test(text)), ...failing]) {
    const client = new pg.Client({ connectionString: server.url, client_encoding: 'UTF8' })
    await client.connect()
    const redactor = createRedactor()
    redactor.frontend(query(Buffer.from(sql).toString('latin1')))
    const check = (complaint: Error): void => {
      const fields: Record<string, string> = { M: complaint.message }
      for (const [letter, name] of [
        ['D', 'detail'],
        ['H', 'hint'],
        ['W', 'where'],
        ['q', 'internalQuery'],
        ['n', 'constraint'],
      ] as const) {
        const text: unknown = Reflect.get(complaint, name)
        if (typeof text === 'string') fields[letter] = Buffer.from(text).toString('latin1')
      }
      const redacted = readResponse(redactor.backend(response('E', fields)))
      if (/hunter/.test(JSON.stringify(fields))) echoed++
      assert.doesNotMatch(JSON.stringify(redacted), /hunter/, sql)
    }
    client.on('notice', (notice) => check(Object.assign(new Error(notice.message), notice)))
    try {
      await client.query(sql)
    } catch (error) {
      assert.ok(error instanceof Error)
      check(error)
    } finally {
      await client.end()
    }
  }
  assert.ok(echoed >= 10, `the server repeated the secret ${echoed} times`)
})
