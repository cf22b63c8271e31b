/**
 * Goal: whatever the endpoint does, every span is sent or counted as dropped, what is held is bounded, and the end comes.
 * Method: an exporter that answers when the test says so.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace'
import { createSpanQueue, type TraceOutcome } from './traces-queue.ts'

type Answer = Parameters<SpanExporter['export']>[1]

function createWorld(
  limits: { spansMax?: number; batchSpansMax?: number; delayMilliseconds?: number; exportMillisecondsMax?: number } = {},
) {
  const requests: { readonly spans: readonly ReadableSpan[]; readonly answer: Answer }[] = []
  const outcomes: TraceOutcome[] = []
  const clock = { milliseconds: 0 }
  const queue = createSpanQueue(
    { export: (spans, answer) => void requests.push({ spans, answer }) },
    { spansMax: 10, batchSpansMax: 4, delayMilliseconds: 2 ** 30, exportMillisecondsMax: 2 ** 30, ...limits },
    (outcome) => outcomes.push(outcome),
    () => clock.milliseconds,
  )
  const sum = (of: 'sent' | 'withoutRoom' | 'notTaken') => outcomes.reduce((total, outcome) => total + outcome[of], 0)
  return {
    ...{ requests, outcomes, queue, clock },
    /** So many more statements end. */
    spans(count: number): void {
      for (let at = 0; at < count; at++) queue.processor.onEnd({ name: `span ${at}` } as ReadableSpan)
    },
    async answers(result: Parameters<Answer>[0]): Promise<void> {
      requests.at(-1)!.answer(result)
      await turn()
    },
    sums: () => ({ sent: sum('sent'), withoutRoom: sum('withoutRoom'), notTaken: sum('notTaken') }),
  }
}
const taken = { code: 0 }
const refusal = (error?: Error) => ({ code: 1, ...(error === undefined ? {} : { error }) })

test('a full batch goes at once, and the next when it was taken', async () => {
  const world = createWorld()
  world.spans(9)
  assert.deepEqual(
    world.requests.map(({ spans }) => spans.length),
    [4],
  )
  await world.answers(taken)
  assert.deepEqual(
    world.requests.map(({ spans }) => spans.length),
    [4, 4],
  )
  await world.answers(taken)
  assert.deepEqual(world.sums(), { sent: 8, withoutRoom: 0, notTaken: 0 })
})

test('what is less than a batch goes after the delay', async () => {
  const world = createWorld({ delayMilliseconds: 0 })
  world.spans(1)
  assert.equal(world.requests.length, 0)
  while (world.requests.length === 0) await turn()
  assert.equal(world.requests[0]!.spans.length, 1)
})

test('what finds no room while the endpoint is slow is counted, and no more is held than was said', async () => {
  const world = createWorld()
  world.spans(100)
  await world.answers(taken)
  // Four were under way and ten waited.
  assert.deepEqual(world.sums(), { sent: 4, withoutRoom: 86, notTaken: 0 })
})

test('what the endpoint refuses is counted with the reason, and never tried again by the queue', async () => {
  const world = createWorld()
  world.spans(9)
  await world.answers(refusal(Object.assign(new Error('connect to http://me:secret@host'), { code: 'ECONNREFUSED' })))
  assert.deepEqual(world.outcomes, [{ sent: 0, withoutRoom: 0, notTaken: 4, reason: 'ECONNREFUSED' }])
  assert.equal(world.requests.length, 1, 'the next request waits its turn')
})

const reasons: [error: Error | undefined, reason: string][] = [
  [Object.assign(new Error('Unauthorized secret'), { code: 401, data: 'secret' }), 'HTTP 401'],
  [new Error('Export failed with retryable status'), 'HTTP 429, 502, 503 or 504'],
  [new Error('Request timed out'), 'no answer in time'],
  [new TypeError('secret'), 'TypeError'],
  [undefined, 'unknown'],
]
for (const [error, reason] of reasons)
  test(`the reason is a class and never what the endpoint wrote: ${reason}`, async () => {
    const world = createWorld({ batchSpansMax: 1 })
    world.spans(1)
    await world.answers(refusal(error))
    assert.equal(world.outcomes[0]?.reason, reason)
  })

