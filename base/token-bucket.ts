/**
 * Rates by name: each name has so many at once, and so many a second after that.
 *
 * Bounded: a name that has not asked for as long as it takes to have all again is forgotten, which changes nothing; beyond `namesMax` the one
 * that asked first goes.
 */
export type Rate = { readonly perSecond: number; readonly burst: number }
export type TokenBuckets = {
  /** False when `name` has to wait. */
  take(name: string): boolean
  readonly size: number
}

type Bucket = { left: number; at: number }

/** `now` in milliseconds, of a clock that never goes back. */
export function createTokenBuckets(
  { perSecond, burst }: Rate,
  { namesMax = 10_000, now = () => performance.now() }: { readonly namesMax?: number; readonly now?: () => number } = {},
): TokenBuckets {
  /** In the order of their last question. */
  const buckets = new Map<string, Bucket>()

  function forgetFull(at: number): void {
    for (const [name, bucket] of buckets) {
      if (buckets.size <= namesMax && bucket.left + ((at - bucket.at) / 1000) * perSecond < burst) return
      buckets.delete(name)
    }
  }

  return {
    take(name) {
      const at = now()
      const known = buckets.get(name)
      const left = known === undefined ? burst : Math.min(burst, known.left + ((at - known.at) / 1000) * perSecond)
      buckets.delete(name)
      buckets.set(name, { left: left >= 1 ? left - 1 : left, at })
      forgetFull(at)
      return left >= 1
    },
    get size() {
      return buckets.size
    },
  }
}
