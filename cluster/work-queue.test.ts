// Goal: each object's last change is worked on, never twice at a time, and failures come again. Method: work that waits for the test.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { testLog, until } from './test-support.ts'
import { createWorkQueue } from './work-queue.ts'

const timeout = 120_000

test('a key that is added many times before its turn is worked on once', { timeout }, async () => {
  const worked: string[] = []
  const { log } = testLog()
  const queue = createWorkQueue({ concurrency: 1, log, work: async (key) => void worked.push(key) })
  for (let time = 0; time < 100; time++) queue.add('one')
  queue.add('other')
  await until(() => queue.counts.done === 2)
  assert.deepEqual(worked, ['one', 'other'])
})

test('a key that is added while it is worked on is worked on again, not twice at a time', { timeout }, async () => {
  const ends: (() => void)[] = []
  let atATime = 0
  let most = 0
  const { log } = testLog()
  const queue = createWorkQueue({
    concurrency: 4,
    log,
    async work() {
      most = Math.max(most, ++atATime)
      await new Promise<void>((resolve) => ends.push(resolve))
      atATime--
    },
  })
  queue.add('one')
  await until(() => ends.length === 1)
  queue.add('one')
  queue.add('one')
  ends[0]?.()
  await until(() => ends.length === 2)
  ends[1]?.()
  await until(() => queue.counts.done === 2)
  assert.equal(most, 1)
  assert.equal(queue.waiting, 0)
})

test('work that fails comes again until it does not', { timeout }, async () => {
  let tries = 0
  const { log, lines } = testLog()
  const queue = createWorkQueue({
    ...{ concurrency: 1, log, retryMillisecondsFirst: 1, retryMillisecondsMost: 4 },
    async work() {
      if (++tries < 4) throw new Error('not yet')
    },
  })
  queue.add('stubborn')
  await until(() => queue.counts.done === 4)
  assert.deepEqual([queue.counts.failed, queue.waiting, lines.length], [3, 0, 3])
})

test('of two times the earlier one counts', { timeout }, async () => {
  const { log } = testLog()
  const queue = createWorkQueue({ concurrency: 1, log, work: async () => undefined })
  queue.add('one', 3_600_000)
  assert.equal(queue.counts.done, 0)
  queue.add('one', 1)
  await until(() => queue.counts.done === 1)
  assert.equal(queue.waiting, 0)
})

test('a queue that stops waits for what is under way and takes up nothing more', { timeout }, async () => {
  let end: () => void = () => undefined
  const { log } = testLog()
  const queue = createWorkQueue({ concurrency: 1, log, work: () => new Promise<void>((resolve) => (end = resolve)) })
  queue.add('one')
  queue.add('never')
  await Promise.resolve()
  await Promise.resolve()
  let hasStopped = false
  const stopped = queue.stop().then(() => (hasStopped = true))
  await Promise.resolve()
  assert.equal(hasStopped, false)
  end()
  await stopped
  queue.add('never')
  assert.equal(queue.counts.done, 1)
})

test('after any order of changes, the last one of each key has been worked on', { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.record({ key: fc.constantFrom('a', 'b', 'c'), value: fc.nat() }), { maxLength: 30 }), async (changes) => {
      const world = new Map<string, number>()
      const seen = new Map<string, number>()
      let failures = 3
      const { log } = testLog()
      const queue = createWorkQueue({
        ...{ concurrency: 2, log, retryMillisecondsFirst: 1, retryMillisecondsMost: 2 },
        async work(key) {
          const value = world.get(key)
          await Promise.resolve()
          if (failures-- > 0) throw new Error('now and then')
          if (value !== undefined) seen.set(key, value)
        },
      })
      for (const { key, value } of changes) {
        world.set(key, value)
        queue.add(key)
        if (value % 3 === 0) await Promise.resolve()
      }
      await until(() => ['a', 'b', 'c'].every((key) => !queue.has(key)))
      assert.deepEqual(seen, world)
    }),
    { numRuns: 50 },
  )
})
