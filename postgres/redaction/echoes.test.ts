import assert from 'node:assert/strict'
import { test } from 'node:test'
import pg from 'pg'
import { startPostgres } from '../../tools/embedded-postgres.ts'
import { createRedactor } from './redactor.ts'
import { query, readReported, readResponse, reported, response } from './test-frames.ts'
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
    `alter role x password "${'correct horse battery staple '.repeat(3)}hunter2"`,
    `alter role x password "${'correct horse battery '.repeat(2)} hunter2 staple"`,
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

// Goal: what a real server tells of a setting is redacted where the statement was. Method: names of programs that it keeps, cuts and cleans.
test('no setting that a real server tells keeps the secret of the statement that made it', async () => {
  await using server = await startPostgres({ authentication: 'trust' })
  const client = new pg.Client({ connectionString: server.url, client_encoding: 'UTF8' })
  await client.connect()
  const redactor = createRedactor()
  const told: { value: string; recorded: string }[] = []
  // pg has no event for these messages.
  const { connection } = client as unknown as {
    connection: { on(event: string, listener: (message: Record<string, string>) => void): void }
  }
  connection.on('parameterStatus', ({ parameterName, parameterValue }) => {
    const frame = reported(parameterName!, Buffer.from(parameterValue!).toString('latin1'))
    told.push({ value: parameterValue!, recorded: readReported(redactor.backend(frame)).value })
  })
  client.on('notice', () => undefined)
  for (const sql of [
    `set application_name = 'password=hunter2'`,
    `select set_config('application_name', 'hunter2 of ' || current_user, false) as password`,
    `set application_name = '${'correct horse '.repeat(3)}hunter2 battery staple' -- password`,
    `set application_name = 'hünter2' -- password`,
    'begin',
    `set local application_name = 'x'`,
    'rollback',
    `set application_name = 'reports'`,
    `set timezone = 'Europe/Berlin' -- password`,
  ]) {
    redactor.frontend(query(Buffer.from(sql).toString('latin1')))
    await client.query(sql)
  }
  await client.end()
  assert.ok(told.filter(({ value }) => /h.*nter2/.test(value)).length >= 5, JSON.stringify(told))
  for (const { recorded, value } of told) assert.equal(recorded, /h.*nter2/.test(value) ? '[redacted]' : value)
})
