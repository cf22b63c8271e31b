/**
 * How webhook, control and relay start and stop: health first, so that the kubelet hears why one is not ready; then what it is for. What
 * fails ends all that was begun. A stop ends readiness at once, and the rest once endpoints have forgotten this replica.
 *
 * Knows nothing of what is served, nor of signals; certificates, watches and clients are the caller's, which ends them in `endAll`.
 */
import type { Registry } from 'prom-client'
import { messageOf } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { startHealthServer } from './health-server.ts'
import { pause } from './pause.ts'
import type { ProcessSettings } from './process-settings.ts'

/** What a process is for, once it serves. */
export type Served = {
  /** What must end before the drain delay, at once. */
  readonly beforeDrain?: () => void
  /** Takes no more, and resolves when what is under way has ended. */
  readonly stop: () => Promise<void>
}

export type ProcessLife<Serving> = {
  readonly serving: Serving
  readonly metricsPort: number
  /** Ends in good order; a second call has the same result. */
  stop(): Promise<void>
}

/** @throws what `serve` throws, and WebhookCannotListen; `endAll` has then been called, and health is closed */
export async function startProcess<Serving extends Served>(
  {
    settings: { metricsListen, drainDelayMilliseconds },
    registry,
    log,
    reasonsNotReady,
    endAll,
  }: {
    readonly settings: Pick<ProcessSettings, 'metricsListen' | 'drainDelayMilliseconds'>
    readonly registry: Registry
    readonly log: Log
    /** In words, besides that it is stopping; empty when ready. */
    readonly reasonsNotReady: () => readonly string[]
    /** Called once, behind `stop` or after a failure. */
    readonly endAll: () => void | Promise<void>
  },
  serve: () => Promise<Serving>,
): Promise<ProcessLife<Serving>> {
  let isDraining = false
  const health = await startHealthServer({
    listen: metricsListen,
    registry,
    reasonsNotReady: () => [...(isDraining ? ['it is stopping'] : []), ...reasonsNotReady()],
  }).catch(async (error: unknown) => {
    await endAll()
    throw error
  })
  try {
    const serving = await serve()
    let stopped: Promise<void> | null = null
    const stopOnce = async (): Promise<void> => {
      isDraining = true
      serving.beforeDrain?.()
      await pause(drainDelayMilliseconds, new AbortController().signal)
      await serving.stop()
      await endAll()
      health.close()
    }
    return { serving, metricsPort: health.port, stop: () => (stopped ??= stopOnce()) }
  } catch (error) {
    log.debug({ error: messageOf(error) }, 'the start failed')
    await endAll()
    health.close()
    throw error
  }
}
