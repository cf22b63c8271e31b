// Goal: what is counted is what ended, whatever it says, and a thread that ends takes nothing along. Method: any statements against sums made
// the slow way; two counters one behind the other over the same memory.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { StatementSummary } from '../../postgres/statement.ts'
import { testIdentity, testSessionId } from '../../session/test-recording.ts'
import {
  createSharedStatementCounts,
  createStatementCounter,
  durationBucketsSeconds,
  sqlStateClasses,
  statementCounts,
  statementKinds,
  statementOutcomes,
} from './counts.ts'

const identity = testIdentity(testSessionId(0, 1), 0, 'a'.repeat(32))

function statement(changes: Partial<StatementSummary> = {}): StatementSummary {
  return {
    ...{ number: 1, kind: 'query', sql: 'select 1', sqlBytes: 8, parameters: [], columns: null, outcome: 'completed', tag: 'SELECT 1' },
    ...{ rows: 1, resultBytes: 11, error: null, notices: [], transactionBefore: 'I', started: 1_000, finished: 1_004 },
    ...{ place: { first: 1, last: 2 }, fingerprint: 'f', decision: { kind: 'allow', rule: '(none)' } },
    ...changes,
  }
}

const failure = (code: string) => ({ severity: 'ERROR', code, message: 'no' })

const anyStatement = fc
  .record({
    kind: fc.constantFrom(...statementKinds),
    outcome: fc.constantFrom(...statementOutcomes),
    rows: fc.nat(),
    resultBytes: fc.nat(),
    sqlBytes: fc.nat(),
    started: fc.nat(),
    milliseconds: fc.double({ min: 0, max: 100_000, noNaN: true }),
    code: fc.oneof(fc.constantFrom('23505', '42P01', '40001', 'P0001', '01000', 'QQ'), fc.string()),
    lengths: fc.array(fc.option(fc.nat()), { maxLength: 3 }),
  })
  .map(({ milliseconds, code, lengths, ...rest }) =>
    statement({
      ...rest,
      finished: rest.started + milliseconds,
      error: rest.outcome === 'failed' ? failure(code) : null,
      parameters: lengths.map((bytes) => ({ typeOid: 25, format: 'text', bytes, value: null })),
    }),
  )

test('any statements add up to what they are, by kind, outcome, class and duration', () => {
  fc.assert(
    fc.property(fc.array(anyStatement), (statements) => {
      const shared = createSharedStatementCounts()
      const counter = createStatementCounter(shared)
      for (const each of statements) counter.statement(identity, each)
      const counts = statementCounts(shared)
      for (const kind of statementKinds)
        for (const outcome of statementOutcomes)
          assert.equal(counts.ended(kind, outcome), statements.filter((each) => each.kind === kind && each.outcome === outcome).length)
      const sumOf = (read: (each: StatementSummary) => number): number => statements.reduce((sum, each) => sum + read(each), 0)
      assert.equal(
        counts.rows,
        sumOf(({ rows }) => rows),
      )
      assert.equal(
        counts.bytesFromDatabase,
        sumOf(({ resultBytes }) => resultBytes),
      )
      assert.equal(
        counts.bytesToDatabase,
        sumOf(({ sqlBytes, parameters }) => sqlBytes + parameters.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0)),
      )
      const timed = statements.filter(({ outcome }) => outcome === 'completed' || outcome === 'failed')
      const { atMost, count, sumSeconds } = counts.durations()
      assert.equal(count, timed.length)
      for (const [at, bound] of durationBucketsSeconds.entries())
        assert.equal(atMost[at], timed.filter(({ started, finished }) => (finished - started) / 1000 <= bound).length, `${bound} s`)
      const expected = timed.reduce((sum, { started, finished }) => sum + (finished - started) / 1000, 0)
      assert.ok(Math.abs(sumSeconds - expected) < 1e-6)
      const classes: readonly string[] = sqlStateClasses
      for (const name of sqlStateClasses)
        assert.equal(
          counts.failed(name),
          statements.filter(({ error }) => {
            if (error === null) return false
            const own = error.code.slice(0, 2)
            return (own !== 'other' && classes.includes(own) ? own : 'other') === name
          }).length,
          name,
        )
    }),
  )
})

test('a bound belongs to its bucket, and what is beyond the last is in none but all', () => {
  const shared = createSharedStatementCounts()
  const counter = createStatementCounter(shared)
  for (const milliseconds of [1, 1.0001, 60_000, 60_001]) counter.statement(identity, statement({ started: 0, finished: milliseconds }))
  const { atMost, count } = statementCounts(shared).durations()
  assert.deepEqual([atMost[0], atMost[1], atMost.at(-1), count], [1, 2, 3, 4])
})

test('a clock that was set back makes no duration below 0', () => {
  const shared = createSharedStatementCounts()
  createStatementCounter(shared).statement(identity, statement({ started: 5_000, finished: 1_000 }))
  const { atMost, sumSeconds } = statementCounts(shared).durations()
  assert.deepEqual([atMost[0], sumSeconds], [1, 0])
})

test('COPY in counts as bytes to the database, and COPY out only as what came from it', () => {
  const shared = createSharedStatementCounts()
  const counter = createStatementCounter(shared)
  counter.statement(identity, statement({ sqlBytes: 0, resultBytes: 0, copy: { direction: 'in', messages: 1, bytes: 100 } }))
  counter.statement(identity, statement({ sqlBytes: 0, resultBytes: 70, copy: { direction: 'out', messages: 1, bytes: 60 } }))
  const counts = statementCounts(shared)
  assert.deepEqual([counts.bytesToDatabase, counts.bytesFromDatabase], [100, 70])
})

test('a counter that follows another goes on where that was, though nobody told the first to end', () => {
  const shared = createSharedStatementCounts()
  const counts = statementCounts(shared)
  createStatementCounter(shared).statement(identity, statement())
  const next = createStatementCounter(shared)
  assert.equal(counts.ended('query', 'completed'), 1)
  next.statement(identity, statement())
  assert.equal(counts.ended('query', 'completed'), 2)
})
