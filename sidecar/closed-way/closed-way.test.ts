// Goal: what was measured decides who is let in, and when: nobody before Closed was seen, nobody while a way is open, everybody two Closed
// later. Method: measurements whose outcome the test sets, on a schedule of milliseconds.
import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { pino } from 'pino'
import { createLog, type Log } from '../../base/log.ts'
import { SessionRefused, type Refusal } from '../session-refused.ts'
import { createClosedWay, standardSchedule, type Schedule } from './closed-way.ts'
import { createGuard, openPathReason, type OnOpenPath } from './guard.ts'
import type { Measured } from './measure.ts'
import { notEnforced } from './not-enforced.ts'
import { altogether, type Way } from './way-state.ts'

const silent = createLog({ level: 'silent' })
const quick: Schedule = { everyMilliseconds: 5, everyMillisecondsAtStart: 5, startMillisecondsMax: 1e9, askedMillisecondsMin: 1 }
const never: Schedule = { ...quick, everyMilliseconds: 2 ** 30, everyMillisecondsAtStart: 2 ** 30 }
const target = (database: string) => ({ database, hosts: [{ host: `${database}.test`, port: 5432 }] })
const outcome = (state: Way): Measured => {
  if (state === 'Closed') return { state, addresses: ['10.0.0.1'] }
  return state === 'Open' ? { state, addresses: ['10.0.0.1'], through: '10.0.0.1:5432' } : { state, addresses: [], why: 'nobody answers' }
}

type WorldOptions = {
  readonly log?: Log
  readonly onOpenPath?: OnOpenPath
  readonly schedule?: Schedule
  readonly databases?: readonly string[]
}

function createWorld(t: TestContext, { onOpenPath = 'Block', schedule = quick, databases = ['orders'], log = silent }: WorldOptions = {}) {
  const now = new Map<string, Way>(databases.map((name) => [name, 'Unknown']))
  let measurements = 0
  const refusals = new Map<string, Refusal>()
  const way = createClosedWay({
    targets: databases.map(target),
    onOpenPath,
    async measure({ database }, { onOpen }) {
      measurements++
      const measured = outcome(now.get(database)!)
      if (measured.state === 'Open') onOpen(measured.through)
      return measured
    },
    log,
    schedule,
  })
  t.after(() => way.stop())
  return {
    way,
    now,
    refusals,
    start: () => way.start((name, refusal) => void (refusal === null ? refusals.delete(name) : refusals.set(name, refusal))),
    measurements: () => measurements,
    async more(count: number) {
      const wanted = measurements + count
      while (measurements < wanted) await new Promise((resolve) => setImmediate(resolve))
      await new Promise((resolve) => setImmediate(resolve))
    },
  }
}

const admit = (world: { way: ReturnType<typeof createClosedWay> }, name = 'orders') =>
  world.way.admit(name, { signal: new AbortController().signal })

test('a session’s first connection measures at once, and is refused with what is missing until Closed was seen', async (t) => {
  const world = createWorld(t, { schedule: never })
  await assert.rejects(admit(world), (error: unknown) => {
    assert.ok(error instanceof SessionRefused)
    assert.equal(error.sqlState, '57P03')
    assert.match(error.message, /it is not shown yet that database orders cannot be reached past the recording: nobody answers/)
    return true
  })
  assert.equal(world.measurements(), 1)
  world.now.set('orders', 'Closed')
  await admit(world)
  assert.equal(world.measurements(), 2)
  world.now.set('orders', 'Unknown')
  await admit(world)
  assert.equal(world.measurements(), 2, 'what was Closed once is not asked for again')
})

function keptLog() {
  const lines: { level: string; from?: string; to?: string; state?: string }[] = []
  const log = pino({ formatters: { level: (label) => ({ level: label }) } }, { write: (line: string) => void lines.push(JSON.parse(line)) })
  return { log, said: () => lines.map(({ level, from, to, state }) => `${level} ${from === undefined ? state : `${from} to ${to}`}`) }
}

test('the log tells transitions: a way that is found closed is no warning, and what is not known yet is no line', async (t) => {
  const { log, said } = keptLog()
  const world = createWorld(t, { log })
  world.start()
  await world.more(3)
  assert.deepEqual(said(), [])
  world.now.set('orders', 'Closed')
  await world.more(3)
  assert.deepEqual(said(), ['info Unknown to Closed'])
  world.now.set('orders', 'Open')
  await world.more(3)
  world.now.set('orders', 'Unknown')
  await world.more(3)
  assert.deepEqual(said().slice(1), ['error Closed to Open', 'warn Open to Unknown'])
})

test('a way that is not known when the start’s time is over is said once', async (t) => {
  const { log, said } = keptLog()
  const world = createWorld(t, { log, schedule: { ...quick, startMillisecondsMax: 0 } })
  world.start()
  await world.more(5)
  assert.deepEqual(said(), ['warn Unknown'])
  assert.match(JSON.stringify(world.way.state()), /Unknown/)
})

test('another database’s measurement lets nobody in, and many connections share one', async (t) => {
  const world = createWorld(t, { schedule: never, databases: ['orders', 'stock'] })
  world.now.set('orders', 'Closed')
  await Promise.all(Array.from({ length: 50 }, () => admit(world)))
  assert.equal(world.measurements(), 1)
  await assert.rejects(admit(world, 'stock'), SessionRefused)
})

