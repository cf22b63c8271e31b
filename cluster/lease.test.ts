// Goal: at most one leads, and another does soon after it ended. Method: replicas on a double of the API server with a clock of the test's own.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startLeaderElection, type LeaderElection } from './lease.ts'
import { startTestApi, type TestApi } from './test-api.ts'
import { testLog, until, untilQuiet } from './test-support.ts'

const timeout = 120_000
const timing = { durationMilliseconds: 15_000, renewMillisecondsMax: 10_000, retryMilliseconds: 2_000 }
const path = '/apis/coordination.k8s.io/v1/namespaces/steno-system/leases/steno-webhook'

/** Time that passes when the test says so. */
function createClock() {
  let now = 0
  const sleepers = new Set<{ readonly at: number; readonly wake: () => void }>()
  return {
    now: () => now,
    sleep: (milliseconds: number, signal: AbortSignal): Promise<void> =>
      new Promise((resolve) => {
        const sleeper = { at: now + milliseconds, wake: resolve }
        if (signal.aborted) return resolve()
        sleepers.add(sleeper)
        signal.addEventListener('abort', () => {
          sleepers.delete(sleeper)
          resolve()
        })
      }),
    advance(milliseconds: number): void {
      now += milliseconds
      for (const sleeper of sleepers) {
        if (sleeper.at > now) continue
        sleepers.delete(sleeper)
        sleeper.wake()
      }
    },
  }
}

function replica(api: TestApi, identity: string, clock: ReturnType<typeof createClock>) {
  const terms: AbortSignal[] = []
  const election: LeaderElection = startLeaderElection({
    cluster: api.client,
    ...{ namespace: 'steno-system', name: 'steno-webhook', identity, timing, log: testLog().log, now: clock.now, sleep: clock.sleep },
    lead: (signal) => void terms.push(signal),
  })
  return { ...election, terms }
}

const specOf = (api: TestApi) => (api.get(path)?.['spec'] ?? {}) as { holderIdentity?: string; leaseTransitions?: number }

/** Lets time pass in steps of a second, and what is due each time be answered. */
async function pass(api: TestApi, clock: ReturnType<typeof createClock>, seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second++) {
    clock.advance(1_000)
    await untilQuiet(() => api.requests.length, { turns: 8 })
  }
}

test('of several replicas that begin at once, exactly one leads', { timeout }, async () => {
  await using api = await startTestApi()
  const clock = createClock()
  const all = ['a', 'b', 'c', 'd'].map((identity) => replica(api, identity, clock))
  await pass(api, clock, 20)
  assert.equal(all.filter((one) => one.isLeader()).length, 1)
  assert.equal(all.flatMap(({ terms }) => terms).length, 1)
  await Promise.all(all.map((one) => one.stop()))
})

test('a leader that stops gives the lease back, and another leads within one look', { timeout }, async () => {
  await using api = await startTestApi()
  const clock = createClock()
  const first = replica(api, 'first', clock)
  await until(() => first.isLeader())
  const second = replica(api, 'second', clock)
  await pass(api, clock, 5)
  assert.equal(second.isLeader(), false)
  await first.stop()
  assert.equal(first.terms[0]?.aborted, true)
  assert.equal(specOf(api).holderIdentity, '')
  await pass(api, clock, 4)
  assert.equal(second.isLeader(), true)
  await second.stop()
})

test('a leader that died is followed when its lease has run out, and not before', { timeout }, async () => {
  await using api = await startTestApi()
  const clock = createClock()
  api.put(path, {
    metadata: { name: 'steno-webhook', namespace: 'steno-system' },
    spec: { holderIdentity: 'dead', leaseDurationSeconds: 15, leaseTransitions: 3 },
  })
  const heir = replica(api, 'heir', clock)
  await pass(api, clock, 13)
  assert.equal(heir.isLeader(), false)
  await pass(api, clock, 6)
  assert.equal(heir.isLeader(), true)
  assert.equal(specOf(api).leaseTransitions, 4)
  await heir.stop()
})

for (const [how, fault] of [
  ['is refused', { status: 503, reason: 'ServiceUnavailable' }],
  ['hears nothing', 'hang'],
] as const) {
  test(`a leader that ${how} when it renews ends before its lease does`, { timeout }, async () => {
    await using api = await startTestApi()
    const clock = createClock()
    const leader = replica(api, 'leader', clock)
    await until(() => leader.isLeader())
    api.faults.intercept = () => fault
    await pass(api, clock, 9)
    assert.equal(leader.isLeader(), true)
    await pass(api, clock, 2)
    assert.equal(leader.isLeader(), false)
    assert.equal(leader.terms[0]?.aborted, true)
    api.faults.intercept = null
    api.client.close()
    void leader.stop()
  })
}

test('a replica that lost a race for the lease does not lead', { timeout }, async () => {
  await using api = await startTestApi()
  const clock = createClock()
  let mayWrite = false
  api.faults.intercept = ({ method }) =>
    method === 'GET' || mayWrite ? null : { status: 409, reason: method === 'POST' ? 'AlreadyExists' : 'Conflict' }
  const loser = replica(api, 'loser', clock)
  await pass(api, clock, 5)
  assert.equal(loser.isLeader(), false)
  mayWrite = true
  await pass(api, clock, 5)
  assert.equal(loser.isLeader(), true)
  await loser.stop()
})

test('a lease that somebody wrote nonsense into keeps nobody from leading for long, and lets no two lead', { timeout }, async () => {
  for (const [leaseDurationSeconds, secondsMin] of [
    [2_147_483_647, 59],
    [0, 14],
    [-5, 14],
  ] as const) {
    await using api = await startTestApi()
    api.put(path, { metadata: { name: 'steno-webhook' }, spec: { holderIdentity: 'nobody', leaseDurationSeconds } })
    const clock = createClock()
    const one = replica(api, 'one', clock)
    await pass(api, clock, secondsMin - 3)
    assert.equal(one.isLeader(), false, `${leaseDurationSeconds}`)
    await pass(api, clock, 8)
    assert.equal(one.isLeader(), true, `${leaseDurationSeconds}`)
    await one.stop()
  }
})
