/**
 * Measures all the time whether a database can be reached past the recording, says what was measured, and keeps the agent out as long as
 * the policy wants it: at the start, before its first session, and while a way is open.
 *
 * A measurement begins 5 s plus or minus 40 % after the one before began, and each second or so until the pod's start is decided; addresses
 * known from before are tried at once, so an enforcer that dies is found within 7 s and a connection's time.
 */
import { messageOf } from '../../base/errors.ts'
import type { Log } from '../../base/log.ts'
import type { MetricsRegistry } from '../metrics-registry.ts'
import { SessionRefused, type Refusal } from '../session-refused.ts'
import { createGuard, type OnOpenPath } from './guard.ts'
import type { Measure, Measured, WayTarget } from './measure.ts'
import { altogether, type DatabaseWay, type Way, type WayState } from './way-state.ts'

export type ClosedWay = {
  state(): WayState
  /** Called whenever a state changes, not at each measurement. Gives what ends it. */
  onChange(listener: (state: WayState) => void): () => void
  /** Whether a session to a database may be opened: under `Block` not before it was Closed once. @throws SessionRefused */
  admit(database: string, options: { readonly signal: AbortSignal }): Promise<void>
  /** Why the agent is not started yet; empty from the moment that it may be, for good. */
  reasonsNotStarted(): readonly string[]
  /** Open ways that are only reported. What closes the agent's way says so itself. */
  reasonsNotReady(): readonly string[]
  /** What a policy changed, for measurements and sessions from now on. */
  change(settings: { readonly targets: readonly WayTarget[]; readonly onOpenPath: OnOpenPath }): void
  addMetrics(metrics: MetricsRegistry): void
  /** Begins to measure. `setWay` closes and opens the agent's way. */
  start(setWay: (name: string, refusal: Refusal | null) => void): void
  stop(): void
}

export type ClosedWayOptions = {
  readonly targets: readonly WayTarget[]
  readonly onOpenPath: OnOpenPath
  readonly measure: Measure
  readonly log: Log
  readonly schedule?: Schedule
}

export type Schedule = {
  readonly everyMilliseconds: number
  readonly everyMillisecondsAtStart: number
  /** How long a start waits for measurements that decide nothing. */
  readonly startMillisecondsMax: number
  /** Between two measurements that sessions ask for. */
  readonly askedMillisecondsMin: number
}

export const standardSchedule: Schedule = {
  everyMilliseconds: 5_000,
  everyMillisecondsAtStart: 1_000,
  startMillisecondsMax: 10_000,
  askedMillisecondsMin: 500,
}
/** Plus or minus this share, so that the pods of a deployment do not ask in step. */
const jitter = 0.4

type Known = {
  target: WayTarget
  state: Way
  addresses: readonly string[]
  why: string
  wasClosed: boolean
  measuredAt: number
  /** Whether the log has said anything of it. */
  isTold: boolean
  running: Promise<void> | null
}

