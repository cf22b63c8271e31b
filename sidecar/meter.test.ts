// Goal: what is told of a store that refuses is why, not what came of trying often. Method: codes as they come, with a clock in hand.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLog } from '../base/log.ts'
import { createMeter } from './meter.ts'

test('that control asks for patience hides the cause only when nothing else was said for a minute', () => {
  let now = 0
  const meter = createMeter({ log: createLog({ level: 'silent' }), now: () => now })
  meter.storeFailed('BUSY')
  assert.equal(meter.storeFailureCode, 'BUSY')
  meter.storeFailed('STORE_FULL')
  meter.storeFailed('TOO_MANY_UPLOADS')
  assert.equal(meter.storeFailureCode, 'STORE_FULL')
  meter.storeFailed('STORE_UNAVAILABLE')
  assert.equal(meter.storeFailureCode, 'STORE_UNAVAILABLE')
  now = 60_000
  meter.storeFailed('TOO_MANY_UPLOADS')
  assert.equal(meter.storeFailureCode, 'TOO_MANY_UPLOADS')
  assert.equal(meter.counts.storeFailures, 5)
})
