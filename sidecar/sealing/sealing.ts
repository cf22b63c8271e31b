/**
 * The connection thread's handle on the sealing thread: starts it, starts it again when it fails, tells it to stop.
 *
 * The thread shares no state with the connections but three numbers, so its failure costs time and nothing else: the spool is on
 * disk, and the next thread takes over what the store has.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import type { Log } from '../../base/log.ts'
import type { Meter } from '../meter.ts'
import type { FromSealer, SealingWork, ToSealer } from './messages.ts'

const restartMilliseconds = 1_000
/** Young objects die fast here; a small nursery keeps the thread's memory small. */
const nurseryMegabytes = 4

export function startSealing({ work, log, meter }: { readonly work: Omit<SealingWork, 'isRestart'>; readonly log: Log; readonly meter: Meter }) {
  let stopping = false
  let stopped = false
  let ended: () => void = () => undefined
  const end = new Promise<void>((resolve) => {
    ended = resolve
  })
  let worker = start(false)

  function start(isRestart: boolean): Worker {
    const started = new Worker(new URL('./worker.ts', import.meta.url), {
      workerData: { ...work, isRestart } satisfies SealingWork,
      resourceLimits: { maxYoungGenerationSizeMb: nurseryMegabytes },
    })
    started.on('message', (message: FromSealer) => {
      switch (message.kind) {
        case 'log':
          log[message.level](message.fields, message.text)
          break
        case 'stored':
          meter.segmentStored(message.segments)
          break
        case 'store-failed':
          meter.storeFailed()
          break
        case 'stopped':
          stopped = true
          ended()
          break
        default:
          message satisfies never
      }
    })
    started.on('error', (error) => log.error(`the sealing thread failed and is started again: ${error.stack ?? error.message}`))
    started.on('exit', () => {
      if (stopped) return
      setTimeout(() => {
        if (stopped) return
        worker = start(true)
        if (stopping) worker.postMessage({ kind: 'stop' } satisfies ToSealer)
      }, restartMilliseconds)
    })
    return started
  }

  return {
    /** Seals and stores what is left; false when that took longer than `waitMilliseconds` and was given up. */
    async stop({ waitMilliseconds }: { readonly waitMilliseconds: number }): Promise<boolean> {
      stopping = true
      worker.postMessage({ kind: 'stop' } satisfies ToSealer)
      const timer = new AbortController()
      const inTime = await Promise.race([end.then(() => true), sleep(waitMilliseconds, false, { signal: timer.signal })])
      timer.abort()
      if (inTime) return true
      stopped = true
      await worker.terminate()
      return false
    },
  }
}
