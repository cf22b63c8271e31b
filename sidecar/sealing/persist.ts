/**
 * Repeats what a store refuses until it takes it: the spool keeps the bytes meanwhile, so waiting loses nothing.
 *
 * What waiting cannot mend, an object that is damaged or somebody else's, is thrown, so that it stops nobody else.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { KnownError, systemCodeOf } from '../../base/errors.ts'
import { ReceiptRefused } from '../../session/stores/receipt.ts'
import { StoreUnavailable } from '../../session/stores/store.ts'

const waitMillisecondsMin = 200
const waitMillisecondsMax = 15_000

/**
 * `attempt` must be safe to repeat. `passing`, which is meant where nothing is said, repeats what may pass by itself; `known`
 * repeats every failure that an operator can mend, for what the recorder cannot go on without.
 */
export type Persist = <T>(attempt: () => Promise<T>, repeats?: 'passing' | 'known') => Promise<T>

export type Rest = (milliseconds: number) => Promise<void>

/**
 * Rests that can be cut short: `wake` ends those under way, and `longest`, asked for each, shortens those to come. For when somebody
 * waits: a store that is back is found then, not fifteen seconds later.
 */
export function createRest({ longest }: { readonly longest: () => number }): {
  readonly rest: Rest
  wake(): void
  /** How long a rest of so many milliseconds would take now. */
  lasting(milliseconds: number): number
} {
  const sleeping = new Set<() => void>()
  const lasting = (milliseconds: number): number => Math.min(milliseconds, longest())
  return {
    lasting,
    rest: (milliseconds) =>
      new Promise((resolve) => {
        const end = (): void => {
          clearTimeout(timer)
          sleeping.delete(end)
          resolve()
        }
        const timer = setTimeout(end, lasting(milliseconds))
        sleeping.add(end)
      }),
    wake() {
      for (const end of sleeping) end()
    },
  }
}

/** True for a store that does not answer, or not so that it can be believed, and for a system that refuses; false for what is wrong with an object itself. */
export function isPassing(error: unknown): boolean {
  if (error instanceof ReceiptRefused) return true
  // Node's own codes, as ERR_INVALID_ARG_TYPE, are defects and pass as little.
  return error instanceof StoreUnavailable || (!(error instanceof KnownError) && /^E[A-Z0-9]+$/.test(systemCodeOf(error) ?? ''))
}

/** The result rejects with what is not repeated, and when `signal` is aborted. `rest` is how it waits between two attempts. */
export function createPersist({
  signal,
  onFailed,
  rest = (milliseconds) => sleep(milliseconds, undefined, { signal }),
}: {
  readonly signal: AbortSignal
  readonly onFailed: (error: unknown, retryMilliseconds: number) => void
  readonly rest?: Rest
}): Persist {
  return async (attempt, repeats = 'passing') => {
    for (let wait = waitMillisecondsMin; ; wait = Math.min(wait * 2, waitMillisecondsMax)) {
      try {
        return await attempt()
      } catch (error) {
        signal.throwIfAborted()
        if (!isPassing(error) && !(repeats === 'known' && error instanceof KnownError)) throw error
        onFailed(error, wait)
        await rest(wait)
      }
    }
  }
}
