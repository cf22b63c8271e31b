// Goal: what reaches the store is given once and in order, whatever was there before, is damaged, or is entered twice.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createMemoryStore } from '../../session/memory-store.ts'
import { segmentKey, statementIndexKey } from '../../session/object-keys.ts'
import { StoreUnavailable, type Store } from '../../session/stores/store.ts'
import { testEpoch } from '../../session/test-recording.ts'
import type { Followed } from './followed.ts'
import { followLedgers, type FollowOptions } from './follow-ledgers.ts'
import { followSession } from './follow-session.ts'
import { createTailRecorder } from './test-recorder.ts'

/** Follows, and gives what came up to each pause. */
function follower(store: Store, options: Partial<FollowOptions> = {}) {
  const stop = new AbortController()
  const followed = followLedgers(store, { since: null, wants: () => true, signal: stop.signal, ...options })
  return {
    async untilPause(): Promise<string[]> {
      const seen: string[] = []
      for (;;) {
        const { value, done } = await followed.next()
        if (done === true || value.kind === 'pause') return seen
        seen.push(shown(value))
      }
    },
    async stop(): Promise<boolean> {
      stop.abort()
      for (;;) if ((await followed.next()).done === true) return true
    },
  }
}

function shown(each: Exclude<Followed, { kind: 'pause' }>): string {
  switch (each.kind) {
    case 'statement':
      return each.statement.sql
    case 'problem':
      return `problem: ${each.message}`
    default:
      return each.kind
  }
}

test('what was stored before is passed over, and what is stored from then on is given once and in order', async () => {
  const store = createMemoryStore()
  const recorder = createTailRecorder(store, 1)
  const before = recorder.session()
  await before.part([{ sql: 'before' }])
  const follow = follower(store)
  assert.deepEqual(await follow.untilPause(), [])
  await before.part([{ sql: 'a' }, { sql: 'b' }])
  assert.deepEqual(await follow.untilPause(), ['a', 'b'])
  assert.deepEqual(await follow.untilPause(), [])
  const other = createTailRecorder(store, 2).session()
  await other.part([{ sql: 'c' }])
  await other.part([{ sql: 'd' }])
  await other.close()
  assert.deepEqual(await follow.untilPause(), ['opened', 'c', 'd', 'closed'])
  assert.ok(await follow.stop())
})

test('since a time begins with the first entry that was made then', async () => {
  const store = createMemoryStore()
  const session = createTailRecorder(store, 1).session()
  for (let at = 0; at < 50; at++) await session.part([{ sql: `at ${at}` }], at * 1_000)
  for (const since of [0, 1, 17_000, 17_001, 49_000, 60_000]) {
    const follow = follower(store, { since: testEpoch + since })
    const first = Math.ceil(since / 1_000)
    const expected = Array.from({ length: Math.max(0, 50 - first) }, (_, index) => `at ${first + index}`)
    assert.deepEqual(await follow.untilPause(), first === 0 ? ['opened', ...expected] : expected)
    await follow.stop()
  }
})

const second = 1_000

test('what one look finds comes in the order of time, whichever recorder stored it and when', async () => {
  const store = createMemoryStore()
  const [one, other] = [createTailRecorder(store, 1), createTailRecorder(store, 2)]
  const [early, late] = [one.session(), other.session({ time: second })]
  await early.part([{ sql: 'at 0' }], 0)
  await late.part([{ sql: 'at 1' }], second)
  await early.part([{ sql: 'at 2' }], 2 * second)
  await early.part([{ sql: 'at 9' }], 9 * second)
  await early.close(10 * second)
  await late.part([{ sql: 'at 3' }, { sql: 'at 3, too' }], 3 * second)
  const follow = follower(store, { since: testEpoch })
  assert.deepEqual(await follow.untilPause(), ['opened', 'at 0', 'opened', 'at 1', 'at 2', 'at 3', 'at 3, too', 'at 9', 'closed'])
  await late.part([{ sql: 'at 12' }], 12 * second)
  await one.session({ time: 11 * second }).part([{ sql: 'at 11' }])
  assert.deepEqual(await follow.untilPause(), ['opened', 'at 11', 'at 12'])
  await follow.stop()
})

test('so it is where much is read in rounds, and what was stored long after it ended is behind, never lost', async () => {
  const store = createMemoryStore()
  const [one, other, away] = [createTailRecorder(store, 1), createTailRecorder(store, 2), createTailRecorder(store, 3)]
  const [first, then, waited] = [one.session(), other.session(), away.session()]
  const numbers = Array.from({ length: 60 }, (_, index) => index)
  // A part is entered up to ten seconds after its statement.
  for (const number of numbers) {
    const statement = { sql: `${number}`, finished: testEpoch + number * second }
    await (number % 2 === 0 ? first : then).part([statement], (number + (number % 2) * 10) * second)
  }
  await waited.part([{ sql: 'waited in a spool', finished: testEpoch }], 55 * second)
  const follow = follower(store, { since: testEpoch, indexBytesMax: 1 })
  const seen = (await follow.untilPause()).filter((line) => line !== 'opened')
  assert.deepEqual(
    seen.filter((line) => line !== 'waited in a spool'),
    numbers.map(String),
  )
  assert.ok(seen.indexOf('waited in a spool') > 20)
  await follow.stop()
})

