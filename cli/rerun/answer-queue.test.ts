/** Goal: a request counts as answered when the server is done with it, whatever it answered. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createAnswerQueue } from './answer-queue.ts'

/** Lower case letters with a `<` before are the server's; others are requests, numbered but for COPY data. */
function queueAfter(...messages: readonly string[]) {
  const queue = createAnswerQueue()
  let number = -1
  for (const message of messages) {
    if (message.startsWith('<')) queue.answered(message.slice(1))
    else queue.sent(message, 'dcf'.includes(message) ? number : ++number)
  }
  return queue
}

test('each request waits for its own answer', () => {
  assert.equal(queueAfter('Q', '<T', '<D', '<C').firstOpen, 0)
  assert.equal(queueAfter('Q', '<T', '<D', '<C', '<Z').firstOpen, Infinity)
  assert.equal(queueAfter('P', 'B', 'D', 'E', 'S', '<1', '<2', '<T', '<D').firstOpen, 3)
  assert.equal(queueAfter('P', 'B', 'D', 'E', 'S', '<1', '<2', '<n', '<C').firstOpen, 4)
  assert.equal(queueAfter('P', 'D', 'H', '<1', '<t').firstOpen, 1)
})

test('behind an error everything up to the Sync is settled, sent before or after', () => {
  assert.equal(queueAfter('P', 'B', 'E', 'S', '<E').firstOpen, 3)
  assert.equal(queueAfter('P', 'H', '<E', 'B', 'E').firstOpen, Infinity)
  assert.equal(queueAfter('P', 'H', '<E', 'B', 'E', 'S', '<Z', 'Q').firstOpen, 5)
  assert.equal(queueAfter('Q', '<E').firstOpen, 0)
})

test('COPY data is awaited from its request to its end, and a Sync meanwhile has no answer', () => {
  assert.equal(queueAfter('Q', '<G').copyIn, true)
  assert.equal(queueAfter('Q', '<G', 'd', 'c').copyIn, false)
  assert.equal(queueAfter('Q', 'd', 'c', '<G').copyIn, false)
  assert.equal(queueAfter('Q', '<G', '<E').copyIn, false)
  assert.equal(queueAfter('P', 'B', 'E', 'S', '<1', '<2', '<G', 'd', 'c', 'S', '<C').firstOpen, 4)
})

test('answers that nobody asked to be handed out are not counted on', () => {
  assert.equal(queueAfter('P', 'B', 'E').lastFlushed, -1)
  assert.equal(queueAfter('P', 'B', 'E', 'H').lastFlushed, 3)
  assert.equal(queueAfter('P', 'B', 'S', 'P').lastFlushed, 2)
})
