/**
 * The proxy as a whole: spool, sealing thread and listener, put together and taken apart in the right order.
 *
 * Start: lock the spool, prove the store, seal, listen. Stop: listen no more, let statements end, close the sessions, seal all.
 */
import { mkdirSync, type writeSync } from 'node:fs'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { collectGarbage } from '../base/collect-garbage.ts'
import { KnownError, messageOf } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { stenoVersion } from '../base/version.ts'
import { createScramServer } from '../postgres/authentication/scram-server.ts'
import { loadOrCreateRecorderKey } from '../session/recorder-key.ts'
import { openStore } from '../session/stores/open-store.ts'
import { probeStore } from '../session/stores/probe.ts'
import { createCancelRegistry } from './cancel-registry.ts'
import { serveConnection, type ConnectionContext } from './connection.ts'
import { listen } from './listen.ts'
import { createMeter } from './meter.ts'
import { reasonsNotReady, storeFailingMillisecondsStandard } from './metrics-health.ts'
import type { MetricsServer } from './metrics-server.ts'
import { createSharedCounts } from './metrics-shared.ts'
import { storeState } from './metrics-store.ts'
import type { RecordedSession } from './recorded-session.ts'
import { createSealing } from './sealing/sealing.ts'
import { checkSpoolOfStore } from './sealing/spool-of-store.ts'
import type { ProxySettings } from './settings.ts'
import { listSpoolFiles } from './spool/spool-files.ts'
import { lockSpool } from './spool/spool-lock.ts'
import { createSharedSpoolPosition, spoolPosition } from './spool/spool-position.ts'
import { createSpoolWriter } from './spool/spool-writer.ts'
import { statementCounts } from './statements/counts.ts'
import { createTurns } from './turn.ts'

export { defaultSegmentLimits, type ProxySettings } from './settings.ts'
export { traceSettingsFrom } from './statements/traces-settings.ts'
export { defaultSpoolLimits } from './spool/spool-writer.ts'

export type Proxy = {
  readonly host: string
  readonly port: number
  readonly metricsPort: number | null
  readonly recorder: string
  /**
   * Ends in good order: sessions get `drainMilliseconds` to finish what is under way. A second call makes the first end at once;
   * both have the same result.
   */
  stop(): Promise<Stopped>
}

/** `everythingStored` is false when the spool still holds recordings, for the next start to store. */
export type Stopped = { readonly everythingStored: boolean }

/** Where a test puts a failing disk, or its own death, in the proxy's way. */
export type ProxySeams = { readonly spoolWrite?: typeof writeSync }

/** The folder for the spool cannot be made or written. */
export class SpoolUnusable extends KnownError {
  readonly code = 'SPOOL_UNUSABLE'
  readonly remedy = 'Name a folder on a local disk that steno may write to, with --spool.'
  readonly safeToRetry = true
}

