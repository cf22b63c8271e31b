/**
 * A recorder as a whole: one spool, one sealing thread and any number of listeners, put together and taken apart in the right order.
 *
 * Start: lock the spool, prove the store, seal, listen. Stop: listen no more, let statements end, close the sessions, seal all.
 * A store that may be away at start is not asked; the sealing thread goes on asking, and the spool keeps what passes meanwhile.
 */
import { mkdirSync, type writeSync } from 'node:fs'
import type net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { collectGarbage } from '../base/collect-garbage.ts'
import { KnownError, messageOf } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'
import type { Log } from '../base/log.ts'
import { stenoVersion } from '../base/version.ts'
import { createScramServer } from '../postgres/authentication/scram-server.ts'
import type { RecordingFacts } from '../session/pod-facts.ts'
import { markedSessionsMax, sealHighWaterMark } from '../session/high-water-mark.ts'
import { loadOrCreateRecorderKey } from '../session/recorder-key.ts'
import { openStore } from '../session/stores/open-store.ts'
import { probeStore } from '../session/stores/probe.ts'
import { createCancelRegistry } from './cancel-registry.ts'
import { serveConnection, type ConnectionContext } from './connection.ts'
import { createHeldStatements } from './held-statements.ts'
import { openListeners, type Listeners } from './listeners.ts'
import { createMeter } from './meter.ts'
import { reasonsNotReady, storeFailingMillisecondsStandard } from './metrics-health.ts'
import type { createMetrics } from './metrics.ts'
import type { MetricsServer } from './metrics-server.ts'
import { createSharedCounts } from './metrics-shared.ts'
import { storeState } from './metrics-store.ts'
import type { RecordedSession } from './recorded-session.ts'
import { createSealing } from './sealing/sealing.ts'
import { checkSpoolOfStore } from './sealing/spool-of-store.ts'
import type { Refusal } from './session-refused.ts'
import type { Address, RecorderSettings, RecorderUpdate } from './settings.ts'
import { createRecordTally, type RecordTally } from './record-tally.ts'
import { listSpoolFiles } from './spool/spool-files.ts'
import { lockSpool } from './spool/spool-lock.ts'
import { createSharedSpoolPosition, spoolPosition } from './spool/spool-position.ts'
import { createSpoolWriter, LiveSpoolLimits } from './spool/spool-writer.ts'
import { statementCounts } from './statements/counts.ts'
import { recordingState } from './recording-state.ts'
import { createTurns } from './turn.ts'
import { createWay } from './way.ts'
import { createWithholding, storeWaitMillisecondsStandard } from './withheld/withholding.ts'

export type Recorder = {
  /** Where each listener is reached, in the order of the settings: the first of its addresses. */
  readonly addresses: readonly Address[]
  readonly metricsPort: number | null
  /** The recorder's id. */
  readonly recorder: string
  /** Why what agents say could not be recorded now; empty when it can. Knows nothing of the store. */
  reasonsNotRecording(): readonly string[]
  /** Empty when agents should be sent here. */
  reasonsNotReady(): readonly string[]
  /** Metrics in Prometheus' text format, when the recorder counts them. What makes them is loaded when they are asked for first. */
  metricsText(): Promise<string>
  /**
   * Closes the agent's way for a reason, or takes that reason back (`null`); the way is open while there is none. While it is closed
   * no session is opened, and those that ran when the first reason came have ended with that refusal.
   */
  setWay(reasonName: string, refusal: Refusal | null): void
  /**
   * Has connections that come from now on served by other settings. Those that are there go on as they are; each session notes in its
   * recording that another policy judges its statements.
   */
  update(update: RecorderUpdate): void
  /** What the spool holds, signed; null unless the settings ask for it. */
  readonly highWater: HighWater | null
  /** How the recording does, store included; null unless the settings ask for counts. */
  recordingState(): RecordingFacts | null
  /** Bytes in the spool that no receipt of the store covers. */
  readonly waitingBytes: number
  /** When the oldest of them were recorded, in milliseconds since the epoch; 0 when there are none. */
  readonly waitingSince: number
  /** Has what is in the spool now sealed and stored; false when that is still under way after `waitMilliseconds`. */
  ship(options: { readonly waitMilliseconds: number }): Promise<boolean>
  /** For so long what is recorded is stored within about a second, however much is being said. */
  hasten(options: { readonly forMilliseconds: number }): void
  /**
   * Ends in good order: sessions get `drainMilliseconds` to finish what is under way. A second call makes the first end at once;
   * both have the same result. `withinMilliseconds`: all that is left, of which most is the store's.
   */
  stop(options?: { readonly withinMilliseconds?: number }): Promise<Stopped>
}

