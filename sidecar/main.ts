/**
 * What the rest of steno starts of the sidecar: a proxy with one listener, as `steno proxy` and `steno run` have it, and the whole
 * sidecar of a pod.
 */
import type { Log } from '../base/log.ts'
import type { SidecarOptions } from './pod/run.ts'
import { startRecorder, type ProxySeams } from './recorder.ts'
import type { ProxySettings } from './settings.ts'

export { defaultSegmentLimits, type ProxySettings } from './settings.ts'
export { traceSettingsFrom } from './statements/traces-settings.ts'
export { isSpoolLocked, spoolPathExcessBytes } from './spool/spool-lock.ts'
export { defaultSpoolLimits } from './spool/spool-writer.ts'
export { storeWaitMillisecondsStandard } from './withheld/withholding.ts'
export type { ProxySeams } from './recorder.ts'
export type { SidecarOptions } from './pod/run.ts'

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

/** @throws KnownError for a store, spool or address that cannot be used */
export async function startProxy(settings: ProxySettings, log: Log, seams: ProxySeams = {}): Promise<Proxy> {
  const { listen, upstream, databases, agentToken, allowCleartextPassword, ...rest } = settings
  const listener = { addresses: [listen], upstream, databases, agentToken, allowCleartextPassword }
  const { addresses, metricsPort, recorder, stop } = await startRecorder({ ...rest, listeners: [listener] }, log, seams)
  const { host, port } = addresses[0]!
  return { host, port, metricsPort, recorder, stop: async () => ({ everythingStored: (await stop()).everythingStored }) }
}

/** Runs the sidecar of a pod until it is told to end; gives the exit code. Loaded only for that. */
export async function runSidecar(options: SidecarOptions): Promise<number> {
  const { runInPod } = await import('./pod/run.ts')
  return runInPod(options)
}