test('under Report nobody waits for a measurement', async (t) => {
  const world = createWorld(t, { onOpenPath: 'Report', schedule: never })
  await admit(world)
  assert.equal(world.measurements(), 0)
})

test('an open way closes the agent’s at once, and two measurements in a row that find it closed open it', async (t) => {
  const world = createWorld(t)
  world.now.set('orders', 'Closed')
  world.start()
  await world.more(1)
  assert.deepEqual(world.way.reasonsNotStarted(), [])
  world.now.set('orders', 'Open')
  await world.more(1)
  assert.match(world.refusals.get(openPathReason)?.message ?? '', /database orders can be reached .* 10\.0\.0\.1:5432 succeeded/)
  assert.equal(world.way.state().state, 'Open')
  world.now.set('orders', 'Unknown')
  await world.more(3)
  assert.equal(world.refusals.size, 1, 'not knowing opens nothing')
  world.now.set('orders', 'Closed')
  await world.more(3)
  assert.equal(world.refusals.size, 0)
})

test('the guard counts Closed in a row, for each database by itself, and follows a policy that changes', () => {
  const told: string[] = []
  const guard = createGuard({
    onOpenPath: 'Block',
    setWay: (name, refusal) => told.push(`${name} ${refusal === null ? 'open' : 'closed'}`),
  })
  guard.foundOpen('orders', 'a')
  guard.foundOpen('stock', 'b')
  const measured = (database: string, state: Way): void => guard.measured(database, { state })
  measured('orders', 'Closed')
  measured('orders', 'Unknown')
  measured('orders', 'Closed')
  for (const _ of [1, 2]) measured('stock', 'Closed')
  assert.ok(guard.isClosed, 'orders was not Closed twice in a row')
  measured('orders', 'Closed')
  assert.deepEqual(told, ['open-path closed', 'open-path open'])
  guard.setOnOpenPath('Report')
  guard.foundOpen('orders', 'a')
  assert.equal(guard.isClosed, false)
  guard.setOnOpenPath('Block')
  assert.equal(guard.isClosed, true)
  guard.forget('orders')
  assert.equal(guard.isClosed, false)
  assert.equal(told.length, 4)
})

test('the start waits for a measurement that decides; for one that does not it waits so long and no longer; Open holds it for good', async (t) => {
  const undecided = createWorld(t)
  undecided.start()
  await undecided.more(3)
  assert.match(undecided.way.reasonsNotStarted().join(), /is not known yet: nobody answers/)
  undecided.now.set('orders', 'Closed')
  await undecided.more(2)
  assert.deepEqual(undecided.way.reasonsNotStarted(), [])
  undecided.now.set('orders', 'Open')
  await undecided.more(2)
  assert.deepEqual(undecided.way.reasonsNotStarted(), [], 'what has started has started')

  const late = { ...quick, startMillisecondsMax: 0 }
  assert.deepEqual(createWorld(t, { schedule: late }).way.reasonsNotStarted(), [])
  const open = createWorld(t, { schedule: late })
  open.now.set('orders', 'Open')
  open.start()
  await open.more(2)
  assert.match(open.way.reasonsNotStarted().join(), /database orders can be reached past the recording/)
  const reported = createWorld(t, { onOpenPath: 'Report' })
  reported.now.set('orders', 'Open')
  reported.start()
  await reported.more(2)
  assert.deepEqual(reported.way.reasonsNotStarted(), [])
  assert.match(reported.way.reasonsNotReady().join(), /which is only reported/)
})

test('each change is told once, with all databases, and the time since when', async (t) => {
  const world = createWorld(t, { databases: ['orders', 'stock'] })
  const told: string[] = []
  world.way.onChange(({ state, databases }) => told.push([state, ...databases.map((database) => database.state)].join(' ')))
  world.start()
  await world.more(4)
  assert.deepEqual(told, [])
  world.now.set('orders', 'Closed').set('stock', 'Closed')
  await world.more(4)
  assert.deepEqual(told, ['Unknown Closed Unknown', 'Closed Closed Closed'])
  const { since, measured, reason } = world.way.state()
  assert.ok(since > 0 && measured >= since)
  assert.equal(reason, 'Closed')
})

test('a policy that changes hosts has them measured before anybody is let in again', async (t) => {
  const world = createWorld(t, { schedule: never })
  world.now.set('orders', 'Closed')
  await admit(world)
  world.way.change({ targets: [target('orders')], onOpenPath: 'Block' })
  await admit(world)
  assert.equal(world.measurements(), 1, 'the same hosts are known')
  world.now.set('orders', 'Unknown')
  world.way.change({ targets: [{ database: 'orders', hosts: [{ host: 'other.test', port: 5432 }] }], onOpenPath: 'Block' })
  await assert.rejects(admit(world), SessionRefused)
})

test('altogether: Open where one is, Closed where all are, nothing measured is Unknown', () => {
  const of = (...states: Way[]): string => altogether(states.map((state) => ({ name: 'x', state, addresses: [] }))).state
  assert.deepEqual([of(), of('Closed'), of('Closed', 'Unknown'), of('Closed', 'Unknown', 'Open')], ['Unknown', 'Closed', 'Unknown', 'Open'])
  assert.deepEqual([notEnforced().state().state, notEnforced().state().reason], ['Unknown', 'NotEnforced'])
})

test('an open way is found within 10 s: the longest pause and a connection’s time are less', () => {
  assert.ok(standardSchedule.everyMilliseconds * 1.4 + 2_000 < 10_000)
})