/** What a high-water mark is made of. */
export type HighWater = {
  /** Rises with each write into the spool. */
  readonly appends: number
  /** The mark as it is now, with this number and the time in milliseconds since the epoch. */
  seal(number: number, time: number): Buffer
}

/** `everythingStored` is false when the spool still holds recordings, for the next start to store; `waitingBytes` of them. */
export type Stopped = { readonly everythingStored: boolean; readonly waitingBytes: number }

type Metrics = ReturnType<typeof createMetrics>

/** Where a test puts a failing disk, or its own death, in the proxy's way. */
export type ProxySeams = { readonly spoolWrite?: typeof writeSync }

/** The folder for the spool cannot be made or written. */
export class SpoolUnusable extends KnownError {
  readonly code = 'SPOOL_UNUSABLE'
  readonly remedy = 'Name a folder on a local disk that steno may write to, with --spool.'
  readonly safeToRetry = true
}

/** @throws KnownError for a store, spool or address that cannot be used */
export async function startRecorder(settings: RecorderSettings, log: Log, seams: ProxySeams = {}): Promise<Recorder> {
  const lock = await claimSpool(settings.spoolFolder)
  try {
    return await startLocked(settings, log, seams, () => lock.release())
  } catch (error) {
    lock.release()
    throw error
  }
}

async function claimSpool(folder: string): Promise<{ release(): void }> {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    return await lockSpool(folder)
  } catch (error) {
    if (error instanceof KnownError) throw error
    throw new SpoolUnusable(`the spool folder ${folder} cannot be used: ${messageOf(error)}`, { cause: error })
  }
}

