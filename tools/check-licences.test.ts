/** Goal: a licence that nobody agreed to is found. Method: lockfiles in small. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findFaults, isAllowed } from './check-licences.ts'

test('an expression is allowed when one alternative has only allowed parts', () => {
  for (const expression of ['MIT', '(MIT OR GPL-3.0-only)', 'MIT AND Apache-2.0', 'GPL-3.0-only OR (MIT AND ISC)']) {
    assert.ok(isAllowed(expression), expression)
  }
  for (const expression of ['GPL-3.0-only', 'MIT AND GPL-3.0-only', 'UNLICENSED', 'SEE LICENSE IN x', '', 'constructor']) {
    assert.ok(!isAllowed(expression), expression)
  }
})

test('each fault is named: a foreign licence, none at all, and one that differs from what is installed', async () => {
  const packages = {
    '': { license: 'Proprietary' },
    'node_modules/good': { license: 'MIT' },
    'node_modules/absent': { license: 'ISC' },
    'node_modules/silent': {},
    'node_modules/good/node_modules/@scope/strict': { license: 'AGPL-3.0-only' },
    'node_modules/changed': { license: 'MIT' },
  }
  const installed: Record<string, string> = { 'node_modules/good': 'MIT', 'node_modules/changed': 'BUSL-1.1' }
  const faults = await findFaults(packages, async (path) => installed[path])
  assert.deepEqual(
    faults.map((fault) => fault.split(' ')[0]),
    ['node_modules/silent', 'node_modules/good/node_modules/@scope/strict', 'node_modules/changed'],
  )
})
