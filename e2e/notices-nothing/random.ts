/** Random choices that a seed repeats. `STENO_SEED` runs one seed again. */

export type Random = {
  /** A whole number from 0 to below `limit`. */
  below(limit: number): number
  chance(probability: number): boolean
  pick<Item>(items: readonly Item[]): Item
  bytes(count: number): Buffer
}

/** Mulberry32: small, and good enough to choose by. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
  const below = (limit: number): number => next() % limit
  return {
    below,
    chance: (probability) => next() < probability * 2 ** 32,
    pick: (items) => items[below(items.length)]!,
    bytes: (count) => Buffer.from(Array.from({ length: count }, () => below(256))),
  }
}

/** The seeds to run: that of `STENO_SEED` alone, or `count` from one that differs in each run. */
export function seedsToRun(count: number): number[] {
  const given = process.env['STENO_SEED']
  if (given !== undefined && given !== '') return [Number(given) >>> 0]
  const first = Date.now() % 2 ** 31
  return Array.from({ length: count }, (_, index) => first + index)
}
