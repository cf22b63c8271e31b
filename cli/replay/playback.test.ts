import assert from 'node:assert/strict'
import { test } from 'node:test'
import { testEpoch } from '../../session/test-recording.ts'
import { advance, changedSpeed, clockOf, isRunning, untilDue, waitBetween } from './playback.ts'
import type { PlayerState } from './state.ts'
import { testState, testStatement } from './test-state.ts'

/** Starts at 0, 1, 61 and 62 s; each takes 10 ms but the third, which takes 500 ms. */
const statements = [0, 1_000, 61_000, 62_000].map((at, index) =>
  testStatement(index + 1, { started: testEpoch + at, finished: testEpoch + at + (index === 2 ? 500 : 10) }),
)

function playing(fields: Partial<PlayerState['playback']> = {}): PlayerState {
  return testState(statements, { playback: { playing: true, speed: 1, capsIdle: true, sinceMilliseconds: 0, ...fields } })
}

test('a statement follows when it did, and idle times are cut to two seconds unless wanted in full', () => {
  let state = playing()
  assert.equal(advance(state, 999).selected, 1)
  state = advance(state, 1_000)
  assert.equal(state.selected, 2)
  assert.equal(advance(state, 2_009).selected, 2)
  assert.equal(advance(state, 2_010).selected, 3)
  assert.equal(waitBetween(statements[1]!, statements[2]!, false), 60_000)
  assert.equal(advance(advance(playing({ capsIdle: false }), 1_000), 59_999).selected, 2)
})

test('speed multiplies time, and one step may pass several statements', () => {
  assert.equal(advance(playing({ speed: 2 }), 500).selected, 2)
  assert.equal(advance(playing({ speed: 1000 }), 3.02).selected, 3)
  assert.equal(changedSpeed(1, 1), 2)
  assert.equal(changedSpeed(1000, 1), 1000)
  assert.equal(changedSpeed(0.1, -1), 0.1)
  assert.equal(changedSpeed(3, 1), 4)
})

test('however time is cut into steps, playback is the same', () => {
  let small = playing()
  for (let step = 0; step < 301; step++) small = advance(small, 10)
  const large = advance(playing(), 3_010)
  assert.equal(small.selected, large.selected)
  assert.ok(Math.abs(small.playback.sinceMilliseconds - large.playback.sinceMilliseconds) < 1e-6)
})

test('it stops at the end, when the last statement has run', () => {
  const last = { ...playing(), selected: 4 }
  assert.equal(advance(last, 9).playback.playing, true)
  assert.equal(advance(last, 10).playback.playing, false)
  assert.equal(advance({ ...last, complete: false }, 10_000).playback.playing, true)
})

test('what is not loaded yet is waited for, never passed over', () => {
  const state = playing()
  const lines = new Map([...state.lines].filter(([number]) => number !== 2))
  assert.equal(advance({ ...state, lines }, 100_000).selected, 1)
  // A statement that has not ended is no statement to show.
  lines.set(2, null)
  assert.equal(advance({ ...state, lines }, 2_010).selected, 3)
})

test('a statement runs as long as it ran', () => {
  const third = { ...playing({ sinceMilliseconds: 499 }), selected: 3 }
  assert.equal(isRunning(third), true)
  assert.equal(isRunning(advance(third, 1)), false)
  assert.equal(isRunning({ ...third, playback: { ...third.playback, playing: false } }), false)
  assert.equal(clockOf(third), 61_499)
  assert.equal(untilDue(third), 1)
  assert.equal(untilDue({ ...third, playback: { ...third.playback, sinceMilliseconds: 500, speed: 2 } }), 250)
})
