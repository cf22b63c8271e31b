// Goal: `/readyz` and the alerts say that the store refuses when it does, for as long as it does, and no longer. Method: a store in memory
// that fails on cue, the real repeating of attempts around it.
import assert from 'node:assert/strict'
import { mock, test, type TestContext } from 'node:test'
import { createMemoryStore } from '../session/memory-store.ts'
import { manifestKey, segmentKey } from '../session/object-keys.ts'
import { StoreUnavailable, type Store } from '../session/stores/store.ts'
import { testSessionId } from '../session/test-recording.ts'
import { createSharedStoreState, storeState, watchStore } from './metrics-store.ts'
import { createPersist } from './sealing/persist.ts'

const provenAt = Date.UTC(2026, 10, 21)
const session = testSessionId(provenAt, 1)
const bytes = Buffer.alloc(100)

function createWorld(t: TestContext) {
  mock.timers.enable({ apis: ['Date'], now: provenAt })
  t.after(() => mock.timers.reset())
  const shared = createSharedStoreState({ provenAt })
  const watch = watchStore(shared)
  let error: Error | null = null
  const kept = createMemoryStore()
  const store: Store = {
    ...kept,
    putIfAbsent: (key, object) => (error === null ? kept.putIfAbsent(key, object) : Promise.reject(error)),
  }
  const stopped = new AbortController()
  let failed: () => void = () => undefined
  const persist = watch.persist(createPersist({ signal: stopped.signal, onFailed: () => failed() }))
  return {
    ...{ shared, persist, stopped },
    state: storeState(shared),
    store: watch.store(store),
    fail(cause: Error | null): void {
      error = cause
    },
    nextFailure: () => new Promise<void>((resolve) => (failed = resolve)),
  }
}

const away = new StoreUnavailable('away', 'none')

test('while a put is refused again and again the store fails since the first, its segment waits, and both end with the answer', async (t) => {
  const { state, persist, store, fail, nextFailure } = createWorld(t)
  fail(away)
  const failure = nextFailure()
  const put = persist(() => store.putIfAbsent(segmentKey(session, 1), bytes))
  await failure
  mock.timers.tick(5_000)
  assert.equal(state.failingMilliseconds(), 5_000)
  assert.equal(state.segmentsWaiting(), 1)
  assert.equal(state.lastStored(), provenAt)
  assert.equal(state.storedBytes(), 0)
  fail(null)
  await put
  assert.equal(state.failingMilliseconds(), 0)
  assert.equal(state.segmentsWaiting(), 0)
  assert.equal(state.lastStored(), provenAt + 5_000)
  assert.equal(state.storedBytes(), 100)
})

test('one that fails among others that succeed still fails, and is not forgotten by their success', async (t) => {
  const { state, persist, store, fail, nextFailure } = createWorld(t)
  fail(away)
  const failure = nextFailure()
  const put = persist(() => store.putIfAbsent(segmentKey(session, 1), bytes))
  await failure
  fail(null)
  mock.timers.tick(1_000)
  await persist(() => store.putIfAbsent(manifestKey(session), bytes))
  assert.equal(state.failingMilliseconds(), 1_000)
  await put
  assert.equal(state.failingMilliseconds(), 0)
})

test('of two that fail the first to be mended leaves the store failing since the first', async (t) => {
  const { state, persist, store, fail, nextFailure } = createWorld(t)
  fail(away)
  const firstFailure = nextFailure()
  const first = persist(() => store.putIfAbsent(segmentKey(session, 1), bytes))
  await firstFailure
  mock.timers.tick(1_000)
  const secondFailure = nextFailure()
  let isMended = false
  const second = persist(() => (isMended ? store.putIfAbsent(segmentKey(session, 2), bytes) : Promise.reject(away)))
  await secondFailure
  assert.equal(state.failingMilliseconds(), 1_000)
  fail(null)
  await first
  assert.equal(state.failingMilliseconds(), 1_000)
  isMended = true
  await second
  assert.equal(state.failingMilliseconds(), 0)
})

test('an attempt that is given up neither fails nor waits any more', async (t) => {
  const { state, persist, store, fail, nextFailure, stopped } = createWorld(t)
  fail(new TypeError('not one that passes'))
  await assert.rejects(persist(() => store.putIfAbsent(segmentKey(session, 1), bytes)))
  assert.deepEqual([state.failingMilliseconds(), state.segmentsWaiting()], [0, 0])
  fail(away)
  const failure = nextFailure()
  const put = persist(() => store.putIfAbsent(segmentKey(session, 2), bytes))
  await failure
  stopped.abort()
  await assert.rejects(put)
  mock.timers.tick(1_000)
  assert.equal(state.failingMilliseconds(), 0)
})

test('an object that was there already is a success of the store and adds no bytes; only segments wait', async (t) => {
  const { state, store } = createWorld(t)
  await store.putIfAbsent(manifestKey(session), bytes)
  assert.equal(state.segmentsWaiting(), 0)
  mock.timers.tick(1_000)
  assert.equal(await store.putIfAbsent(manifestKey(session), bytes), 'exists')
  assert.equal(state.storedBytes(), 100)
  assert.equal(state.lastStored(), provenAt + 1_000)
})

test('a thread that begins knows nothing of what the one before it was trying, and keeps what that had stored', async (t) => {
  const { shared, state, persist, store, fail, nextFailure } = createWorld(t)
  await store.putIfAbsent(manifestKey(session), bytes)
  fail(away)
  const failure = nextFailure()
  const put = persist(() => store.putIfAbsent(segmentKey(session, 1), bytes))
  await failure
  mock.timers.tick(1_000)
  assert.equal(state.failingMilliseconds(), 1_000)
  watchStore(shared)
  assert.deepEqual([state.failingMilliseconds(), state.segmentsWaiting(), state.storedBytes()], [0, 0, 100])
  fail(null)
  await put
})
