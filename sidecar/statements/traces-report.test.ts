/** Goal: the log says that spans are dropped, but not with every batch. Method: a clock and a log of the test's own. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Log } from '../../base/log.ts'
import { createTraceReport } from './traces-report.ts'

test('drops are said at once, then at most once a minute, and in the end; what was sent is not', () => {
  const lines: object[] = []
  let now = 1_000_000
  const log = { warn: (fields: object) => void lines.push(fields) } as unknown as Log
  const report = createTraceReport({ log, now: () => now })
  report.add({ sent: 5, withoutRoom: 0, notTaken: 0, reason: null })
  assert.deepEqual(lines, [])
  report.add({ sent: 0, withoutRoom: 2, notTaken: 3, reason: 'ECONNREFUSED' })
  assert.deepEqual(lines.splice(0), [{ withoutRoom: 2, notTaken: 3, reason: 'ECONNREFUSED', sentInAll: 5, droppedInAll: 5 }])
  now += 59_999
  report.add({ sent: 0, withoutRoom: 0, notTaken: 1, reason: 'HTTP 503' })
  assert.deepEqual(lines, [])
  now += 1
  report.add({ sent: 1, withoutRoom: 1, notTaken: 0, reason: null })
  assert.deepEqual(lines.splice(0), [{ withoutRoom: 1, notTaken: 1, reason: 'HTTP 503', sentInAll: 6, droppedInAll: 7 }])
  report.end()
  assert.deepEqual(lines, [])
  report.add({ sent: 0, withoutRoom: 4, notTaken: 0, reason: null })
  report.end()
  assert.deepEqual(lines, [{ withoutRoom: 4, notTaken: 0, sentInAll: 6, droppedInAll: 11 }])
})
