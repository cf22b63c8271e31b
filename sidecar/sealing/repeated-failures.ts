/**
 * Decides which of a store's failures get a line in the log. At level `stored` a store that is away is asked twice a second, and hours of the same
 * line would bury what else there is to read.
 *
 * Knows one kind of failure at a time: a store that alternates between two gets a line for each change.
 */
export type RepeatedFailures = {
  /** Null: no line now. Otherwise how many of its kind had none since the last line. */
  next(kind: string): number | null
}

const pauseMillisecondsMin = 200
const pauseMillisecondsMax = 15_000

/**
 * A failure of another kind than the last gets its line at once; the same again after a pause that doubles from line to line, from 0.2 to 15 s, and
 * begins anew when nothing failed for that long. `now` gives milliseconds that only rise.
 */
export function createRepeatedFailures({ now = () => performance.now() }: { readonly now?: () => number } = {}): RepeatedFailures {
  let last: { readonly kind: string; readonly lineAt: number; readonly pauseMilliseconds: number } | null = null
  let failedAt = 0
  let untold = 0
  return {
    next(kind) {
      const at = now()
      const same = last !== null && last.kind === kind && at - failedAt < pauseMillisecondsMax * 2 ? last : null
      failedAt = at
      if (same !== null && at - same.lineAt < same.pauseMilliseconds) {
        untold++
        return null
      }
      const before = same === null ? 0 : untold
      last = {
        kind,
        lineAt: at,
        pauseMilliseconds: same === null ? pauseMillisecondsMin : Math.min(same.pauseMilliseconds * 2, pauseMillisecondsMax),
      }
      untold = 0
      return before
    },
  }
}
