import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseDuration, parseInstant } from './when.ts'

const now = Date.UTC(2026, 10, 21, 9)

test('a time is a date, a date and time, or how long ago', () => {
  assert.equal(parseInstant('2026-11-21', now), Date.UTC(2026, 10, 21))
  assert.equal(parseInstant('2026-11-21T09:00:00Z', now), now)
  assert.equal(parseInstant('2026-11-21T10:00:00.5+01:00', now), now + 500)
  assert.equal(parseInstant('2026-11-21 09:00Z', now), now)
  assert.equal(parseInstant('2h', now), now - 7_200_000)
  assert.equal(parseInstant('1.5d', now), now - 129_600_000)
})

test('a duration needs its unit', () => {
  assert.deepEqual(
    ['250ms', '2s', '5m', '2h', '7d', '1w', '0s', '0.5s'].map(parseDuration),
    [250, 2_000, 300_000, 7_200_000, 604_800_000, 604_800_000, 0, 500],
  )
})

test('what is neither is refused with what would do', () => {
  for (const text of ['', 'yesterday', '2h ago', '2026', '2026-13-01', '2026-11-21T25:00', '-2h', '1e3s', '2 h', '20261121']) {
    assert.throws(() => parseInstant(text, now), { code: 'commander.invalidArgument' }, text)
    assert.throws(() => parseDuration(text), { code: 'commander.invalidArgument' }, text)
  }
  assert.throws(() => parseDuration('250'), /with its unit/)
})
