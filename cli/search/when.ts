/** Times and durations as people type them: `2026-11-21`, `2026-11-21T09:00:00+01:00`, `2h` ago, `1500ms` long. */
import { InvalidArgumentError } from 'commander'

const unitMilliseconds: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
}
const duration = /^(\d{1,12}(?:\.\d{1,6})?)(ms|s|m|h|d|w)$/
/** A date, with or without a time, with or without a zone (ISO 8601, RFC 3339). */
const instant = /^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?$/i

/** In milliseconds. @throws InvalidArgumentError */
export function parseDuration(text: string): number {
  const milliseconds = durationOf(text)
  if (milliseconds === null) throw new InvalidArgumentError('It must be a duration with its unit, as 250ms, 2s, 5m, 2h, 7d or 1w.')
  return milliseconds
}

/**
 * Milliseconds since the epoch. A date alone is its midnight in UTC, as ECMAScript has it; a time without a zone is local time.
 * @throws InvalidArgumentError
 */
export function parseInstant(text: string, now: number = Date.now()): number {
  const ago = durationOf(text)
  const value = ago === null ? (instant.test(text) ? Date.parse(text) : Number.NaN) : now - ago
  if (!Number.isNaN(value)) return value
  throw new InvalidArgumentError(
    'It must be a date, a date and time, or how long ago, as 2026-11-21, 2026-11-21T09:00:00Z or 2h (ms, s, m, h, d, w).',
  )
}

function durationOf(text: string): number | null {
  const found = duration.exec(text)
  return found === null ? null : Number(found[1]) * unitMilliseconds[found[2]!]!
}
