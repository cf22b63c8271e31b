// Goal: anybody may ask for /ship, as often as they like, and no more comes of it than the limits allow; the kubelet's call has its effect all
// the same. Method: a clock in the test's hand, and a recorder that counts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createShipping } from './shipping.ts'

const limits = { intervalMilliseconds: 5_000, waitMillisecondsMax: 1_000, hastenMilliseconds: 60_000, hastenAgainMilliseconds: 360_000 }

function world({ outcome = true }: { outcome?: boolean } = {}) {
  const state = { now: 1_000, ships: 0, hastenedUntil: 0, hastened: 0, waitingBytes: 1 }
  const recorder = {
    ship: ({ waitMilliseconds }: { waitMilliseconds: number }) => {
      assert.equal(waitMilliseconds, 1_000)
      state.ships++
      return Promise.resolve(outcome)
    },
    hasten({ forMilliseconds }: { forMilliseconds: number }) {
      state.hastened++
      state.hastenedUntil = state.now + forMilliseconds
    },
    get waitingBytes() {
      return state.waitingBytes
    },
  }
  const shipping = createShipping(recorder, limits, { now: () => state.now })
  return { state, ask: ({ fromPod = true } = {}) => shipping.ask({ fromPod }) }
}

test('the first request ships; a thousand more within the interval do not', async () => {
  const { state, ask } = world()
  assert.equal((await ask()).status, 200)
  for (let times = 0; times < 1_000; times++) assert.equal((await ask()).status, 200)
  assert.equal(state.ships, 1)
  state.now += 5_000
  await ask()
  assert.equal(state.ships, 2)
})

test('requests at the same time share one', async () => {
  const { state, ask } = world()
  await Promise.all(Array.from({ length: 50 }, () => ask()))
  assert.equal(state.ships, 1)
})

test('a request when nothing waits leaves the next one its turn', async () => {
  const { state, ask } = world()
  state.waitingBytes = 0
  assert.equal((await ask()).status, 200)
  state.waitingBytes = 1
  await ask()
  assert.equal(state.ships, 1)
})

test('a store that does not take it within the bound is told as under way', async () => {
  const { ask } = world({ outcome: false })
  assert.equal((await ask()).status, 202)
})

test('a request when nothing waits hastens what comes: a termination often begins so', async () => {
  const { state, ask } = world()
  state.waitingBytes = 0
  await ask({ fromPod: false })
  assert.equal(state.hastenedUntil, state.now + limits.hastenMilliseconds)
})

test('an agent that asks all day has its records hastened a sixth of the time', async () => {
  const { state, ask } = world()
  let hastenedMilliseconds = 0
  const day = 24 * 60 * 60 * 1_000
  for (; state.now < day; state.now += 1_000) {
    await ask()
    if (state.now < state.hastenedUntil) hastenedMilliseconds += 1_000
  }
  assert.ok(hastenedMilliseconds <= day / 6 + limits.hastenMilliseconds, `${hastenedMilliseconds} ms of a day`)
})

test('the kubelet hastens whatever the agent has asked before', async () => {
  const { state, ask } = world()
  await ask()
  state.now += 100_000
  await ask()
  assert.ok(state.hastenedUntil < state.now, 'the agent has had its turn')
  await ask({ fromPod: false })
  assert.equal(state.hastenedUntil, state.now + limits.hastenMilliseconds)
  for (let times = 0; times < 1_000; times++) await ask({ fromPod: false })
  assert.equal(state.hastened, 2)
})
