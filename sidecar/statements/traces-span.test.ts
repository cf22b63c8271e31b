/**
 * Goal: a span says what happened by the conventions, and never what was in the data.
 * Method: the conventions' own examples, a table of statements, and generated texts with a secret in every place where data can stand.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { StatementSummary } from '../../postgres/statement.ts'
import type { SessionIdentity } from '../../session/identity.ts'
import { sanitizedQueryText } from './traces-query-text.ts'
import { spanOf } from './traces-span.ts'
import { querySummaryOf } from './traces-summary.ts'

const identity: SessionIdentity = {
  version: 1,
  session: '01a1fd55-7e72-7000-8000-0000000003e9',
  engine: 'postgresql',
  mode: 'custody',
  opened: 1,
  recorder: 'r',
  client: { address: '127.0.0.1', port: 40_000, tls: null },
  upstream: { host: 'db.example', port: 5433, tls: null },
  user: 'agent',
  database: 'shop',
  protocol: '3.0',
  serverParameters: {},
  versions: { steno: '0', node: '24' },
  policy: null,
  attested: {},
  asserted: {},
  trace: null,
}
function statementOf(sql: string, more: Partial<StatementSummary> = {}): StatementSummary {
  const started = 1_795_251_601_033.5
  const said = { number: 7, kind: 'query', sql, sqlBytes: Buffer.byteLength(sql), parameters: [], transactionBefore: 'I' } as const
  const answered = { columns: null, outcome: 'completed', tag: null, rows: 0, resultBytes: 0, error: null, notices: [] } as const
  const made = { place: { first: 1, last: 2 }, fingerprint: 'l1:0', decision: { kind: 'allow', rule: '(none)' } } as const
  return { ...said, ...answered, ...made, started, finished: started + 1_000.5, ...more }
}
const span = (sql: string, more: Partial<StatementSummary> = {}, queryText: 'sanitized' | 'none' = 'sanitized') =>
  spanOf(identity, statementOf(sql, more), { queryText })

test('a statement that succeeded has name, server, text without literals, rows and its own times', () => {
  const { attributes, ...rest } = span("select * from orders where name = 'Anna' and id = $1 -- hers", {
    tag: 'SELECT 3',
    rows: 3,
    columns: [],
  })
  assert.deepEqual(attributes, {
    'db.system.name': 'postgresql',
    'db.namespace': 'shop',
    'server.address': 'db.example',
    'server.port': 5433,
    'db.operation.name': 'SELECT',
    'db.query.summary': 'SELECT orders',
    'db.query.text': 'select * from orders where name = ? and id = $1',
    'steno.session': identity.session,
    'steno.statement.number': 7,
    'steno.statement.outcome': 'completed',
    'steno.statement.fingerprint': 'l1:0',
    'db.response.returned_rows': 3,
  })
  assert.equal(rest.name, 'SELECT orders')
  assert.equal(rest.failure, null)
  assert.deepEqual(rest.start, [1_795_251_601, 33_500_000])
  assert.deepEqual(rest.end, [1_795_251_602, 34_000_000])
  assert.equal(rest.parent, null)
})

test('a statement that failed has its SQLSTATE, and nothing of what the server said', () => {
  const error = { severity: 'ERROR', code: '22P02', message: 'invalid input syntax for type integer: "secret"', detail: 'secret' }
  const failed = span("select 'secret'::int", { outcome: 'failed', error })
  assert.equal(failed.failure, 'SQLSTATE 22P02')
  assert.equal(failed.attributes['db.response.status_code'], '22P02')
  assert.equal(failed.attributes['error.type'], '22P02')
  assert.equal(failed.attributes['db.operation.name'], 'SELECT')
  assert.doesNotMatch(JSON.stringify(failed), /secret/)
})

for (const outcome of ['skipped', 'unfinished'] as const)
  test(`a statement that the server gave no answer to is an error without a SQLSTATE: ${outcome}`, () => {
    const { attributes, failure } = span('select 1', { outcome })
    assert.deepEqual([failure, attributes['error.type'], attributes['db.response.status_code']], [outcome, outcome, undefined])
  })

test('a portal that was dropped in the middle is no error', () => {
  const { attributes, failure } = span('select 1', { outcome: 'suspended', rows: 10 })
  assert.deepEqual([failure, attributes['error.type'], attributes['db.response.returned_rows']], [null, undefined, 10])
})

test('told twice it is the same span, and another statement is another one', () => {
  const one = span('select 1')
  assert.match(one.traceId, /^[0-9a-f]{32}$/)
  assert.match(one.spanId, /^[0-9a-f]{16}$/)
  assert.deepEqual([span('select 1').traceId, span('select 1').spanId], [one.traceId, one.spanId])
  const other = span('select 1', { number: 8 })
  assert.notEqual(other.traceId, one.traceId)
  assert.notEqual(other.spanId, one.spanId)
})

test('without a text, or where it carries a credential, only the command is named', () => {
  const none = span('select a from b', { tag: 'SELECT 1' }, 'none')
  assert.deepEqual([none.name, none.attributes['db.query.text']], ['SELECT b', undefined])
  const redacted = span("alter role bob password '***'", { redacted: true, tag: 'ALTER ROLE' })
  assert.deepEqual([redacted.name, redacted.attributes['db.query.text']], ['ALTER', undefined])
  const unseen = span('(prepared while the recording had a gap)', { sqlBytes: 0, tag: 'INSERT 0 1' })
  assert.deepEqual([unseen.name, unseen.attributes['db.query.text']], ['INSERT shop', undefined])
  assert.equal(span('gibberish').name, 'shop')
})

test('of a text that the server could not read nothing but its command is given', () => {
  const error = { severity: 'ERROR', code: '42601', message: 'syntax error' }
  const injected = span("select * from users where name = 'O'Brien' and other = 'D'Arcy'", { outcome: 'failed', error })
  assert.doesNotMatch(JSON.stringify(injected), /Brien|Arcy|users/)
  assert.equal(injected.name, 'SELECT')
})

const summaries: [sql: string, summary: string | null][] = [
  ['SELECT *\nFROM   wuser_table\nWHERE  username = 1', 'SELECT wuser_table'],
  ['INSERT INTO shipping_details (order_id, address) SELECT order_id, address FROM orders', 'INSERT shipping_details SELECT orders'],
  ['select * from songs, artists where songs.artist_id = artists.id', 'SELECT songs artists'],
  ['select d from (select * from orders o join customers c on o.id = c.id) x', 'SELECT SELECT orders customers'],
  ['select * from "song list" s', 'SELECT "song list"'],
  ['select 1', 'SELECT'],
  ['select extract(year from d), substring(t from 2) from public.days', 'SELECT public.days'],
  ['select a is distinct from b from t', 'SELECT t'],
  ['select * from generate_series(1, 3) g, t', 'SELECT t'],
  ['select a from t for update', 'SELECT t'],
  ['(select 1 from a) union (select 2 from b)', 'SELECT a SELECT b'],
  ['with r as (select id from old) update only s.new set x = 1', 'SELECT old UPDATE s.new'],
  ['insert into t (a) values (1) on conflict (a) do update set a = 2', 'INSERT t'],
  ['delete from t using u where t.id = u.id', 'DELETE t u'],
  ['merge into t using u on t.id = u.id when matched then update set a = 1', 'MERGE t u'],
  ['create table if not exists public.t (a int)', 'CREATE TABLE public.t'],
  ['create temp table t as select * from u', 'CREATE TABLE t SELECT u'],
  ['create materialized view v as select * from u', 'CREATE MATERIALIZED VIEW v SELECT u'],
  ['create or replace function f() returns int language sql as $$select 1 from hidden$$', 'CREATE FUNCTION f'],
  ['drop table if exists t', 'DROP TABLE t'],
  ['copy t (a, b) from stdin', 'COPY t'],
  ['copy (select * from t) to stdout', 'COPY SELECT t'],
  ['explain (analyze, verbose) select * from t', 'EXPLAIN SELECT t'],
  ['explain analyze select * from t', 'EXPLAIN SELECT t'],
  ['grant select, update on t to bob', 'GRANT'],
  ['set search_path to secret', 'SET'],
  ['call p(1)', 'CALL p'],
  ['begin', 'BEGIN'],
  ['/* first */ select 1', 'SELECT'],
  ['selec 1', null],
  ['', null],
]
for (const [sql, summary] of summaries)
  test(`a span is named by what is done to what: ${sql.slice(0, 60)}`, () => assert.equal(querySummaryOf(sql), summary))

