/**
 * Medians, spreads and ratios of a benchmark's rounds.
 *
 * Pure; holds what it is given. An empty list is a defect of the caller, never a silent zero.
 */
import { invariant } from '../base/invariant.ts'

/** The middle of several rounds, and how far they lay apart. */
export type Spread = { readonly median: number; readonly min: number; readonly max: number }

/** The middle value; of an even count the mean of the middle two. */
export function median(values: readonly number[]): number {
  invariant(values.length > 0, 'a median needs at least one value')
  invariant(values.every(Number.isFinite), 'a median is taken of finite values')
  const sorted = values.toSorted((left, right) => left - right)
  const upper = sorted[sorted.length >> 1]!
  return sorted.length % 2 === 1 ? upper : (sorted[(sorted.length >> 1) - 1]! + upper) / 2
}

/** The median with the lowest and the highest value. */
export function spread(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) }
}

/**
 * How one contestant stood to another, round by round: only rounds in which both were measured count, and each is compared with
 * its own neighbour in time, so a machine that slows down in mid-run slows both sides of a ratio. Null without a common round.
 */
export function pairedRatio(ours: ReadonlyMap<number, number>, theirs: ReadonlyMap<number, number>): Spread | null {
  const ratios = [...ours].flatMap(([round, value]) => {
    const other = theirs.get(round)
    return other === undefined || other <= 0 ? [] : [value / other]
  })
  return ratios.length === 0 ? null : spread(ratios)
}

/** The smallest value that at least `share` (0 to 1) of all values do not exceed (nearest rank). */
export function percentile(values: readonly number[], share: number): number {
  invariant(values.length > 0, 'a percentile needs at least one value')
  invariant(share > 0 && share <= 1, 'a percentile is a share above 0 and up to 1')
  const sorted = values.toSorted((left, right) => left - right)
  return sorted[Math.ceil(share * sorted.length) - 1]!
}

/** `0.81 (0.58..0.96)`: the median, the lowest and the highest. */
export function drawSpread({ median: middle, min, max }: Spread, digits: number): string {
  return `${middle.toFixed(digits)} (${min.toFixed(digits)}..${max.toFixed(digits)})`
}
