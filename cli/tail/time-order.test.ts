// Goal: several orders become one, and none of them is broken. Method: random streams, some with clocks set back.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createTimeOrder } from './time-order.ts'

test('everything is given once, in the order of time, and nothing overtakes what it belongs to', () => {
  const added = fc.array(fc.record({ within: fc.constantFrom('a', 'b', 'c'), time: fc.nat(50) }), { maxLength: 60 })
  fc.assert(
    fc.property(added, fc.nat(60), (places, until) => {
      const order = createTimeOrder<number>()
      for (const [index, place] of places.entries()) order.add(index, place)
      const taken = [...order.take(until), ...order.take(Infinity)]
      assert.deepEqual(
        taken.toSorted((a, b) => a - b),
        [...places.keys()],
      )
      for (const name of ['a', 'b', 'c']) {
        const own = taken.filter((index) => places[index]?.within === name)
        assert.deepEqual(
          own,
          own.toSorted((a, b) => a - b),
        )
      }
      const isSetBack = places.some(({ within, time }, at) =>
        places.slice(0, at).some((other) => other.within === within && other.time > time),
      )
      const times = taken.map((index) => places[index]?.time ?? 0)
      if (!isSetBack)
        assert.deepEqual(
          times,
          times.toSorted((a, b) => a - b),
        )
      assert.deepEqual(order.take(Infinity), [])
    }),
  )
})