test('a summary has at most 255 characters and ends with a whole name', () => {
  const summary = querySummaryOf(`select * from ${Array.from({ length: 100 }, (_, at) => `table_number_${at}`).join(', ')}`)!
  assert.ok(summary.length <= 255 && summary.length > 230)
  assert.match(summary, / table_number_\d+$/)
})

const secret = 'S3cretPhrase'
const literals: fc.Arbitrary<string> = fc.constantFrom(
  `'${secret}'`,
  `'it''s ${secret}'`,
  `E'a\\'${secret}'`,
  `U&'${secret}'`,
  `N'${secret}'`,
  `$$ ${secret} $$`,
  `$x$ $$${secret}$$ $x$`,
  `'a'\n  '${secret}'`,
  `/* ${secret} /* ${secret} */ */ 1`,
  `1 -- ${secret}\n`,
  `B'1'`,
  '-4.2e10',
  `'\\' || '${secret}'`,
  `'${secret}\\'`,
)
test('no literal and no comment is ever in a span, whatever stands beside what', () => {
  fc.assert(
    fc.property(fc.array(literals, { minLength: 1, maxLength: 6 }), (parts) => {
      const sql = `select ${parts.join(', ')} from t`
      assert.doesNotMatch(JSON.stringify(span(sql, { tag: 'SELECT 1' })), new RegExp(secret))
    }),
    { numRuns: 2_000 },
  )
})