async function startLocked(settings: RecorderSettings, log: Log, seams: ProxySeams, unlock: () => void): Promise<Recorder> {
  const store = await openStore(settings.storeUrl)
  const isProven = settings.storeAtStart !== 'may-be-away'
  if (isProven) await probeStore(store)
  const key = await loadOrCreateRecorderKey(settings.spoolFolder)
  if (isProven) await checkSpoolOfStore(store, settings.spoolFolder, key.id)
  const epoch = Date.now()
  const shared = createSharedSpoolPosition()
  const position = spoolPosition(shared)
  const left = listSpoolFiles(settings.spoolFolder)
  position.setEarlier(left)
  const counts =
    settings.countsMetrics || settings.metricsListen !== null ? createSharedCounts({ storeProvenAt: isProven ? epoch : 0 }) : null
  const sessions = new Map<number, RecordedSession>()
  const connecting = new Set<net.Socket>()
  let sessionNumber = 0
  let stopping: 'no' | 'draining' | 'now' = 'no'
  const way = createWay({ sessions, log })

  let live: RecorderUpdate = { ...settings, surroundings: settings.surroundings ?? { policy: null, attested: {} }, generation: '' }

  const spoolLimits = new LiveSpoolLimits(settings.spoolLimits, () => live.spoolLimits)

  const meter = createMeter({ log })
  const spool = createSpoolWriter({
    folder: settings.spoolFolder,
    epoch,
    position,
    limits: spoolLimits,
    filePreamble: () => Buffer.concat([...sessions.values()].map((session) => session.openRecord)),
    write: seams.spoolWrite,
  })
  const tally = settings.countsRecords === true ? createRecordTally({ position }) : null
  const turns = createTurns({
    spool: tally?.over(spool) ?? spool,
    get onRecordFailure() {
      return live.onRecordFailure
    },
    recordWaitMilliseconds: settings.recordWaitMilliseconds,
    isAlone: () => sessions.size <= 1,
    holdAll(held) {
      for (const session of sessions.values()) session.hold(held)
    },
    onStateChange(state) {
      if (state.kind === 'recording') log.info('recording works')
      else
        log.error(
          { cause: state.refusal.code },
          state.kind === 'waiting' ? `traffic waits: ${state.refusal.message}` : `recording failed: ${state.refusal.message}`,
        )
    },
  })
  const withholding =
    settings.level === 'stored'
      ? createWithholding({
          waitMilliseconds: settings.storeWaitMilliseconds ?? storeWaitMillisecondsStandard,
          get onFailure() {
            return live.onRecordFailure
          },
          writtenBytes: () => position.writtenBytes,
          store: () => sealing.store(),
          onStateChange(state) {
            if (state.kind === 'storing') log.info('the store takes recordings again')
            else log.error({ waitedMilliseconds: state.waitedMilliseconds }, overdueText[live.onRecordFailure])
          },
        })
      : null
  const sealing = createSealing({
    work: {
      storeUrl: settings.storeUrl,
      spoolFolder: settings.spoolFolder,
      epoch,
      position: shared,
      limits: settings.segment,
      stenoVersion,
      liveView: settings.liveView ?? null,
      counts,
      traces: settings.traces ?? null,
      isAwaited: withholding !== null,
    },
    ...(withholding === null ? {} : { onStoredTo: withholding.storedTo, onUnstorable: withholding.neverStored }),
    position,
    openSessions: () => sessions.size,
    log,
    meter,
  })
  if (left.length > 0) sealing.wake()
  const versions = { steno: stenoVersion, node: process.version }
  const common = {
    ...{ log, meter, turns, withholding, versions, recorder: key.id, level: settings.level ?? 'results' },
    heldStatements: createHeldStatements(),
    ...{ connectionsMax: settings.connectionsMax, startupMillisecondsMax: settings.startupMillisecondsMax },
    changedBy: settings.changedBy ?? { databases: '--databases', connections: '--connections-max' },
    wayRefusal: () => way.refusal(),
    nextSessionNumber: () => ++sessionNumber,
    onSession(number: number, session: RecordedSession) {
      sessions.set(number, session)
      tellPolicy(session) // It may have changed while the connection was in its start-up.
      tally?.opened(number, session)
      sealing.follow()
    },
    onSessionClosed(number: number) {
      sessions.delete(number)
      tally?.ended(number)
    },
  }
  function tellPolicy(session: RecordedSession): void {
    const { generation, surroundings } = live
    if (surroundings.policy !== null) session.judgeBy({ policy: surroundings.policy, generation })
  }
  function update(next: RecorderUpdate): void {
    invariant(next.listeners.length === settings.listeners.length, 'an update has a recorder’s listeners, all of them')
    live = next
    for (const session of sessions.values()) tellPolicy(session)
  }
  // Each listener has cancel keys of its own: what one gave cancels nothing behind another.
  const contexts = settings.listeners.map((listener, at): ConnectionContext => ({
    ...common,
    get listener() {
      return live.listeners[at]!
    },
    get surroundings() {
      return live.surroundings
    },
    cancels: createCancelRegistry(),
    token: listener.agentToken === null ? null : createScramServer({ secret: listener.agentToken }),
  }))
  function accept(socket: net.Socket, context: ConnectionContext): void {
    meter.connectionAccepted()
    if (sessions.size + connecting.size >= settings.connectionsMax + spareConnections) {
      meter.connectionRejected('limit')
      socket.destroy()
      return
    }
    const isFull = sessions.size + connecting.size >= settings.connectionsMax
    connecting.add(socket)
    // As it is now: nothing of this connection changes amid its start-up.
    void serveConnection(socket, { ...context }, { isFull }).finally(() => connecting.delete(socket))
  }
  const endMillisecondsMax = settings.endMillisecondsMax ?? endMillisecondsStandard
  const storing = counts === null ? null : storeState(counts.store)
  const storeFailingMillisecondsMax = settings.storeFailingMillisecondsMax ?? storeFailingMillisecondsStandard

  function reasonsNotRecording(): string[] {
    const spoolRefusal = turns.failing() ?? (turns.isHeld() ? ('waiting' as const) : null)
    const reasons = reasonsNotReady({ isStopping: false, spoolRefusal, storeFailingMilliseconds: 0 }, { storeFailingMillisecondsMax })
    return reasons.length > 0 || spool.provesRoom() ? reasons : ['not recording: the spool folder takes no bytes']
  }

  function whyNotReady(): string[] {
    const reasons = reasonsNotReady(
      {
        isStopping: stopping !== 'no',
        spoolRefusal: turns.failing() ?? (turns.isHeld() ? 'waiting' : null),
        storeFailingMilliseconds: storing?.failingMilliseconds() ?? 0,
      },
      { storeFailingMillisecondsMax },
    )
    return [...reasons, ...way.reasons()]
  }

  function recordingNow(): RecordingFacts | null {
    if (storing === null) return null
    return recordingState({
      spoolRefusal: turns.failing(),
      storeFailingMilliseconds: storing.failingMilliseconds(),
      storeFailureCode: meter.storeFailureCode,
      ...{ sessionsSetAside: meter.counts.sessionsSetAside, segmentsStored: meter.counts.segmentsStored },
      writtenBytes: position.writtenBytes,
      unshippedBytes: position.waitingBytes,
      unshippedBytesMax: spoolLimits.unshippedBytesMax,
      unshippedMillisecondsMax: spoolLimits.unshippedMillisecondsMax,
      oldestUnshipped: spool.oldestTime(),
      startedAt: epoch,
      now: Date.now(),
    })
  }

  function highWaterOf(tallied: RecordTally): HighWater {
    return {
      get appends() {
        return tallied.appends
      },
      seal(number, time) {
        const { waitingBytes, earlierBytes } = position
        return sealHighWaterMark({ process: epoch, number, time, waitingBytes, earlierBytes, ...tallied.read(markedSessionsMax) }, key)
      },
    }
  }

  let metricsMade: Promise<Metrics> | null = null
  async function makeMetrics(): Promise<Metrics> {
    invariant(counts !== null && storing !== null, 'metrics are served where they are counted')
    const { createMetrics } = await import('./metrics.ts')
    return createMetrics({
      addMetrics: settings.addMetrics ?? (() => undefined),
      ...{ meter, position, openSessions: () => sessions.size },
      ...{ statements: statementCounts(counts.statements), store: storing },
      oldestTime: () => spool.oldestTime(),
      process: {
        versions,
        openConnections: () => sessions.size + connecting.size,
        connectionsMax: settings.connectionsMax,
        spoolLimits,
        isRecording: () => !turns.isHeld() && turns.failing() === null,
      },
    })
  }
  async function metricsText(): Promise<string> {
    const { text } = await (metricsMade ??= makeMetrics())
    return text()
  }

  let listeners: Listeners | null = null
  let metrics: MetricsServer | null = null
  try {
    listeners = await openListeners(contexts, accept, { log })
    if (settings.metricsListen !== null) {
      const [made, { startMetricsServer }] = await Promise.all([makeMetrics(), import('./metrics-server.ts')])
      metrics = await startMetricsServer({ listen: settings.metricsListen, metrics: made, reasonsNotReady: whyNotReady })
    }
  } catch (error) {
    listeners?.close()
    spool.close()
    await sealing.stop({ waitMilliseconds: endMillisecondsMax.store })
    throw error
  }

  let stopped: Promise<Stopped> | null = null
  let hurry: () => void = () => undefined
  const hurried = new Promise<void>((resolve) => {
    hurry = resolve
  })

  function stop({ withinMilliseconds }: { readonly withinMilliseconds?: number } = {}): Promise<Stopped> {
    if (stopped === null) return (stopped = stopOnce(withinMilliseconds ?? Infinity))
    stopping = 'now'
    hurry()
    return stopped
  }

  async function stopOnce(withinMilliseconds: number): Promise<Stopped> {
    stopping = 'draining'
    const begun = performance.now()
    const remaining = (): number => Math.max(0, withinMilliseconds - (performance.now() - begun))
    listeners?.close()
    for (const socket of connecting) socket.destroy()
    const shutdown = { code: '57P01', message: 'terminating connection because steno is shutting down', hint: 'Connect again in a moment.' }
    const until = Date.now() + Math.min(settings.drainMilliseconds, remaining() * endShares.drain)
    while (sessions.size > 0 && Date.now() < until && (stopping as string) !== 'now') {
      for (const session of sessions.values()) if (session.isIdle) session.end('shutdown', shutdown)
      await sleep(20)
    }
    for (const session of sessions.values()) session.end('shutdown', shutdown)
    const closed = Date.now() + Math.min(endMillisecondsMax.close, remaining() * endShares.close)
    while (sessions.size > 0 && Date.now() < closed && (stopping as string) !== 'now') await sleep(20)
    for (const session of sessions.values()) session.cut() // An agent that does not read must not leave its recording without an end.
    if (sessions.size > 0) await sleep(20)
    turns.commit()
    spool.close()
    const everythingStored = await sealing.stop({ waitMilliseconds: Math.min(endMillisecondsMax.store, remaining()), hurried })
    const { waitingBytes } = position
    if (!everythingStored) log.warn({ waitingBytes }, 'not everything is stored; the spool keeps the rest, and the next start stores it')
    unlock()
    metrics?.close() // Until here it says that the proxy stops, and shows what is still to be stored.
    return { everythingStored, waitingBytes: everythingStored ? 0 : waitingBytes }
  }

  // What the start left behind goes now, so that the engine's first collection does not fall into the first minute of traffic.
  collectGarbage('major')
  return {
    addresses: listeners.addresses,
    metricsPort: metrics?.port ?? null,
    recorder: key.id,
    reasonsNotRecording,
    reasonsNotReady: whyNotReady,
    metricsText,
    recordingState: recordingNow,
    setWay: (reasonName, refusal) => way.set(reasonName, refusal),
    update,
    highWater: tally === null ? null : highWaterOf(tally),
    get waitingBytes() {
      return position.waitingBytes
    },
    get waitingSince() {
      return spool.oldestTime()
    },
    ship: (options) => sealing.ship(options),
    hasten: (options) => sealing.hasten(options),
    stop,
  }
}

/** Beyond the limit a connection is still heard, to cancel something or to be told why not; but not any number of them: each takes a descriptor. */
const spareConnections = 100
/** Of what is left when it is short: sessions get little, for what they still say is worth less than what they have said. */
const endShares = { drain: 1 / 8, close: 1 / 8 } as const
const overdueText = {
  block: 'results are withheld, and sessions end: the store does not take their recordings',
  continue: 'results go on although the store does not take their recordings, as --on-record-failure continue says',
} as const
const endMillisecondsStandard = { close: 6_000, store: 20_000 }
