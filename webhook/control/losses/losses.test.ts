// Goal: the ledger of a vanished recorder is closed once, after its grace, by whichever replica comes first, with the newest mark that any of them
// knows; and never for a pod that lives or a recorder that ended. Method: two controls' parts over one store in memory, and a clock in hand.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLog } from '../../../base/log.ts'
import { sealAttestation } from '../../../session/attestation.ts'
import { sealHighWaterMark, type MarkedSession } from '../../../session/high-water-mark.ts'
import { createMemoryStore, type MemoryStore } from '../../../session/memory-store.ts'
import { attestationKey, lossKey, markKey, marksPrefix } from '../../../session/object-keys.ts'
import { findRecorderLoss } from '../../../session/recorder-loss.ts'
import { StoreUnavailable, type Store } from '../../../session/stores/store.ts'
import { createTestRecorder, testEpoch, testKey } from '../../../session/test-recording.ts'
import { createMarkKeeper } from '../marks/keep-marks.ts'
import { createMarkMemory, takenMark } from '../marks/mark-memory.ts'
import { createLosses, type PodState } from './losses.ts'

const log = createLog({ level: 'silent' })
const control = testKey(9)
const recorder = testKey(1).id
const pod = { podUid: 'uid-a', podName: 'a', podNamespace: 'shop' }
const rest = { sessions: 0, records: 0, bytes: 0, frontendBytes: 0, backendBytes: 0, statements: 0 }

function claimOf(session: string, records: number): MarkedSession {
  const amount = { records, bytes: 100 * records, frontendBytes: 10, backendBytes: 20, statements: records }
  return { session, opened: testEpoch, ...amount, lastTime: testEpoch + 1, closed: false }
}

async function createWorld() {
  const store = createMemoryStore()
  const attested = { ...pod, serviceAccount: 'agent', nodeName: null, owner: null, image: null }
  store.objects.set(attestationKey(recorder), sealAttestation({ recorder, time: testEpoch, pod: attested }, control).bytes)
  const made = await createTestRecorder(store, { seed: 1 })
  const session = await made.record([{ statements: 1 }], { close: false })
  const clock = { now: 0 }
  const cluster = { state: 'live' as 'live' | 'ended' | 'gone' | 'unreachable' }
  const podState: PodState = () =>
    cluster.state === 'unreachable' ? Promise.reject(new Error('the API server does not answer')) : Promise.resolve(cluster.state)

  const chain = { named: [] as { readonly recorder: string; readonly number: number; readonly isStated: boolean }[], isDown: false }
  const nameInChain = (_: string, of: string, { number }: { readonly number: number }): Promise<void> => {
    if (chain.isDown) return Promise.reject(new Error('the chain’s store does not answer'))
    chain.named.push({ recorder: of, number, isStated: store.objects.has(lossKey(of)) })
    return Promise.resolve()
  }

  function replica(over: (inner: MemoryStore) => Store = (inner) => inner) {
    const memory = createMarkMemory()
    const seen = over(store)
    const keeper = createMarkKeeper({ memory, storeNamed: () => seen, log, now: () => clock.now })
    const losses = createLosses({
      ...{ storeNames: () => ['default'], storeNamed: () => seen, memory, keeper, podState, key: control, log, nameInChain },
      timing: { graceMilliseconds: 30_000, sweepMilliseconds: 600_000, retryMilliseconds: 30_000 },
      now: () => clock.now,
    })
    const hear = (number: number, sessions: readonly MarkedSession[]): void => {
      const fields = { process: 1, number, time: testEpoch, waitingBytes: 10, earlierBytes: 0, sessions, rest }
      const bytes = sealHighWaterMark(fields, testKey(1))
      const last = takenMark({ ...fields, type: 'high-water-mark', version: 1, recorder, publicKey: '' }, bytes)
      memory.set({ recorder, store: 'default', pod, last, earlier: [], kept: new Set(), keptAt: -Infinity, waitsSince: clock.now })
    }
    const stop = async (): Promise<void> => {
      await losses.stop()
      await keeper.stop()
    }
    return { memory, keeper, losses, hear, [Symbol.asyncDispose]: stop }
  }
  return { chain, store, made, session, clock, cluster, replica, loss: () => findRecorderLoss(store, recorder) }
}

test('the ledger is closed when the grace is over, not before, with what is stored against what was claimed', async () => {
  const { session, clock, cluster, replica, loss } = await createWorld()
  await using one = replica()
  one.hear(5, [claimOf(session, 9)])
  cluster.state = 'gone'
  one.losses.podGone(pod, 'pod-deleted')
  clock.now = 29_999
  await one.losses.closeDue()
  assert.equal(await loss(), null)
  clock.now = 30_000
  await one.losses.closeDue()
  const read = (await loss())!
  assert.ok(read.publicKey.equals(control.publicKey))
  assert.deepEqual([read.loss.why, read.loss.podUid, read.mark?.number, read.loss.ledger?.number], ['pod-deleted', 'uid-a', 5, 3])
  assert.deepEqual(
    read.loss.sessions.map(({ claimed, stored }) => [claimed.records, stored.records, stored.segments]),
    [[9, 3, 1]],
  )
  assert.equal(one.losses.waiting, 0)
})