test('what a recorder enters again after a crash is not given again', async () => {
  const store = createMemoryStore()
  const recorder = createTailRecorder(store, 1)
  const follow = follower(store)
  assert.deepEqual(await follow.untilPause(), [])
  const [open, closed] = [recorder.session(), recorder.session({ time: 10 })]
  await open.part([{ sql: 'a' }])
  await closed.part([{ sql: 'b' }])
  await closed.close()
  assert.deepEqual(await follow.untilPause(), ['opened', 'a', 'opened', 'b', 'closed'])
  await open.again()
  await closed.again()
  await open.part([{ sql: 'c' }])
  assert.deepEqual(await follow.untilPause(), ['c'])
  await follow.stop()
})

test('an object that is damaged or missing is said, and hides nothing else', async () => {
  const store = createMemoryStore()
  const recorder = createTailRecorder(store, 1)
  const follow = follower(store)
  assert.deepEqual(await follow.untilPause(), [])
  const session = recorder.session()
  await session.part([{ sql: 'a' }])
  await session.part([], 0, { damaged: true })
  await session.part([{ sql: 'b' }])
  const headless = recorder.session({ time: 10 })
  await headless.part([{ sql: 'nobody knows whose' }])
  await store.delete(segmentKey(headless.id, 1))
  assert.deepEqual(await follow.untilPause(), [
    'opened',
    'a',
    'problem: line 1 of the index is not JSON',
    'b',
    ...['problem', 'problem'].map((word) => `${word}: the first segment is missing: ${segmentKey(headless.id, 1)}`),
  ])
  await follow.stop()
})

test('sessions that are not wanted are not read', async () => {
  const store = createMemoryStore()
  const read: string[] = []
  const watched: Store = {
    ...store,
    range(key, start, end) {
      read.push(key)
      return store.range(key, start, end)
    },
  }
  const recorder = createTailRecorder(store, 1)
  const follow = follower(watched, { wants: ({ user }) => user === 'wanted' })
  assert.deepEqual(await follow.untilPause(), [])
  const [one, two] = [recorder.session({ user: 'wanted' }), recorder.session({ user: 'other' })]
  await one.part([{ sql: 'a' }])
  await two.part([{ sql: 'b' }])
  assert.deepEqual(await follow.untilPause(), ['opened', 'a'])
  assert.equal(read.includes(statementIndexKey(two.id, 1)), false)
  await follow.stop()
})

test('thousands of sessions cost a look as much as one: one object per recorder', async () => {
  const store = createMemoryStore()
  const recorder = createTailRecorder(store, 1)
  for (let opened = 0; opened < 2_000; opened++) await recorder.session().part([{ sql: 'x' }])
  let asked = 0
  const counting: Store = {
    ...store,
    head: (key) => (asked++, store.head(key)),
    get: (key) => (asked++, store.get(key)),
    range: (key, start, end) => (asked++, store.range(key, start, end)),
  }
  const follow = follower(counting)
  await follow.untilPause()
  asked = 0
  await follow.untilPause()
  assert.equal(asked, 1)
  await follow.stop()
})

test('a store that fails ends following with its error', async () => {
  const store = createMemoryStore()
  const failing: Store = {
    ...store,
    folders: () => Promise.reject(new StoreUnavailable('the disk is gone', 'Bring it back.')),
  }
  await assert.rejects(follower(failing).untilPause(), StoreUnavailable)
})

test('one session is given from its beginning, as it grows, and ends with its end', async () => {
  const store = createMemoryStore()
  const session = createTailRecorder(store, 1).session()
  await session.part([{ sql: 'a' }])
  const followed = followSession(store, session.id, new AbortController().signal)
  const seen: string[] = []
  for await (const each of followed) {
    if (each.kind !== 'pause') {
      seen.push(shown(each))
      continue
    }
    if (seen.length === 2) {
      await session.part([{ sql: 'b' }])
      await session.part([], 0, { damaged: true })
    } else {
      await session.part([{ sql: 'c' }])
      await session.close()
    }
  }
  assert.deepEqual(seen, ['opened', 'a', 'b', 'problem: line 1 of the index is not JSON', 'c', 'closed'])
})

test('a closed session whose index is missing says so and ends', async () => {
  const store = createMemoryStore()
  const session = createTailRecorder(store, 1).session()
  await session.part([{ sql: 'a' }])
  await session.part([{ sql: 'b' }])
  await session.close()
  await store.delete(statementIndexKey(session.id, 2))
  const seen: string[] = []
  for await (const each of followSession(store, session.id, new AbortController().signal)) if (each.kind !== 'pause') seen.push(shown(each))
  assert.deepEqual(seen, ['opened', 'a', `problem: a statement index is missing: ${statementIndexKey(session.id, 2)}`, 'closed'])
})
