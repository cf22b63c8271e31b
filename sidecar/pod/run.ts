/**
 * A pod's sidecar from its first moment to its exit code: reads the environment, records until SIGTERM, ships what is left.
 *
 * As a native sidecar it is told to end when the agent's containers have ended, or when the pod's grace period is used up. It starts and
 * records whether control is there or not. Every way in which it does not start, and what could not be shipped at the end, is in the
 * log and in the termination message, without a secret.
 */
import { flushCompileCache } from 'node:module'
import { KnownError, messageOf } from '../../base/errors.ts'
import type { Log } from '../../base/log.ts'
import { sidecarHealthPort, SidecarConfigInvalid } from '../../crds/sidecar-config.ts'
import type { ClosedWay } from '../closed-way/closed-way.ts'
import type { MetricsServer } from '../metrics-server.ts'
import { startRecorder, type Recorder } from '../recorder.ts'
import type { Address } from '../settings.ts'
import { takePodEnvironment, type PodEnvironment } from './environment.ts'
import { startHealthServer } from './health.ts'
import { startReports, type Reports } from './marks/reports.ts'
import { openPodPolicy } from './policy/pod-policy.ts'
import { podSettings, SourcesRefused } from './settings.ts'
import { createPodWay } from './way.ts'
import { createTermination, type Termination } from './termination.ts'
import { openTerminationLog, type TerminationLog } from './termination-log.ts'

export type SidecarOptions = {
  /** The process's own: secrets are removed from it. */
  readonly environment: Record<string, string | undefined>
  /** Null for control's, as the configuration names it. */
  readonly storeUrl: string | null
  readonly spoolFolder: string
  /** Null for all addresses and the port of Kubernetes' probes. */
  readonly healthListen: Address | null
  readonly terminationLog: string
  readonly log: Log
}

/** `misconfigured` is EX_CONFIG of sysexits.h: another start with the same pod ends the same. */
const sidecarExitCode = { stored: 0, failed: 1, misconfigured: 78 } as const

/** Between two signals that are one to whoever gave it. */
const repeatedMilliseconds = 300
const tellMilliseconds = 1_000
/** For a recorder whose probes cannot be answered: nobody has spoken to it yet. */
const notStartedMilliseconds = 2_000

/** Never throws: every end is an exit code, with its reason in the log and in the termination message. */
export async function runInPod({ environment, log, ...options }: SidecarOptions): Promise<number> {
  const message = openTerminationLog(options.terminationLog, log)
  // At once: to process 1 of a container a signal that nobody listens to does nothing. One that comes before all has started ends it then.
  const signals = listenToSignals(log)
  let started: Started
  try {
    started = await start(takePodEnvironment(environment), { ...options, environment, log })
  } catch (error) {
    tellFailure('did not start', error, { log, message })
    const isConfiguration = error instanceof SidecarConfigInvalid || error instanceof SourcesRefused
    return isConfiguration ? sidecarExitCode.misconfigured : sidecarExitCode.failed
  }
  flushCompileCache()
  await signals.first
  const { recorder, closedWay, policy, health, reports, termination } = started
  closedWay.stop()
  policy.stop()
  try {
    return await end(recorder, { log, message, left: termination.left(), second: signals.second })
  } catch (error) {
    tellFailure('failed while it ended', error, { log, message })
    return sidecarExitCode.failed
  } finally {
    reports.stop()
    health.close()
  }
}

type Started = {
  readonly recorder: Recorder
  readonly closedWay: ClosedWay
  readonly policy: { stop(): void }
  readonly health: MetricsServer
  readonly reports: Reports
  readonly termination: Termination
}