test('the chain names the ledger’s last entry before the loss is stated, and no loss is stated while it cannot', async () => {
  const { chain, session, clock, cluster, replica, loss } = await createWorld()
  await using one = replica()
  one.hear(5, [claimOf(session, 9)])
  cluster.state = 'gone'
  one.losses.podGone(pod, 'pod-deleted')
  chain.isDown = true
  clock.now = 30_000
  await one.losses.closeDue()
  assert.deepEqual([await loss(), one.losses.waiting], [null, 1])
  chain.isDown = false
  clock.now = 60_000
  await one.losses.closeDue()
  assert.deepEqual(chain.named, [{ recorder, number: 3, isStated: false }])
  assert.ok((await loss()) !== null)
})

test('of two controls one states the loss, with the newest mark that either knows', async () => {
  const { store, session, clock, cluster, replica, loss } = await createWorld()
  let puts = 0
  const counting = (inner: MemoryStore): Store => ({
    ...inner,
    putIfAbsent: async (key, bytes) => {
      const outcome = await inner.putIfAbsent(key, bytes)
      if (key === lossKey(recorder) && outcome === 'stored') puts++
      return outcome
    },
  })
  await using one = replica(counting)
  await using other = replica(counting)
  one.hear(5, [claimOf(session, 9)])
  other.hear(8, [claimOf(session, 12)])
  cluster.state = 'gone'
  for (const { losses } of [one, other]) losses.podGone(pod, 'pod-deleted')
  clock.now = 10_000
  for (const { keeper } of [one, other]) await keeper.look()
  assert.deepEqual(
    [...store.objects.keys()].filter((key) => key.startsWith(marksPrefix)),
    [markKey(recorder, 5), markKey(recorder, 8)],
  )
  clock.now = 30_000
  await Promise.all([one.losses.closeDue(), other.losses.closeDue()])
  assert.equal(puts, 1)
  assert.equal((await loss())!.mark?.number, 8, 'also where the one with the older mark came first')
  assert.deepEqual(
    [...store.objects.keys()].filter((key) => key.startsWith(marksPrefix)),
    [],
  )
})

test('a pod that lives after all keeps its recorder, and one that ended by itself is not lost', async () => {
  const { made, session, clock, cluster, replica, loss } = await createWorld()
  await using one = replica()
  one.hear(5, [claimOf(session, 3)])
  one.losses.podGone(pod, 'pod-deleted')
  clock.now = 30_000
  await one.losses.closeDue()
  assert.deepEqual([await loss(), one.losses.waiting], [null, 0], 'a watch that was wrong')
  await made.stop()
  const closed = await createWorld()
  await closed.made.record([{ statements: 1 }])
  await closed.made.stop()
  await using other = closed.replica()
  closed.cluster.state = 'gone'
  await other.losses.sweep()
  closed.clock.now = 30_000
  await other.losses.closeDue()
  assert.deepEqual([await closed.loss(), other.losses.waiting], [null, 0])
  cluster.state = 'gone'
})

test('a recorder that ended, was started again and vanished before its next entry is lost', async () => {
  const { made, session, clock, cluster, replica, loss } = await createWorld()
  await made.stop()
  await using one = replica()
  one.hear(5, [claimOf(session, 9)])
  cluster.state = 'gone'
  one.losses.podGone(pod, 'pod-deleted')
  clock.now = 30_000
  await one.losses.closeDue()
  assert.equal((await loss())?.loss.sessions.length, 1)
})

test('what vanished while nobody watched is found by a look, and looked at once', async () => {
  const { clock, cluster, replica, loss } = await createWorld()
  let gets = 0
  await using one = replica((inner) => ({
    ...inner,
    get: (key) => {
      if (key === attestationKey(recorder)) gets++
      return inner.get(key)
    },
  }))
  await one.losses.sweep()
  await one.losses.sweep()
  assert.deepEqual([one.losses.waiting, gets], [0, 1], 'it lives, and whose it is stays known')
  cluster.state = 'ended'
  await one.losses.sweep()
  clock.now = 30_000
  await one.losses.closeDue()
  assert.deepEqual([(await loss())?.loss.why, (await loss())?.mark], ['pod-ended', null])
  await one.losses.sweep()
  assert.deepEqual([one.losses.waiting, gets], [0, 1])
})

test('while store or API server are away nothing is decided, and it is tried again', async () => {
  const { session, clock, cluster, replica, loss } = await createWorld()
  let isAway = true
  await using one = replica((inner) => ({
    ...inner,
    putIfAbsent: (key, bytes) => (isAway ? Promise.reject(new StoreUnavailable('away', 'wait')) : inner.putIfAbsent(key, bytes)),
  }))
  one.hear(5, [claimOf(session, 9)])
  cluster.state = 'unreachable'
  one.losses.podGone(pod, 'pod-deleted')
  for (const [now, next] of [
    [30_000, 'gone'],
    [60_000, 'gone'],
  ] as const) {
    clock.now = now
    await one.losses.closeDue()
    assert.deepEqual([await loss(), one.losses.waiting], [null, 1])
    cluster.state = next
  }
  isAway = false
  clock.now = 60_001
  await one.losses.closeDue()
  assert.equal(await loss(), null, 'not before its turn')
  clock.now = 90_000
  await one.losses.closeDue()
  assert.notEqual(await loss(), null)
})
