/** How long to wait before the next try: longer each time, and never the same for two replicas. */

export type Backoff = {
  /** Milliseconds until the next try. */
  next(): number
  /** The last try worked. */
  reset(): void
}

/** Doubles from `firstMilliseconds` up to `mostMilliseconds`; each wait is a random part of that, but at least half of it. */
export function createBackoff({
  firstMilliseconds,
  mostMilliseconds,
  random = Math.random,
}: {
  readonly firstMilliseconds: number
  readonly mostMilliseconds: number
  readonly random?: () => number
}): Backoff {
  let milliseconds = firstMilliseconds
  return {
    next() {
      const wait = milliseconds * (0.5 + random() / 2)
      milliseconds = Math.min(milliseconds * 2, mostMilliseconds)
      return wait
    },
    reset() {
      milliseconds = firstMilliseconds
    },
  }
}
