import assert from 'node:assert/strict'
import { test } from 'node:test'
import { recordedStartup } from './recorded-startup.ts'
import { SessionRefused } from './session-refused.ts'

const custody = { user: 'keeper', options: '-c statement_timeout=5s' }

test('all parameters but user and database are recorded, and in custody the options of the operator', () => {
  const agent = new Map([
    ['user', 'x'],
    ['database', 'shop'],
    ['options', '-c role=boss -c app.token=hunter2'],
    ['replication', 'database'],
    ['__proto__', 'y'],
  ])
  const recorded = { options: '-c role=boss -c app.token=[redacted]', replication: 'database', ['__proto__']: 'y' }
  assert.deepEqual(recordedStartup(agent, custody), { agent: recorded, operator: { options: custody.options } })
  assert.deepEqual(recordedStartup(agent, { ...custody, user: null }).operator, {})
  assert.deepEqual(recordedStartup(agent, { user: 'keeper', options: ' ' }).operator, {})
  assert.deepEqual(recordedStartup(agent, { user: 'keeper', options: '-c app.password=hunter2' }).operator, {
    options: '-c app.password=[redacted]',
  })
})

test('parameters that a recording has no room for are refused', () => {
  assert.doesNotThrow(() => recordedStartup(new Map([['options', `-c a.b=${'x'.repeat(9_900)}`]]), custody))
  assert.throws(
    () => recordedStartup(new Map([['options', '\u0001'.repeat(9_900)]]), custody),
    (error: unknown) => error instanceof SessionRefused && error.sqlState === '08P01' && error.remedy !== '',
  )
})
