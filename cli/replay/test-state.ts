/** Statements and states of the player for this folder's tests: plain data, nothing stored. */
import { testEpoch, testIdentity, testKey, testSessionId } from '../../session/test-recording.ts'
import type { StatementLine } from '../statement-line.ts'
import { initialState, type PlayerState } from './state.ts'

const session = testSessionId(testEpoch, 1)

/** A `select` of the given number that starts a second after the one before and takes 10 ms. */
export function testStatement(number: number, fields: Partial<StatementLine> = {}): StatementLine {
  const sql = fields.sql ?? `select ${number}`
  return {
    session,
    segment: 1,
    number,
    kind: 'query',
    sql,
    sqlBytes: Buffer.byteLength(sql),
    parameters: [],
    columns: null,
    outcome: 'completed',
    tag: 'SELECT 0',
    rows: 0,
    resultBytes: 0,
    error: null,
    notices: [],
    transactionBefore: 'I',
    started: testEpoch + number * 1000,
    finished: testEpoch + number * 1000 + 10,
    place: { first: number * 2, last: number * 2 + 1 },
    fingerprint: '5a05cf2c5ad2fcb0',
    decision: { kind: 'allow', rule: '(none)' },
    ...fields,
  }
}

/** A state in which all of `statements` are loaded. */
export function testState(statements: readonly StatementLine[], fields: Partial<PlayerState> = {}): PlayerState {
  const identity = testIdentity(session, testEpoch, testKey(1).id)
  const count = statements.reduce((most, { number }) => Math.max(most, number), 0)
  return {
    ...initialState({ identity, count, complete: true, selected: 1, speed: 1 }),
    lines: new Map(statements.map((statement) => [statement.number, statement])),
    ...fields,
  }
}
