/** Goal: an audit that did not happen never looks like a clean one. Method: what npm prints in each case. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mustFail, readAnswer } from './check-audit.ts'

test('a report is read, and only high and critical findings fail', () => {
  const printed = JSON.stringify({
    auditReportVersion: 2,
    vulnerabilities: { one: { name: 'one', severity: 'high' }, two: { name: 'two', severity: 'moderate' } },
  })
  const answer = readAnswer(printed)
  assert.ok(answer.kind === 'answered')
  assert.deepEqual(
    answer.found.filter(mustFail).map(({ name }) => name),
    ['one'],
  )
  assert.deepEqual(readAnswer('{"vulnerabilities":{}}'), { kind: 'answered', found: [] })
})

for (const [name, printed, reason] of [
  ['a registry without audit', '{"message":"405 Method Not Allowed","statusCode":405,"error":{"summary":"","detail":""}}', /405/],
  ['no network', '{"error":{"code":"ENOTFOUND","summary":"request failed","detail":""}}', /request failed/],
  ['nothing', '', /no JSON/],
  ['an answer of another kind', '[]', /no report/],
  ['null', 'null', /no report/],
] as const) {
  test(`${name} is silence, with its reason`, () => {
    const answer = readAnswer(printed)
    assert.ok(answer.kind === 'silent')
    assert.match(answer.reason, reason)
  })
}
