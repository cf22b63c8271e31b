// Goal: a store that answers late is listed several sessions at a time, never more than stated, in order all the same; and what was lost is listed
// with its size. Method: a store that answers nothing until as many sessions are asked for as may be at once; then statements of loss.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sealHighWaterMark } from './high-water-mark.ts'
import { listSessions, sessionsAtOnce } from './list-sessions.ts'
import { createMemoryStore } from './memory-store.ts'
import { lossKey, nameOf } from './object-keys.ts'
import { sealRecorderLoss } from './recorder-loss.ts'
import { StoreUnavailable, type Store } from './stores/store.ts'
import { createTestRecorder, testEpoch, testKey, testSessionId } from './test-recording.ts'

/** Holds back every answer about a session until `wanted` sessions wait for one, or none more is to come. */
function slow(inner: Store, wanted: (left: number) => number, sessions: number) {
  const asked = new Set<string>()
  const waiting = new Map<string, () => void>()
  let most = 0
  let done = 0
  const store: Store = {
    ...inner,
    async head(key) {
      const name = nameOf(key)
      if (name.kind === 'manifest' && !asked.has(name.session)) {
        asked.add(name.session)
        await new Promise<void>((resolve) => {
          waiting.set(name.session, resolve)
          most = Math.max(most, waiting.size)
          if (waiting.size < wanted(sessions - done)) return
          done += waiting.size
          for (const answer of waiting.values()) answer()
          waiting.clear()
        })
      }
      return inner.head(key)
    },
  }
  return { store, most: () => most, asked }
}

test('eight sessions are read at a time, no more, and listed in order', async () => {
  const memory = createMemoryStore()
  const recorder = await createTestRecorder(memory, { seed: 1 })
  const made: string[] = []
  for (let number = 0; number < 20; number++) made.push(await recorder.record([{ statements: 1 }]))
  for (const order of ['newest', 'oldest'] as const) {
    const { store, most } = slow(memory, (left) => Math.min(sessionsAtOnce, left), made.length)
    const listed = (await Array.fromAsync(listSessions(store, { order }))).map(({ session }) => session)
    assert.deepEqual(listed, order === 'newest' ? made.toReversed() : made)
    assert.equal(most(), 8)
    assert.equal(sessionsAtOnce, 8)
  }
})

test('whoever takes one session has no more than eight read, and a store that fails ends the list where it failed', async () => {
  const memory = createMemoryStore()
  const recorder = await createTestRecorder(memory, { seed: 1 })
  const made: string[] = []
  for (let number = 0; number < 20; number++) made.push(await recorder.record([{ statements: 1 }]))
  const { store, asked } = slow(memory, (left) => Math.min(sessionsAtOnce, left), made.length)
  for await (const { session } of listSessions(store)) {
    assert.equal(session, made.at(-1))
    break
  }
  assert.equal(asked.size, 8)
  const failing: Store = {
    ...memory,
    head: (key) => (key.includes(made[17]!) ? Promise.reject(new StoreUnavailable('away', 'wait')) : memory.head(key)),
  }
  const seen: string[] = []
  await assert.rejects(async () => {
    for await (const { session } of listSessions(failing)) seen.push(session)
  }, StoreUnavailable)
  assert.deepEqual(seen, [made[19], made[18]])
})

test('a session that was cut off with its recorder is lost, with what is missing; one of which nothing is left is listed in its place', async () => {
  const store = createMemoryStore()
  const recorder = await createTestRecorder(store, { seed: 1 })
  const cut = await recorder.record([{ statements: 2 }], { close: false })
  const whole = await recorder.record([{ statements: 1 }])
  const between = testSessionId(testEpoch + 1500, 99)
  const amount = { records: 9, bytes: 900, frontendBytes: 90, backendBytes: 500, statements: 4 }
  const claims = [cut, between].map((session) => ({
    session,
    opened: testEpoch + 1500,
    ...amount,
    lastTime: testEpoch + 3000,
    closed: false,
  }))
  const rest = { sessions: 0, records: 0, bytes: 0, frontendBytes: 0, backendBytes: 0, statements: 0 }
  const mark = sealHighWaterMark(
    { process: 1, number: 1, time: testEpoch + 3000, waitingBytes: 1, earlierBytes: 0, sessions: claims, rest },
    testKey(1),
  ).toString()
  const stored = [
    { segments: 1, records: 5, bytes: 400, lastTime: testEpoch },
    { segments: 0, records: 0, bytes: 0, lastTime: null },
  ]
  const sessions = claims.map((claimed, at) => ({ session: claimed.session, opened: claimed.opened, claimed, stored: stored[at]! }))
  const fields = {
    recorder: testKey(1).id,
    time: testEpoch + 60_000,
    why: 'pod-deleted',
    podUid: 'uid',
    earlierMarks: [],
    ledger: null,
  } as const
  store.objects.set(lossKey(testKey(1).id), sealRecorderLoss({ ...fields, mark, sessions }, testKey(9)))
  const listed = await Array.fromAsync(listSessions(store, { order: 'oldest', now: testEpoch + 4000 }))
  assert.deepEqual(
    listed.map(({ session, state, statements, lost }) => [session, state, statements, lost?.missing]),
    [
      [cut, 'lost', 2, { records: 4, bytes: 500, statements: 2 }],
      [between, 'lost', 0, { records: 9, bytes: 900, statements: 4 }],
      [whole, 'closed', 1, undefined],
    ],
  )
  assert.deepEqual((await Array.fromAsync(listSessions(store, { since: testEpoch + 2000, now: testEpoch + 4000 }))).length, 1)
})
