// Goal: a promise of time is kept or broken whatever else the machine does. Method: durations that are told, and work that is and is not done.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertComputedWithin, assertOnceWithin } from './test-durations.ts'

const telling = (milliseconds: number[]) => () => Promise.resolve(milliseconds.shift()!)

test('the quickest of ten runs counts, and no more are made than it takes', async () => {
  const left = [500, 300, 99, 1]
  await assertOnceWithin(100, telling(left))
  assert.deepEqual(left, [1])
  await assert.rejects(
    assertOnceWithin(100, telling([200, ...Array<number>(9).fill(100), 1])),
    /it took 200, 100, .* and never less than 100/,
  )
})

test('a run that fails is a failure, however quick', async () => {
  await assert.rejects(
    assertOnceWithin(100, () => Promise.reject(new Error('it does not work'))),
    /it does not work/,
  )
})

test('waiting costs no processor time, and computing does', () => {
  assertComputedWithin(50, () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100))
  const busy = (): void => {
    const before = process.threadCpuUsage()
    while (process.threadCpuUsage(before).user + process.threadCpuUsage(before).system < 60_000);
  }
  assert.throws(() => assertComputedWithin(50, busy, 'this'), /\d ms of a processor: this/)
})
