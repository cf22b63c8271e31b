/**
 * Goal: each written form says what it says by libpq's keywords, and is written again for another place without what only fits the first.
 * Method: a table; that every reader leaves alone what is another's. What `steno run` and the webhook make of the forms is tested there.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readJdbc } from './jdbc-form.ts'
import { keywordText, readKeywords } from './keyword-form.ts'
import { pgVariables, wayVariables } from './pg-variables.ts'
import { readUrl } from './url-form.ts'

const readers = { readUrl, readJdbc, readKeywords }
const target = { port: 7001, user: 'agent', password: null, database: 'other' }

const forms: readonly {
  readonly reader: keyof typeof readers
  readonly text: string
  readonly values: Readonly<Record<string, string>>
  readonly written: string
}[] = [
  {
    reader: 'readUrl',
    text: 'postgres://shop:s%40cret@db.example:6000/shop?application_name=x&sslmode=require',
    values: { user: 'shop', password: 's@cret', host: 'db.example', port: '6000', dbname: 'shop', sslmode: 'require' },
    written: 'postgres://agent@127.0.0.1:7001/other?application_name=x&sslmode=disable',
  },
  {
    reader: 'readUrl',
    text: 'postgresql+asyncpg://db.example/shop',
    values: { host: 'db.example', dbname: 'shop' },
    written: 'postgresql+asyncpg://agent@127.0.0.1:7001/other',
  },
  {
    reader: 'readJdbc',
    text: 'jdbc:postgresql://db.example/shop?user=shop&password=secret&currentSchema=sales',
    values: { host: 'db.example', dbname: 'shop', user: 'shop', password: 'secret' },
    written: 'jdbc:postgresql://127.0.0.1:7001/other?user=agent&currentSchema=sales&sslmode=disable',
  },
  {
    reader: 'readKeywords',
    text: "host=db.example password='se cret' TimeZone=UTC",
    values: { host: 'db.example', password: 'se cret' },
    written: 'host=127.0.0.1 port=7001 dbname=other user=agent TimeZone=UTC sslmode=disable',
  },
  {
    reader: 'readKeywords',
    text: "host=db.example password='se;c=ret' TimeZone=UTC",
    values: { host: 'db.example', password: 'se;c=ret' },
    written: 'host=127.0.0.1 port=7001 dbname=other user=agent TimeZone=UTC sslmode=disable',
  },
]

for (const { reader, text, values, written } of forms) {
  test(`a form is read and written again, and is one reader's alone: ${text}`, () => {
    const read = readers[reader](text)
    assert.deepEqual(Object.fromEntries(read!.values), values)
    assert.equal(read!.write(target), written)
    for (const [name, other] of Object.entries(readers)) if (name !== reader) assert.equal(other(text), null, name)
  })
}

test('values that need it are quoted in a keyword string', () => {
  assert.equal(
    keywordText([
      ['password', "it's \\ a"],
      ['host', ''],
      ['port', '1'],
    ]),
    String.raw`password='it\'s \\ a' host='' port=1`,
  )
})

test('the PG variables name only what is known, and those that fit the database alone are a list without them', () => {
  assert.deepEqual(pgVariables(target), { PGHOST: '127.0.0.1', PGPORT: '7001', PGUSER: 'agent', PGDATABASE: 'other' })
  for (const name of ['PGPASSWORD', 'PGHOSTADDR', 'PGSSLROOTCERT', 'PGCHANNELBINDING']) assert.ok(wayVariables.includes(name), name)
  for (const name of ['PGHOST', 'PGPORT', 'PGDATABASE', 'PGAPPNAME']) assert.ok(!wayVariables.includes(name), name)
})
