/** A comparison that finds nothing is worth something only if it finds what is there: each way in which a recording could be wrong. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { StatementLine } from '../../cli/statement-line.ts'
import { assertEveryStatementRecorded, type RecordedSession } from './compare-with-log.ts'
import type { LoggedBackend, LoggedStatement } from './server-log.ts'

const logged: readonly LoggedStatement[] = [
  { kind: 'query', text: "begin; insert into t values (';'); -- done\n" },
  { kind: 'execute', text: 'select $1' },
  { kind: 'refused', text: 'selec 1' },
  { kind: 'query', text: ';' },
  { kind: 'function', text: '"lo_creat" (OID 957)' },
  { kind: 'query', text: 'commit' },
]

type Recorded = Pick<StatementLine, 'kind' | 'sql' | 'outcome'>
const recorded: readonly Recorded[] = [
  { kind: 'query', sql: 'begin', outcome: 'completed' },
  { kind: 'query', sql: "insert into t values (';')", outcome: 'completed' },
  { kind: 'execute', sql: 'select $1', outcome: 'completed' },
  { kind: 'query', sql: 'selec 1', outcome: 'failed' },
  { kind: 'execute', sql: 'select $1', outcome: 'skipped' },
  { kind: 'query', sql: ';', outcome: 'completed' },
  { kind: 'function', sql: '(call of the function with OID 957)', outcome: 'completed' },
  { kind: 'query', sql: 'commit', outcome: 'completed' },
]

function session(statements: readonly Recorded[]): RecordedSession {
  const error = { severity: 'ERROR', code: '42601', message: 'syntax error' }
  const lines = statements.map((statement) => ({ ...statement, error: statement.outcome === 'failed' ? error : null }))
  return { id: 'one', identity: { database: 'shop' }, state: 'closed', gaps: 0, statements: lines } as unknown as RecordedSession
}

const backend = (statements: readonly LoggedStatement[], processId = 1): LoggedBackend => ({ processId, database: 'shop', statements })

test('a recording that holds what the server ran passes', () => {
  assertEveryStatementRecorded([backend(logged)], [session(recorded)])
  assertEveryStatementRecorded([backend(logged), backend(logged.slice(0, 2), 2)], [session(recorded.slice(0, 3)), session(recorded)])
})

for (const [index, statement] of recorded.entries()) {
  if (statement.outcome === 'skipped') continue // The server's log does not know of it.
  test(`without the recording of ${JSON.stringify(statement.sql)} it does not pass`, () => {
    assert.throws(() => assertEveryStatementRecorded([backend(logged)], [session(recorded.toSpliced(index, 1))]), /no session recorded/)
  })
  test(`with ${JSON.stringify(statement.sql)} recorded twice it does not pass`, () => {
    assert.throws(() => assertEveryStatementRecorded([backend(logged)], [session(recorded.toSpliced(index, 0, statement))]))
  })
  test(`with another text than ${JSON.stringify(statement.sql)} it does not pass`, () => {
    const other = { ...statement, sql: `${statement.sql} and more` }
    if (statement.kind === 'function') other.sql = '(call of the function with OID 958)'
    assert.throws(() => assertEveryStatementRecorded([backend(logged)], [session(recorded.with(index, other))]))
  })
}

test('a session that the server does not know does not pass, nor one that is missing', () => {
  assert.throws(() => assertEveryStatementRecorded([], [session(recorded)]), /knows nothing of session/)
  assert.throws(() => assertEveryStatementRecorded([backend(logged), backend(logged, 2)], [session(recorded)]), /no session recorded/)
})
