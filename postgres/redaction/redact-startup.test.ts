import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isRedactedValue, redactStartupValue } from './redact-startup.ts'

test('start-up parameters stay as they are when nothing in them is a secret', () => {
  for (const [name, value] of [
    ['options', '-c role=boss -c search_path=shadow,public --statement-timeout=5s'],
    ['options', '-c  application_name=a\\ b\t-B 5 '],
    ['search_path', '"$user", public'],
    ['session_authorization', 'bob'],
    ['application_name', 'reporting'],
    ['app.tenant', '42'],
    ['replication', 'database'],
  ] as const)
    assert.equal(redactStartupValue(name, value), value)
})

test('what may be a credential is replaced, and the settings beside it stay', () => {
  for (const [name, value, recorded] of [
    [
      'options',
      '-c role=boss -c app.password=hunter2 -cb.api_key=hunter2',
      '-c role=boss -c app.password=[redacted] -cb.api_key=[redacted]',
    ],
    ['options', '--app.token=a\\ hunter2 -c search_path=x', '--app.token=[redacted] -c search_path=x'],
    ['options', '-c app.x=postgres://u:hunter2@h/d', '-c app.x=[redacted]'],
    ['options', 'password hunter2', '[redacted]'],
    ['options', '-c app.p\\assword=hunter2', '-c app.password=[redacted]'],
    ['options', '-c a.x=bearer -c b.y=hunter2', '[redacted]'],
    ['Options', '-c app.jwt=hunter2', '-c app.jwt=[redacted]'],
    ['application_name', 'psql postgres://u:hunter2@h', '[redacted]'],
    ['app.session_token', 'hunter2', '[redacted]'],
    ['options', '-c my.db_pw=hunter2 -c role=x', '-c my.db_pw=[redacted] -c role=x'],
  ] as const) {
    assert.equal(redactStartupValue(name, value), recorded)
    assert.ok(isRedactedValue(recorded))
  }
})

test('no text makes it throw, and a secret behind the name of one is gone wherever blanks and backslashes stand', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom('\\', ' ', '-c', '--', '=', 'a.b', 'role', '\n', '/*'), { maxLength: 8 }), (parts) => {
      const text = `${parts.join('')} -c app.password=hunter2`
      const recorded = redactStartupValue('options', text)
      assert.ok(!recorded.includes('hunter2'), recorded)
    }),
    { numRuns: 2_000 },
  )
})
