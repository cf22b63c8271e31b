/**
 * Repeats what a store refuses until it takes it: the spool keeps the bytes meanwhile, so waiting loses nothing.
 */
import { setTimeout as sleep } from 'node:timers/promises'

const waitMillisecondsMin = 200
const waitMillisecondsMax = 15_000

export type Persist = <T>(attempt: () => Promise<T>) => Promise<T>

/** `attempt` must be safe to repeat. The result rejects only when `signal` is aborted. */
export function createPersist({
  signal,
  onFailed,
}: {
  readonly signal: AbortSignal
  readonly onFailed: (error: unknown, retryMilliseconds: number) => void
}): Persist {
  return async (attempt) => {
    for (let wait = waitMillisecondsMin; ; wait = Math.min(wait * 2, waitMillisecondsMax)) {
      try {
        return await attempt()
      } catch (error) {
        signal.throwIfAborted()
        onFailed(error, wait)
        await sleep(wait, undefined, { signal })
      }
    }
  }
}
