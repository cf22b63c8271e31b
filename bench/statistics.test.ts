import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { median, pairedRatio, percentile, spread } from './statistics.ts'

test('a median is the middle value, and the mean of the middle two', () => {
  assert.equal(median([5, 1, 9]), 5)
  assert.equal(median([4, 1, 9, 5]), 4.5)
  assert.equal(median([10, 9, 2]), 9, 'as numbers, not as text')
})

test('one wild round moves the spread but not the median', () => {
  assert.deepEqual(spread([10, 11, 12, 13, 9000]), { median: 12, min: 10, max: 9000 })
})

test('no value, or one that is no number, is never turned into a figure', () => {
  assert.throws(() => median([]))
  assert.throws(() => median([1, Number.NaN]))
  assert.throws(() => percentile([], 0.5))
})

// Goal: at most half of the values lie on either side, whatever the values. Method: random lists.
test('a median has no more than half of the values below it or above it', () => {
  fc.assert(
    fc.property(fc.array(fc.integer(), { minLength: 1 }), (values) => {
      const middle = median(values)
      assert.ok(values.filter((value) => value < middle).length <= values.length / 2)
      assert.ok(values.filter((value) => value > middle).length <= values.length / 2)
    }),
  )
})

test('percentiles are values that were seen', () => {
  const values = Array.from({ length: 200 }, (_, index) => index + 1)
  assert.equal(percentile(values, 0.5), 100)
  assert.equal(percentile(values, 0.99), 198)
  assert.equal(percentile(values, 1), 200)
  assert.equal(percentile([7], 0.01), 7)
})

test('a ratio compares the same rounds: a machine that slows down in mid-run does not change it', () => {
  const ours = new Map([
    [1, 90],
    [2, 45],
    [3, 9],
  ])
  const theirs = new Map([
    [1, 100],
    [2, 50],
    [3, 10],
  ])
  assert.deepEqual(pairedRatio(ours, theirs), { median: 0.9, min: 0.9, max: 0.9 })
})

test('a round that only one of them ran counts for nothing, and none in common gives no ratio', () => {
  const ratio = pairedRatio(
    new Map([
      [1, 50],
      [2, 1000],
    ]),
    new Map([
      [1, 100],
      [3, 1],
    ]),
  )
  assert.deepEqual(ratio, { median: 0.5, min: 0.5, max: 0.5 })
  assert.equal(pairedRatio(new Map([[1, 50]]), new Map([[2, 50]])), null)
})
