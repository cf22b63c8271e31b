/** Goal: the summary says what was recorded in a few lines, whatever its size, and nothing in it can forge a line. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { summaryLines, type RunSummary, type SessionOfRun } from './summary.ts'

const session = (number: number, more: Partial<SessionOfRun> = {}): SessionOfRun => ({
  ...{ session: `id-${number}`, state: 'closed', variables: ['DATABASE_URL'], user: 'shop', database: 'shop', application: null },
  ...{ opened: 1_000, closed: 1_250, statements: 3, failures: 0, rows: 5, gaps: 0 },
  ...more,
})
const summary = (sessions: readonly SessionOfRun[], more: Partial<RunSummary> = {}): RunSummary => ({
  ...{ exitCode: 0, store: 'file:///s', everythingStored: true, sessions },
  totals: { sessions: sessions.length, statements: 3 * sessions.length, failures: 0, rows: 5 * sessions.length },
  ...more,
})

test('one session is named with the command that shows it', () => {
  assert.deepEqual(summaryLines(summary([session(1)]), ' --store file:///s'), [
    'steno: recorded 1 session, 3 statements, 5 rows',
    '  id-1  shop@shop (DATABASE_URL): 3 statements, 5 rows, 250.0 ms',
    '  more: steno show id-1 --store file:///s',
  ])
})

test('of many sessions the first are shown and the rest counted', () => {
  const sessions = Array.from({ length: 1_000 }, (_, number) => session(number))
  const lines = summaryLines(summary(sessions, { totals: { sessions: 4_000, statements: 1, failures: null, rows: null } }), '')
  assert.equal(lines.length, 13)
  assert.equal(lines[0], 'steno: recorded 4000 sessions, 1 statement, failures not counted')
  assert.deepEqual(lines.slice(-2), ['  and 3990 sessions more: steno sessions', '  more: steno show ID'])
})

test('failures, gaps, an unfinished end and what is not stored are said', () => {
  const lines = summaryLines(summary([session(1, { failures: 2, gaps: 1, closed: null, state: 'open' })], { everythingStored: false }), '')
  assert.equal(lines[1], '  id-1  shop@shop (DATABASE_URL): 3 statements, 2 failed, 5 rows, open, 1 gap')
  assert.match(lines.at(-1) ?? '', /^steno: not everything is stored/)
})

test('a name of a database cannot forge a line or colour the terminal', () => {
  const [, line = ''] = summaryLines(summary([session(1, { database: 'a\nsteno: recorded 0 sessions\x1b[31m' })]), '')
  assert.ok(!/[\n\x1b]/.test(line), line)
})
