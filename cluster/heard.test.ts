// Goal: what the API server has not confirmed for long decides nothing, and a server without bookmarks stops nobody. Method: watches whose
// silence the test sets; in live-world.test.ts the same on a server that goes away.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { areHeard, believedMillisecondsMax, doubtedMilliseconds } from './heard.ts'

test('a silent watch is asked to list, and believed for half a minute more', () => {
  const asked: number[] = []
  const watch = (silence: number) => ({ silentMilliseconds: () => silence, refresh: () => void asked.push(silence) })
  assert.equal(areHeard([watch(0), watch(doubtedMilliseconds)]), true)
  assert.deepEqual(asked, [])
  assert.equal(areHeard([watch(0), watch(doubtedMilliseconds + 1)]), true)
  assert.equal(areHeard([watch(believedMillisecondsMax + 1), watch(0), watch(doubtedMilliseconds + 2)]), false)
  assert.deepEqual(
    asked,
    [doubtedMilliseconds + 1, believedMillisecondsMax + 1, doubtedMilliseconds + 2],
    'each that is silent, also behind one',
  )
})
