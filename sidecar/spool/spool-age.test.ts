// Goal: the age of what waits is never told too low, and little memory knows it. Method: every byte's own time beside the marks.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createSpoolAge } from './spool-age.ts'

test('nothing waits, nothing is old', () => {
  const age = createSpoolAge({ millisecondsMax: 1_000 })
  assert.equal(age.oldest(0, 0), 0)
  age.wrote(0, 5)
  assert.equal(age.oldest(10, 10), 0)
})

test('the oldest byte that waits is at most as young as told, and at most a stretch younger', () => {
  const stretch = 10
  const step = fc.record({
    bytes: fc.integer({ min: 1, max: 100 }),
    pause: fc.integer({ min: 0, max: 40 }),
    released: fc.integer({ min: 0, max: 150 }),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const age = createSpoolAge({ millisecondsMax: 256 * stretch })
      const writes: { at: number; end: number; time: number }[] = []
      let [time, written, released] = [1_000, 0, 0]
      for (const { bytes, pause, released: more } of steps) {
        time += pause
        age.wrote(written, time)
        writes.push({ at: written, end: written + bytes, time })
        written += bytes
        released = Math.min(written, released + more)
        const oldest = writes.find(({ end }) => end > released)?.time ?? 0
        const told = age.oldest(released, written)
        if (oldest === 0) assert.equal(told, 0)
        else assert.ok(told <= oldest && told >= oldest - stretch, `${told} for ${oldest}`)
      }
    }),
  )
})
