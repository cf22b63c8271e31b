// Goal: starting the sealing thread takes nothing from the first statements of a busy agent, and nothing waits for it without end.
// Method: timers of the test's own, and an agent that says much, little, or goodbye.
import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { createDeferredStart } from './deferred-start.ts'

const megabyte = 1024 * 1024
const lookMilliseconds = 100

function world(t: TestContext) {
  t.mock.timers.enable({ apis: ['setInterval', 'Date'], now: 1_000_000 })
  const position = { writtenBytes: 5 * megabyte, releasedBytes: 5 * megabyte }
  const starts: number[] = []
  let openSessions = 1
  const deferred = createDeferredStart({ position, openSessions: () => openSessions, start: (since) => void starts.push(since) })
  deferred.begin()
  /** So many bytes come before the next look. */
  function say(bytes: number): void {
    position.writtenBytes += bytes
    t.mock.timers.tick(lookMilliseconds)
  }
  return {
    starts,
    deferred,
    say,
    /** How often was looked, while each time so many bytes came. */
    looksUntilStart(bytes: number): number {
      for (let looks = 0; looks < 200; looks++) {
        if (starts.length > 0) return looks
        say(bytes)
      }
      return Infinity
    },
    closeAll(): void {
      openSessions = 0
    },
  }
}

test('a thread for an agent that says little starts half a second after its session opened', (t) => {
  const { looksUntilStart, starts } = world(t)
  assert.equal(looksUntilStart(1_000), 5)
  assert.deepEqual(starts, [1_000_000], 'told since when it was waited for')
})

test('a thread for an agent that says much starts as soon as the agent pauses', (t) => {
  const { looksUntilStart, say, starts } = world(t)
  for (let look = 0; look < 20; look++) say(megabyte)
  assert.equal(starts.length, 0)
  assert.equal(looksUntilStart(0), 1)
})

test('it starts after 8 seconds at the latest, whatever the agent goes on to say', (t) => {
  const { looksUntilStart } = world(t)
  assert.equal(looksUntilStart(megabyte), 80)
})

test('it starts at once for a session that came and went', (t) => {
  const { looksUntilStart, closeAll } = world(t)
  closeAll()
  assert.equal(looksUntilStart(megabyte), 1)
})

test('it lets who connects come to speak, but does not wait for ever more who connect', (t) => {
  const { say, starts, deferred, looksUntilStart } = world(t)
  say(1_000)
  deferred.begin()
  assert.equal(looksUntilStart(1_000), 5, 'half a second after the second session')
  deferred.begin()
  for (let looks = 1; looks < 20; looks++) {
    say(1_000)
    deferred.begin()
  }
  assert.equal(starts.length, 1)
  say(1_000)
  assert.equal(starts.length, 2, 'two seconds after the first')
})

test('asked for by several sessions it starts once, and not when it was taken back', (t) => {
  const { looksUntilStart, starts, deferred } = world(t)
  deferred.begin()
  assert.equal(looksUntilStart(0), 5)
  t.mock.timers.tick(10_000)
  assert.equal(starts.length, 1)
  deferred.begin()
  deferred.cancel()
  t.mock.timers.tick(10_000)
  assert.equal(starts.length, 1)
  assert.equal(deferred.isWaiting, false)
})