/** @throws KnownError for what does not fit, or cannot be listened on or written to */
async function start(
  pod: PodEnvironment,
  { log, healthListen, environment, ...options }: Omit<SidecarOptions, 'terminationLog'>,
): Promise<Started> {
  const settings = podSettings(pod, { ...options, log })
  const way = createPodWay(pod.config, { listeners: settings.listeners, environment, log })
  const { closedWay } = way
  const podPolicy = await openPodPolicy({ pod, settings, environment, log })
  const recorder = await startRecorder(
    { ...podPolicy.startSettings(way), addMetrics: (metrics) => (closedWay.addMetrics(metrics), reports.addMetrics(metrics)) },
    log,
  )
  const reports = startReports({
    recorder,
    storeUrl: settings.storeUrl,
    way: () => closedWay.state(),
    policy: () => podPolicy.facts(),
    log,
  })
  closedWay.onChange(() => reports.wayChanged())
  closedWay.start((reason, refusal) => recorder.setWay(reason, refusal))
  const policy = podPolicy.follow(recorder, way)
  const termination = createTermination({ graceMilliseconds: pod.config.terminationGraceSeconds * 1_000 })
  const listening = { listen: healthListen, port: sidecarHealthPort, termination, closedWay, log }
  const health = await startHealthServer(recorder, listening).catch(async (error: unknown) => {
    reports.stop()
    closedWay.stop()
    policy.stop()
    await recorder.stop({ withinMilliseconds: notStartedMilliseconds })
    throw error
  })
  log.info(
    {
      listeners: pod.config.listeners.map(({ database }, at) => `${database} ${textOf(recorder.addresses[at]!)}`),
      health: health.port,
      startMilliseconds: Math.round(process.uptime() * 1_000),
      policy: pod.config.policy,
      store: settings.storeUrl,
      recorder: recorder.recorder,
      waitingBytes: recorder.waitingBytes,
    },
    'recording',
  )
  return { recorder, closedWay, policy, health, reports, termination }
}

function tellFailure(what: string, error: unknown, { log, message }: { readonly log: Log; readonly message: TerminationLog }): void {
  const { code, remedy } = error instanceof KnownError ? error : { code: 'DEFECT', remedy: 'Report it.' }
  const stack = error instanceof Error && !(error instanceof KnownError) ? { stack: error.stack } : {}
  log.error({ code, remedy, ...stack }, `the sidecar ${what}: ${messageOf(error)}`)
  message.write(`steno ${what}: ${code}: ${messageOf(error)}\n${remedy}\n`)
}

async function end(
  recorder: Recorder,
  {
    log,
    message,
    left,
    second,
  }: {
    readonly log: Log
    readonly message: TerminationLog
    readonly left: ReturnType<Termination['left']>
    readonly second: Promise<void>
  },
): Promise<number> {
  const tell = (): void => {
    if (recorder.waitingBytes > 0) message.write(endingText(waitingText(recorder)))
  }
  log.info({ waitingBytes: recorder.waitingBytes, ...left }, 'stopping')
  // Before anything is waited for: the kubelet may end this process at any moment, and the message is all that is left then.
  tell()
  const telling = setInterval(tell, tellMilliseconds)
  void recorder.ship({ waitMilliseconds: 0 }) // While the sessions end, what they have said goes ahead.
  const stopped = recorder.stop(left)
  void second.then(() => recorder.stop())
  const { everythingStored, waitingBytes } = await stopped
  clearInterval(telling)
  message.write(everythingStored ? '' : leftText(waitingBytes === 0 ? null : waitingText(recorder)))
  log.info({ everythingStored, waitingBytes, ...(everythingStored ? {} : { waitingSince: timeText(recorder.waitingSince) }) }, 'stopped')
  return everythingStored ? sidecarExitCode.stored : sidecarExitCode.failed
}

/** `12 bytes of recordings (since 2026-11-21T18:35:17.797Z)`: how much, and which part of what happened. */
function waitingText({ waitingBytes, waitingSince }: Recorder): string {
  const since = timeText(waitingSince)
  return `${waitingBytes} bytes of recordings${since === null ? '' : ` (since ${since})`}`
}

function timeText(milliseconds: number): string | null {
  return milliseconds === 0 ? null : new Date(milliseconds).toISOString()
}

function endingText(waiting: string): string {
  return `steno is ending, and ${waiting} are not in the store yet. If this stays the last message, they are lost with the pod.\n`
}

/** `waiting` null: all recordings are stored, and the ledger does not yet say that they ended. */
function leftText(waiting: string | null): string {
  const what = waiting === null ? "only the ledger's last entry is" : `${waiting} are`
  return `steno: the store has not taken everything: ${what} still in the pod's spool. They are lost with the pod, unless the container starts again.\n`
}

function listenToSignals(log: Log): { readonly first: Promise<void>; readonly second: Promise<void> } {
  const first = Promise.withResolvers<void>()
  const second = Promise.withResolvers<void>()
  let firstAt: number | null = null
  const onSignal = (signal: NodeJS.Signals): void => {
    const now = performance.now()
    if (firstAt === null) {
      firstAt = now
      log.info({ signal }, 'told to end')
      first.resolve()
    } else if (now - firstAt >= repeatedMilliseconds) second.resolve()
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  return { first: first.promise, second: second.promise }
}

function textOf({ host, port }: Address): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}