/** @throws KnownError for a store, spool or address that cannot be used */
export async function startProxy(settings: ProxySettings, log: Log, seams: ProxySeams = {}): Promise<Proxy> {
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

async function startLocked(settings: ProxySettings, log: Log, seams: ProxySeams, unlock: () => void): Promise<Proxy> {
  const store = await openStore(settings.storeUrl)
  await probeStore(store)
  const key = await loadOrCreateRecorderKey(settings.spoolFolder)
  await checkSpoolOfStore(store, settings.spoolFolder, key.id)
  const epoch = Date.now()
  const shared = createSharedSpoolPosition()
  const position = spoolPosition(shared)
  const counts = settings.metricsListen === null ? null : createSharedCounts({ storeProvenAt: epoch })
  const sessions = new Map<number, RecordedSession>()
  const connecting = new Set<net.Socket>()
  let sessionNumber = 0
  let stopping: 'no' | 'draining' | 'now' = 'no'

  const meter = createMeter({ log })
  const spool = createSpoolWriter({
    folder: settings.spoolFolder,
    epoch,
    position,
    limits: settings.spoolLimits,
    filePreamble: () => Buffer.concat([...sessions.values()].map((session) => session.openRecord)),
    write: seams.spoolWrite,
  })
  const turns = createTurns({
    spool,
    onRecordFailure: settings.onRecordFailure,
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
    },
    position,
    openSessions: () => sessions.size,
    log,
    meter,
  })
  if (listSpoolFiles(settings.spoolFolder).length > 0) sealing.wake()
  const context: ConnectionContext = {
    settings,
    log,
    meter,
    turns,
    cancels: createCancelRegistry(),
    token: settings.agentToken === null ? null : createScramServer({ secret: settings.agentToken }),
    recorder: key.id,
    versions: { steno: stenoVersion, node: process.version },
    nextSessionNumber: () => ++sessionNumber,
    onSession(number, session) {
      sessions.set(number, session)
      sealing.wake()
    },
    onSessionClosed: (number) => void sessions.delete(number),
  }
  // Kept alive as PostgreSQL does it: an agent whose machine is gone says nothing, and its session would stay for good.
  const server = net.createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true, pauseOnConnect: true }, (socket) => {
    meter.connectionAccepted()
    if (sessions.size + connecting.size >= settings.connectionsMax + spareConnections) {
      meter.connectionRejected('limit')
      socket.destroy()
      return
    }
    const isFull = sessions.size + connecting.size >= settings.connectionsMax
    connecting.add(socket)
    void serveConnection(socket, context, { isFull }).finally(() => connecting.delete(socket))
  })
  let address: net.AddressInfo
  let metrics: MetricsServer | null = null
  try {
    address = await listen(server, settings.listen, acceptBacklog)
    if (settings.metricsListen !== null && counts !== null) {
      const [{ createMetrics }, { startMetricsServer }] = await Promise.all([import('./metrics.ts'), import('./metrics-server.ts')])
      const storing = storeState(counts.store)
      const storeFailingMillisecondsMax = settings.storeFailingMillisecondsMax ?? storeFailingMillisecondsStandard
      metrics = await startMetricsServer({
        listen: settings.metricsListen,
        metrics: createMetrics({
          ...{ meter, position, openSessions: () => sessions.size },
          ...{ statements: statementCounts(counts.statements), store: storing },
          process: {
            versions: context.versions,
            openConnections: () => sessions.size + connecting.size,
            connectionsMax: settings.connectionsMax,
            spoolLimits: settings.spoolLimits,
            isRecording: () => !turns.isHeld && turns.failing === null,
          },
        }),
        reasonsNotReady: () =>
          reasonsNotReady(
            {
              isStopping: stopping !== 'no',
              spoolRefusal: turns.failing ?? (turns.isHeld ? 'waiting' : null),
              storeFailingMilliseconds: storing.failingMilliseconds(),
            },
            { storeFailingMillisecondsMax },
          ),
      })
    }
  } catch (error) {
    server.close()
    spool.close()
    await sealing.stop({ waitMilliseconds: sealingMillisecondsMax })
    throw error
  }

  let stopped: Promise<Stopped> | null = null
  let hurry: () => void = () => undefined
  const hurried = new Promise<void>((resolve) => {
    hurry = resolve
  })

  function stop(): Promise<Stopped> {
    if (stopped === null) return (stopped = stopOnce())
    stopping = 'now'
    hurry()
    return stopped
  }

  async function stopOnce(): Promise<Stopped> {
    stopping = 'draining'
    server.close()
    for (const socket of connecting) socket.destroy()
    const shutdown = { code: '57P01', message: 'terminating connection because steno is shutting down', hint: 'Connect again in a moment.' }
    const until = Date.now() + settings.drainMilliseconds
    while (sessions.size > 0 && Date.now() < until && (stopping as string) !== 'now') {
      for (const session of sessions.values()) if (session.isIdle) session.end('shutdown', shutdown)
      await sleep(20)
    }
    for (const session of sessions.values()) session.end('shutdown', shutdown)
    const closed = Date.now() + closeMillisecondsMax
    while (sessions.size > 0 && Date.now() < closed && (stopping as string) !== 'now') await sleep(20)
    for (const session of sessions.values()) session.cut() // An agent that does not read must not leave its recording without an end.
    if (sessions.size > 0) await sleep(20)
    turns.commit()
    spool.close()
    const everythingStored = await sealing.stop({ waitMilliseconds: sealingMillisecondsMax, hurried })
    if (!everythingStored) log.warn('not everything is stored; the spool keeps the rest, and the next start stores it')
    unlock()
    metrics?.close() // Until here it says that the proxy stops, and shows what is still to be stored.
    return { everythingStored }
  }

  // What the start left behind goes now, so that the engine's first collection does not fall into the first minute of traffic.
  collectGarbage('major')
  return { host: address.address, port: address.port, metricsPort: metrics?.port ?? null, recorder: key.id, stop }
}

/** Beyond the limit a connection is still heard, to cancel something or to be told why not; but not any number of them: each takes a descriptor. */
const spareConnections = 100
/** Agents connect in bursts; the kernel cuts this to its own limit. */
const acceptBacklog = 4096
const closeMillisecondsMax = 6_000
const sealingMillisecondsMax = 20_000
