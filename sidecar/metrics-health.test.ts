// Goal: who asks why a proxy is not ready is told each reason, and nothing that passes by itself is one.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { reasonsNotReady, type Health } from './metrics-health.ts'

const well: Health = { isStopping: false, spoolRefusal: null, storeFailingMilliseconds: 0 }
const refusal = { code: 'ENOSPC', message: 'the spool cannot be written: no space left on device' }

for (const [what, health, expected] of [
  ['a proxy that is well', {}, []],
  ['a proxy that stops', { isStopping: true }, ['stopping']],
  ['a spool that refuses', { spoolRefusal: refusal }, ['not recording: the spool cannot be written: no space left on device']],
  ['a spool that is still waited for', { spoolRefusal: 'waiting' }, ['not recording: the spool refuses']],
  ['a store that was away for just so long', { storeFailingMilliseconds: 60_000 }, []],
  [
    'a store that is away for longer',
    { storeFailingMilliseconds: 60_001 },
    ['not storing: the store has refused for 60 s; the spool keeps the recordings'],
  ],
  [
    'all at once',
    { isStopping: true, spoolRefusal: 'waiting', storeFailingMilliseconds: 90_500 },
    ['stopping', 'not recording: the spool refuses', 'not storing: the store has refused for 90 s; the spool keeps the recordings'],
  ],
] as const) {
  test(`readiness says of ${what}: ${expected.length === 0 ? 'ready' : expected.map((reason) => reason.split(':')[0]).join(', ')}`, () => {
    assert.deepEqual(reasonsNotReady({ ...well, ...health }, { storeFailingMillisecondsMax: 60_000 }), expected)
  })
}
