// Goal: no name gets more than its rate, and memory is bounded whatever names come. Method: a clock of the test's own.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createTokenBuckets } from './token-bucket.ts'

test('a burst, then the rate; others are not concerned', () => {
  let now = 0
  const buckets = createTokenBuckets({ perSecond: 2, burst: 3 }, { now: () => now })
  assert.deepEqual(
    [1, 2, 3, 4].map(() => buckets.take('a')),
    [true, true, true, false],
  )
  assert.equal(buckets.take('b'), true)
  now = 500
  assert.deepEqual([buckets.take('a'), buckets.take('a')], [true, false])
  now = 10_000
  assert.equal(buckets.take('c'), true)
  assert.equal(buckets.size, 1, 'who has all again is forgotten')
})

test('over any time at most burst + rate × time are given, and never more names than the limit are kept', () => {
  const steps = fc.array(fc.tuple(fc.integer({ min: 0, max: 400 }), fc.integer({ min: 0, max: 30 })), { maxLength: 300 })
  fc.assert(
    fc.property(steps, (asked) => {
      let now = 0
      const buckets = createTokenBuckets({ perSecond: 4, burst: 5 }, { now: () => now, namesMax: 8 })
      let given = 0
      for (const [wait, name] of asked) {
        now += wait
        if (buckets.take('watched') && name >= 0) given++
        if (name % 3 === 0) buckets.take(`other ${name}`)
        assert.ok(buckets.size <= 9)
      }
      assert.ok(given <= 5 + (now / 1000) * 4 + 1e-6)
    }),
  )
})