test('a literal that ends at another place with standard_conforming_strings off gives no name to a span', () => {
  assert.equal(querySummaryOf(`select 'x\\' from ${secret}, b' from t`), 'SELECT')
  assert.equal(querySummaryOf("select 'a\\b' from t"), 'SELECT t')
})

const anyToken = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom(
    ...'select from join into update create drop alter table explain copy with as ( ) , . ; \' " $$ -- /* */ \\ for'.split(' '),
  ),
)
test('no text keeps a statement from having a span with a name', () => {
  fc.assert(
    fc.property(fc.array(anyToken), (tokens) => {
      const { name, attributes } = span(tokens.join(' '))
      assert.ok(name.length > 0 && name.length <= 255)
      assert.ok(String(attributes['db.query.text'] ?? '').length <= 4_100)
    }),
    { numRuns: 2_000 },
  )
})

const texts: [sql: string, text: string | null][] = [
  ['select  1,\n true', 'select ?, ?'],
  ["select 'a' 'b'", 'select ? ?'],
  ["select '\\'", null],
  ["select 'a\\b' as c", 'select ? as c'],
  ["select 'open", null],
  ['select "Name" from t where $1', 'select "Name" from t where $1'],
]
for (const [sql, text] of texts) test(`a text without data keeps its shape: ${sql}`, () => assert.equal(sanitizedQueryText(sql), text))

test('a long text is cut, and says so', () => {
  const text = sanitizedQueryText(`select ${'column_name, '.repeat(10_000)} 1`)!
  assert.ok(text.length <= 4_100 && text.length > 4_000)
  assert.match(text, / …$/)
  assert.match(sanitizedQueryText("select 'a", { cut: true })!, /^select \? …$/)
})