test('an exporter that throws costs the batch and nothing else', async () => {
  const outcomes: TraceOutcome[] = []
  const queue = createSpanQueue(
    {
      export() {
        throw new RangeError('it cannot be written')
      },
    },
    { spansMax: 10, batchSpansMax: 1, delayMilliseconds: 0, exportMillisecondsMax: 1_000 },
    (outcome) => outcomes.push(outcome),
  )
  queue.processor.onEnd({} as ReadableSpan)
  await turn()
  assert.deepEqual(outcomes, [{ sent: 0, withoutRoom: 0, notTaken: 1, reason: 'RangeError' }])
})

test('an exporter that never answers is given up after the time that one request has', async () => {
  const world = createWorld({ batchSpansMax: 1, exportMillisecondsMax: 1 })
  world.spans(1)
  // The guard keeps no thread alive, so the test has to.
  const alive = setInterval(() => undefined, 1)
  while (world.outcomes.length === 0) await turn()
  clearInterval(alive)
  assert.deepEqual(world.outcomes, [{ sent: 0, withoutRoom: 0, notTaken: 1, reason: 'no answer in time' }])
})

test('who makes many spans lets an endpoint that takes them catch up, so that none is dropped', async () => {
  const world = createWorld()
  let answered = 0
  const endpoint = setInterval(() => {
    while (answered < world.requests.length) world.requests[answered++]!.answer(taken)
  }, 1)
  for (let step = 0; step < 20; step++) {
    world.spans(10)
    await world.queue.room()
  }
  await world.queue.end(60_000)
  clearInterval(endpoint)
  assert.deepEqual(world.sums(), { sent: 200, withoutRoom: 0, notTaken: 0 })
})

test('nobody waits for an endpoint that does not answer, but once', async () => {
  const world = createWorld()
  world.spans(10)
  await world.queue.room()
  world.clock.milliseconds = 1e9
  // A second wait would be for the request that nobody answers, and its timer would be the only thing left to wait for.
  const waits = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  const second = world.queue.room()
  assert.equal(process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length, waits)
  await second
  await world.queue.end(1)
})

test('the end sends all that is held', async () => {
  const world = createWorld()
  world.spans(10)
  const ended = world.queue.end(60_000)
  for (let answered = 0; answered < 3; answered++) {
    await turn()
    await world.answers(taken)
  }
  await ended
  assert.deepEqual(world.sums(), { sent: 10, withoutRoom: 0, notTaken: 0 })
})

test('the end does not wait for what is not taken, and counts it', async () => {
  const world = createWorld()
  world.spans(10)
  const ended = world.queue.end(60_000)
  await world.answers(refusal())
  await ended
  assert.deepEqual(world.sums(), { sent: 0, withoutRoom: 0, notTaken: 10 })
})

test('the end asks an endpoint that refuses once more, and not for every batch', async () => {
  const world = createWorld()
  world.spans(10)
  await world.answers(refusal())
  const ended = world.queue.end(60_000)
  await turn()
  await world.answers(refusal())
  await ended
  assert.equal(world.requests.length, 2)
  assert.deepEqual(world.sums(), { sent: 0, withoutRoom: 0, notTaken: 10 })
})

test('the end comes when the endpoint does not answer, and an answer that comes later changes nothing', async () => {
  const world = createWorld()
  world.spans(10)
  await world.queue.end(1)
  assert.deepEqual(world.outcomes, [{ sent: 0, withoutRoom: 0, notTaken: 10, reason: 'not taken before the end' }])
  await world.answers(taken)
  assert.deepEqual(world.sums(), { sent: 0, withoutRoom: 0, notTaken: 10 })
})
