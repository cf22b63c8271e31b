import assert from 'node:assert/strict'
import { test } from 'node:test'
import { testEpoch } from '../../session/test-recording.ts'
import { readSessionTime } from './session-time.ts'

test('times are read as people write them, and nothing else is taken for one', () => {
  for (const [typed, milliseconds] of [
    ['90', 90_000],
    ['+1.5', 1_500],
    ['1.5s', 1_500],
    ['1:30', 90_000],
    ['1:02:03.5', 3_723_500],
    ['2026-11-21 09:00:10', 10_000],
    ['2026-11-21T09:01Z', 60_000],
    ['2026-11-21 09:00:00.250 UTC', 250],
    ['', null],
    ['noon', null],
    ['-5', null],
    ['1:2:3:4', null],
    ['2026-13-41 09:00:00', null],
  ] as const) {
    assert.equal(readSessionTime(typed, testEpoch), milliseconds, typed)
  }
})
