import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createRepeatedFailures } from './repeated-failures.ts'

test('a store that is away for an hour gets a few lines at first and then four a minute, which say how many failures had none', () => {
  let clock = 0
  const failures = createRepeatedFailures({ now: () => clock })
  const lines: { readonly at: number; readonly untold: number }[] = []
  for (; clock < 3_600_000; clock += 500) {
    const untold = failures.next('STORE_UNAVAILABLE')
    if (untold !== null) lines.push({ at: clock, untold })
  }
  assert.ok(lines.filter(({ at }) => at < 60_000).length <= 12)
  assert.equal(lines.filter(({ at }) => at >= 1_800_000).length, 120)
  assert.equal(lines.at(-1)!.untold, 29)
  assert.equal(lines.length + lines.reduce((sum, { untold }) => sum + untold, 0), 7_200 - (3_600_000 - lines.at(-1)!.at) / 500 + 1)
})

test('another failure has its line at once, and so has the same one when nothing failed for half a minute', () => {
  let clock = 0
  const failures = createRepeatedFailures({ now: () => clock })
  assert.equal(failures.next('STORE_UNAVAILABLE'), 0)
  assert.equal(failures.next('STORE_UNAVAILABLE'), null)
  assert.equal(failures.next('STORE_FULL'), 0)
  assert.equal(failures.next('STORE_UNAVAILABLE'), 0)
  clock += 30_000
  assert.equal(failures.next('STORE_UNAVAILABLE'), 0)
  clock += 100
  assert.equal(failures.next('STORE_UNAVAILABLE'), null)
})
