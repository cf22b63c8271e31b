/** Goal: selectors select as the API server's do. Method: the table of k8s.io/apimachinery's documentation for each operator. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { labelsMatch, selectorMatches } from './label-selector.ts'

const labels = { app: 'agent', tier: '' }
const expression = (key: string, operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist', values?: string[]) => ({
  matchExpressions: [{ key, operator, ...(values !== undefined && { values }) }],
})

test('each operator selects what Kubernetes says, with and without the label', () => {
  assert.ok(selectorMatches({}, {}))
  assert.ok(selectorMatches(expression('app', 'In', ['agent', 'x']), labels))
  assert.ok(!selectorMatches(expression('app', 'In', ['x']), labels))
  assert.ok(!selectorMatches(expression('none', 'In', ['x']), labels))
  assert.ok(selectorMatches(expression('app', 'NotIn', ['x']), labels))
  assert.ok(selectorMatches(expression('none', 'NotIn', ['x']), labels))
  assert.ok(!selectorMatches(expression('app', 'NotIn', ['agent']), labels))
  assert.ok(selectorMatches(expression('tier', 'Exists'), labels))
  assert.ok(!selectorMatches(expression('none', 'Exists'), labels))
  assert.ok(selectorMatches(expression('none', 'DoesNotExist'), labels))
  assert.ok(!selectorMatches(expression('tier', 'DoesNotExist'), labels))
})

test('all conditions must hold', () => {
  const selector = { matchLabels: { app: 'agent' }, ...expression('tier', 'DoesNotExist') }
  assert.ok(!selectorMatches(selector, labels))
  assert.ok(selectorMatches(selector, { app: 'agent' }))
})

test('labels that every object inherits are not labels', () => {
  assert.ok(!selectorMatches(expression('constructor', 'Exists'), {}))
  assert.ok(!labelsMatch({ toString: 'x' }, {}))
  assert.ok(labelsMatch({}, labels))
})
