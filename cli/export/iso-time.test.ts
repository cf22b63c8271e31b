import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isoTime } from './iso-time.ts'

test('a time is printed to the microsecond that a recording knows', () => {
  assert.equal(isoTime(0), '1970-01-01T00:00:00.000000Z')
  assert.equal(isoTime(1_795_251_600_123.456), '2026-11-21T09:00:00.123456Z')
  assert.equal(isoTime(-0.5), '1969-12-31T23:59:59.999500Z')
  assert.equal(isoTime(8.64e15), '+275760-09-13T00:00:00.000000Z')
})