export function createClosedWay({ targets, onOpenPath, measure, log, schedule = standardSchedule }: ClosedWayOptions): ClosedWay {
  const known = new Map<string, Known>()
  const listeners = new Set<(state: WayState) => void>()
  const begun = performance.now()
  let setWay: (name: string, refusal: Refusal | null) => void = () => undefined
  const guard = createGuard({ onOpenPath, setWay: (name, refusal) => setWay(name, refusal) })
  let told = { ...altogether([]), since: Date.now() }
  let measuredAt = 0
  let measurements = 0
  let hasStarted = false
  let timer: NodeJS.Timeout | undefined
  let isStopped = false
  addTargets(targets)

  function addTargets(wanted: readonly WayTarget[]): void {
    for (const target of wanted) {
      // Of other hosts nothing is known.
      if (JSON.stringify(known.get(target.database)?.target) !== JSON.stringify(target))
        known.set(target.database, {
          ...{ target, state: 'Unknown', addresses: [], why: 'nothing has been measured yet' },
          ...{ wasClosed: false, measuredAt: 0, isTold: false, running: null },
        })
    }
  }

  const databases = (): DatabaseWay[] =>
    [...known.values()].map(({ target, state, addresses }) => ({ name: target.database, state, addresses }))
  const state = (): WayState => ({ ...told, measured: measuredAt, databases: databases() })

  function tell(): void {
    const now = altogether(databases())
    told = { ...now, since: now.state === told.state ? told.since : Date.now() }
    const current = state()
    for (const listener of listeners) listener(current)
  }

  function become(database: Known, { state: to, addresses, why }: Pick<Known, 'state' | 'addresses' | 'why'>): void {
    const from = database.state
    const moved = addresses.join() !== database.addresses.join()
    Object.assign(database, { state: to, addresses, why })
    const stayedUnknown = to === 'Unknown' && !database.isTold && performance.now() - begun >= schedule.startMillisecondsMax
    if (from !== to || stayedUnknown) logChange(database, from)
    if (from !== to || moved) tell()
  }

  /** A pod's first measurements often find nothing out, as its network is being made: that is said once the start's time is over. */
  function logChange(database: Known, from: Way): void {
    const { target, state: to, addresses, why } = database
    const facts = { database: target.database, ...(from === to ? { state: to } : { from, to }), addresses }
    database.isTold = true
    if (to === 'Open') log.error(facts, `database ${target.database} can be reached past the recording: ${why}`)
    else if (to === 'Closed') log.info(facts, `database ${target.database} cannot be reached past the recording`)
    else log.warn(facts, `whether database ${target.database} can be reached past the recording is not known: ${why}`)
  }

  /** One at a time for a database: who asks meanwhile waits for the same one. */
  function measureNow(database: Known): Promise<void> {
    return (database.running ??= measureOnce(database).finally(() => {
      database.running = null
    }))
  }

  async function measureOnce(database: Known): Promise<void> {
    const { target } = database
    const name = target.database
    const isCurrent = (): boolean => !isStopped && known.get(name) === database
    const measured: Measured = await measure(target, {
      onOpen(through) {
        if (!isCurrent()) return
        become(database, { state: 'Open', addresses: database.addresses, why: connectedTo(through) })
        guard.foundOpen(name, through)
      },
    })
    if (!isCurrent()) return
    measurements++
    measuredAt = Date.now()
    if (measured.state === 'Closed') database.wasClosed = true
    const why = measured.state === 'Open' ? connectedTo(measured.through) : measured.state === 'Unknown' ? measured.why : ''
    become(database, { state: measured.state, addresses: measured.addresses, why })
    database.measuredAt = performance.now()
    guard.measured(name, measured)
  }

  function measureAll(): void {
    for (const database of known.values())
      measureNow(database).catch((error: unknown) => log.error(`a measurement failed: ${messageOf(error)}`))
    const hosts = [...known.values()].reduce((sum, { target }) => sum + target.hosts.length, 0)
    // The relay answers a pod 20 probes a second.
    const atStart = Math.min(Math.max(schedule.everyMillisecondsAtStart, hosts * 100), schedule.everyMilliseconds)
    const every = reasonsNotStarted().length > 0 ? atStart : schedule.everyMilliseconds
    timer = setTimeout(measureAll, every * (1 - jitter + 2 * jitter * Math.random()))
  }

  function reasonsNotStarted(): readonly string[] {
    const reasons = hasStarted ? [] : whyNotStarted()
    hasStarted = reasons.length === 0
    return reasons
  }

  function whyNotStarted(): string[] {
    const all = [...known.values()]
    if (guard.mode === 'Block') {
      const open = all.find((database) => database.state === 'Open')
      if (open !== undefined) return [`database ${open.target.database} can be reached past the recording: ${open.why}`]
      if (guard.isClosed) return ['a way past the recording was open; two measurements in a row must find it closed']
    }
    if (performance.now() - begun >= schedule.startMillisecondsMax) return []
    return all.flatMap(({ target, state: at, why }) =>
      at === 'Unknown' ? [`whether database ${target.database} can be reached past the recording is not known yet: ${why}`] : [],
    )
  }

  return {
    state,
    onChange(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    async admit(name, { signal }) {
      const database = known.get(name)
      if (guard.mode !== 'Block' || database === undefined || database.wasClosed) return
      const wait = database.measuredAt === 0 ? 0 : database.measuredAt + schedule.askedMillisecondsMin - performance.now()
      if (wait > 0) await pause(wait, signal)
      if (!database.wasClosed && !signal.aborted) await measureNow(database)
      if (!database.wasClosed) throw notShown(name, database.why)
    },
    reasonsNotStarted,
    reasonsNotReady() {
      if (guard.mode === 'Block') return []
      return [...known.values()].flatMap(({ target, state: at, why }) =>
        at === 'Open' ? [`database ${target.database} can be reached past the recording, which is only reported: ${why}`] : [],
      )
    },
    change({ targets: wanted, onOpenPath: mode }) {
      for (const name of [...known.keys()].filter((each) => !wanted.some(({ database }) => database === each))) {
        known.delete(name)
        guard.forget(name)
      }
      addTargets(wanted)
      guard.setOnOpenPath(mode)
      tell()
    },
    addMetrics(metrics) {
      metrics.gauge('steno_way_open', '1 while a database can be reached past the recording.', () => (told.state === 'Open' ? 1 : 0))
      metrics.gauge('steno_way_unknown', '1 while it is not known whether a database can be reached past the recording.', () =>
        told.state === 'Unknown' && known.size > 0 ? 1 : 0,
      )
      metrics.gauges(
        'steno_closed_way_state',
        'What was last measured of the way past the recording: 1 for the state that holds.',
        ['database', 'state'],
        () => databases().flatMap(({ name, state: at }) => ways.map((each) => ({ labels: [name, each], value: each === at ? 1 : 0 }))),
      )
      metrics.counter('steno_closed_way_measurements_total', 'Measurements of the way past the recording that ended.', () => measurements)
      metrics.gauge(
        'steno_closed_way_last_measurement_timestamp_seconds',
        'When the last of them ended, in seconds since 1970; 0 before the first.',
        () => measuredAt / 1000,
      )
      metrics.gauge('steno_closed_way_blocks', '1 while an open way past the recording keeps agents out.', () => (guard.isClosed ? 1 : 0))
    },
    start(set) {
      setWay = set
      measureAll()
    },
    stop() {
      isStopped = true
      clearTimeout(timer)
    },
  }
}

const ways: readonly Way[] = ['Closed', 'Open', 'Unknown']

const connectedTo = (through: string): string => `a direct connection from this pod to ${through} succeeded`

/** SQLSTATE 57P03, cannot_connect_now: drivers try such a server again. */
function notShown(database: string, why: string): SessionRefused {
  return new SessionRefused(
    '57P03',
    `it is not shown yet that database ${database} cannot be reached past the recording: ${why}`,
    'Connect again in a moment. When it lasts, a human should look whether Deployment steno-relay runs and reaches the database.',
  )
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, milliseconds)
    signal.addEventListener('abort', done, { once: true })
    function done(): void {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
  })
}
