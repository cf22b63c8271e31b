// Goal: a line says what its statement was, and nothing in it can forge another. Method: examples, and any text at any place.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { eventsAsJson, eventsAsText, type SpeakingSession } from './statement-event.ts'
import type { StatementSummary } from './statement.ts'

const session: SpeakingSession = {
  session: '01a1fec5-28d8-7d64-9476-ea49b3d663ed',
  user: 'shop',
  database: 'store',
  application: 'psql',
}
const opened = Date.UTC(2026, 10, 21, 9)
const statement: StatementSummary = {
  number: 3,
  kind: 'query',
  sql: 'select 1',
  sqlBytes: 8,
  parameters: [{ typeOid: 25, format: 'text', bytes: 6, value: 'secret' }],
  columns: null,
  outcome: 'completed',
  tag: 'SELECT 1',
  rows: 1,
  resultBytes: 12,
  error: null,
  notices: [],
  transactionBefore: 'I',
  started: opened + 0.25,
  finished: opened + 1.75,
  place: { first: 1, last: 2 },
  fingerprint: 'l1:0',
  decision: { kind: 'allow', rule: '(none)' },
}
const failed: StatementSummary = {
  ...statement,
  outcome: 'failed',
  tag: null,
  rows: 0,
  resultBytes: 0,
  error: { severity: 'ERROR', code: '23505', message: 'duplicate key value: (secret)' },
}
const options = { sqlCharacters: 1_000, recovered: false }
const asJson = (of: StatementSummary, given = options): Record<string, unknown> =>
  JSON.parse(eventsAsJson.statement(eventsAsJson.session(session), of, given)) as Record<string, unknown>
const asText = (of: StatementSummary, given = options): string => eventsAsText.statement(eventsAsText.session(session), of, given)

test('the fields of a statement line are these, in JSON and for people', () => {
  assert.deepEqual(asJson(statement), {
    time: '2026-11-21T09:00:00.001Z',
    event: 'statement',
    ...session,
    number: 3,
    kind: 'query',
    outcome: 'completed',
    durationMilliseconds: 1.5,
    rows: 1,
    bytes: 12,
    tag: 'SELECT 1',
    sqlstate: null,
    decision: 'allow',
    sql: 'select 1',
  })
  assert.equal(
    asText(statement),
    '2026-11-21T09:00:00.001Z  01a1fec5-28d8-7d64  shop@store (psql)  #3  1.50 ms  SELECT 1  1 row, 12 bytes  select 1',
  )
})

test('a failed statement has its SQLSTATE; no line has parameters or an error message', () => {
  assert.deepEqual([asJson(failed)['sqlstate'], asJson(failed)['tag'], asJson(failed)['outcome']], ['23505', null, 'failed'])
  assert.match(asText(failed), /  ERROR 23505  select 1$/)
  for (const line of [statement, failed].flatMap((of) => [JSON.stringify(asJson(of)), asText(of)])) assert.doesNotMatch(line, /secret/)
})

test('SQL is cut at the limit with a mark, never inside a character, and 0 shows none', () => {
  const long = { ...statement, sql: 'select 🎉🎉', sqlBytes: 15 }
  const cut = asJson(long, { ...options, sqlCharacters: 10 })
  assert.deepEqual([cut['sql'], cut['sqlCut'], cut['sqlBytes']], ['select 🎉', true, 15])
  assert.match(asText(long, { ...options, sqlCharacters: 10 }), /select 🎉… \(15 bytes\)$/)
  assert.deepEqual([asJson(long)['sql'], 'sqlCut' in asJson(long)], [long.sql, false])
  const cutBefore = asJson({ ...long, sqlTruncated: true, sqlBytes: 70_000 })
  assert.deepEqual([cutBefore['sqlCut'], cutBefore['sqlBytes']], [true, 70_000])
  assert.equal('sql' in asJson(long, { ...options, sqlCharacters: 0 }), false)
  assert.doesNotMatch(asText(long, { ...options, sqlCharacters: 0 }), /select/)
})

test('what was recovered, redacted or set back in time says so or does no harm', () => {
  assert.equal(asJson(statement, { ...options, recovered: true })['recovered'], true)
  assert.match(asText(statement, { ...options, recovered: true }), /  recovered  /)
  assert.equal(asJson({ ...statement, redacted: true })['redacted'], true)
  assert.equal(asJson({ ...statement, finished: statement.started - 5 })['durationMilliseconds'], 0)
})

test('sessions that open and close, and lines that are missing, have lines of their own', () => {
  const shared = eventsAsJson.session(session)
  const closed = {
    event: 'session-closed',
    time: opened + 2_500,
    reason: 'terminated',
    durationMilliseconds: 2_500,
    recovered: false,
  } as const
  const open = { event: 'session-opened', time: opened, client: '[::1]:40000', recovered: false } as const
  assert.deepEqual(JSON.parse(eventsAsJson.sessionEvent(shared, open)), {
    time: '2026-11-21T09:00:00.000Z',
    event: 'session-opened',
    ...session,
    client: '[::1]:40000',
  })
  assert.deepEqual(JSON.parse(eventsAsJson.sessionEvent(shared, { ...closed, recovered: true })), {
    time: '2026-11-21T09:00:02.500Z',
    event: 'session-closed',
    ...session,
    durationMilliseconds: 2_500,
    reason: 'terminated',
    recovered: true,
  })
  assert.match(eventsAsText.sessionEvent(eventsAsText.session(session), closed), /closed after 2\.500 s: terminated$/)
  assert.deepEqual(JSON.parse(eventsAsJson.dropped(7, opened)), { time: '2026-11-21T09:00:00.000Z', event: 'lines-dropped', lines: 7 })
})

test('no text from outside ends a line, acts on a terminal, or makes a line of JSON say something else', () => {
  const hostile = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string({
      unit: fc.constantFrom('"', '\\', '}', '\n', '\r', '\x1b[31m', '\u009b', '\u2028', '\u2029', '\u202e', '\u200f', '\x7f', '\0', 'a'),
    }),
  )
  fc.assert(
    fc.property(hostile, hostile, hostile, hostile, (sql, name, tag, code) => {
      const speaking = { session: session.session, user: name, database: tag, application: code }
      for (const of of [
        { ...statement, sql, tag },
        { ...failed, sql, error: { severity: tag, code, message: name } },
      ]) {
        const json = eventsAsJson.statement(eventsAsJson.session(speaking), of, options)
        const text = eventsAsText.statement(eventsAsText.session(speaking), of, options)
        for (const line of [json, text]) assert.doesNotMatch(line, /[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/)
        const read = JSON.parse(json) as Record<string, unknown>
        assert.deepEqual([read['sql'], read['user'], read['event']], [sql, name, 'statement'])
      }
    }),
  )
})

test('names and tags of any length make no line longer than the limits allow', () => {
  const long = 'x'.repeat(100_000)
  const speaking = { session: session.session, user: long, database: long, application: long }
  const line = eventsAsJson.statement(eventsAsJson.session(speaking), { ...statement, sql: long, sqlBytes: 100_000, tag: long }, options)
  assert.ok(line.length < 2_500, `${line.length}`)
})
