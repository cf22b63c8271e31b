// Goal: what is said of a recording is what whoever is woken must know, and no more often than it is so. Method: signs in, word out.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { recordingState, type RecordingSigns } from './recording-state.ts'

const now = 1_000_000_000
const calm: RecordingSigns = {
  ...{ writtenBytes: 500, segmentsStored: 1 },
  ...{ spoolRefusal: null, storeFailingMilliseconds: 0, storeFailureCode: '', sessionsSetAside: 0 },
  ...{ unshippedBytes: 10, unshippedBytesMax: 1_000, unshippedMillisecondsMax: 3_600_000 },
  ...{ oldestUnshipped: now - 5_000, startedAt: now - 600_000, now },
}
const word = (changes: Partial<RecordingSigns>): string => {
  const { state, code } = recordingState({ ...calm, ...changes })
  return `${state} ${code}`.trim()
}

test('a store that refuses for less than half a minute is no failure, and a longer refusal has its code', () => {
  assert.equal(word({}), 'Shipping')
  assert.equal(word({ storeFailingMilliseconds: 29_999, storeFailureCode: 'STORE_UNAVAILABLE' }), 'Shipping')
  assert.equal(word({ storeFailingMilliseconds: 30_000, storeFailureCode: 'STORE_UNAVAILABLE' }), 'Failing STORE_UNAVAILABLE')
  assert.equal(word({ storeFailingMilliseconds: 30_000, storeFailureCode: 'a password=x' }), 'Failing UNKNOWN', 'only codes leave the pod')
})

test('a store that took everything again and refused before is well', () => {
  assert.equal(word({ storeFailureCode: 'STORE_UNAVAILABLE' }), 'Shipping')
})

test('what waits though nothing is refused is said, but not what an earlier process left and this one had no time for', () => {
  const oldestUnshipped = now - 120_000
  assert.equal(word({ oldestUnshipped }), 'Failing NOTHING_STORED')
  assert.equal(word({ oldestUnshipped, startedAt: now - 1_000 }), 'Shipping')
})

test('a full spool is said above all, and by the caps of now: nobody writes to it while agents wait', () => {
  assert.equal(word({ unshippedBytes: 1_001, storeFailingMilliseconds: 60_000 }), 'Full SPOOL_FULL')
  assert.equal(word({ oldestUnshipped: now - 3_600_001 }), 'Full SPOOL_OLD')
  assert.equal(word({ spoolRefusal: { code: 'SPOOL_FULL' } }), 'Shipping', 'it was, and what waited is stored')
  assert.equal(word({ spoolRefusal: { code: 'ENOSPC' } }), 'Full ENOSPC')
})

test('a session that will never be stored is said while the others are', () => {
  assert.equal(word({ sessionsSetAside: 1 }), 'SetAside SESSION_SET_ASIDE')
})

test('that recordings are stored is shown by what was stored, not by a store that nobody has asked', () => {
  const shown = (changes: Partial<RecordingSigns>): string => {
    const nothing = { writtenBytes: 0, segmentsStored: 0, unshippedBytes: 0, oldestUnshipped: 0 }
    const { state, shown: how } = recordingState({ ...calm, ...nothing, ...changes })
    return `${state} ${how}`
  }
  assert.equal(shown({}), 'Shipping NothingRecorded')
  assert.equal(shown({ writtenBytes: 200, unshippedBytes: 200 }), 'Shipping NothingStored')
  assert.equal(shown({ unshippedBytes: 200 }), 'Shipping NothingStored', 'an earlier process of the pod recorded it')
  assert.equal(shown({ writtenBytes: 200, segmentsStored: 1 }), 'Shipping Stored')
  assert.equal(shown({ writtenBytes: 300, unshippedBytes: 100, segmentsStored: 1 }), 'Shipping Stored')
})

test('numbers are whole and not negative, whatever a clock does', () => {
  const { oldestUnshippedSeconds, unshippedBytes } = recordingState({ ...calm, oldestUnshipped: now + 5_000, unshippedBytes: 1.5 })
  assert.deepEqual([oldestUnshippedSeconds, unshippedBytes], [0, 1])
})
