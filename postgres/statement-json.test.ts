// Goal: the fast writing of a statement says exactly what JSON.stringify would. Method: every optional field in and out, hostile texts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { statementJson } from './statement-json.ts'
import type { StatementSummary } from './statement.ts'

const format = fc.constantFrom('text' as const, 'binary' as const)
const anyText = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('"', '\\', '\u2028', '\ud800', '\n', ''))
const error = fc.record(
  { severity: anyText, code: anyText, message: anyText, detail: anyText },
  { requiredKeys: ['severity', 'code', 'message'] },
)
const statement: fc.Arbitrary<StatementSummary> = fc.record(
  {
    number: fc.nat(),
    kind: fc.constantFrom('query' as const, 'execute' as const, 'function' as const, 'protocol' as const),
    sql: anyText,
    sqlBytes: fc.nat(),
    sqlTruncated: fc.constant(true as const),
    redacted: fc.constant(true as const),
    preparedSql: anyText,
    statementName: anyText,
    portal: anyText,
    parameters: fc.array(
      fc.record(
        { typeOid: fc.nat(), format, bytes: fc.option(fc.nat()), value: fc.option(anyText), truncated: fc.constant(true as const) },
        { requiredKeys: ['typeOid', 'format', 'bytes', 'value'] },
      ),
    ),
    columns: fc.option(fc.array(fc.record({ name: anyText, typeOid: fc.nat(), typeModifier: fc.integer(), format }))),
    outcome: fc.constantFrom('completed' as const, 'failed' as const, 'skipped' as const, 'suspended' as const, 'unfinished' as const),
    tag: fc.option(anyText),
    rows: fc.nat(),
    resultBytes: fc.nat(),
    copy: fc.record({ direction: fc.constantFrom('in' as const, 'out' as const, 'both' as const), messages: fc.nat(), bytes: fc.nat() }),
    error: fc.option(error),
    notices: fc.array(error),
    transactionBefore: fc.constantFrom('I' as const, 'T' as const, 'E' as const),
    started: fc.double({ min: 0, max: 1e13, noNaN: true }).map(Math.abs),
    finished: fc.double({ min: 0, max: 1e13, noNaN: true }).map(Math.abs),
    place: fc.record({ first: fc.nat(), last: fc.nat() }),
    fingerprint: anyText,
    trace: fc.record({ traceId: anyText, parentSpanId: anyText, sampled: fc.boolean() }),
    decision: fc.record({ kind: fc.constant('allow' as const), rule: anyText }),
  },
  {
    noNullPrototype: true,
    requiredKeys: [
      'number',
      'kind',
      'sql',
      'sqlBytes',
      'parameters',
      'columns',
      'outcome',
      'tag',
      'rows',
      'resultBytes',
      'error',
      'notices',
      'transactionBefore',
      'started',
      'finished',
      'place',
      'fingerprint',
      'decision',
    ],
  },
)

test('a statement written for speed reads back as what JSON.stringify would have written', () => {
  fc.assert(
    fc.property(statement, (summary) => {
      const line = statementJson(summary)
      assert.equal(line.includes('\n'), false, 'one line')
      assert.deepEqual(JSON.parse(line), JSON.parse(JSON.stringify(summary)))
    }),
    { numRuns: 500 },
  )
})
