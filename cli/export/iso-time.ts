/** Points in time as files have them: ISO 8601 in UTC, to the microsecond that a recording knows. */

/** `2026-11-21T09:00:00.123456Z` for milliseconds since the epoch. */
export function isoTime(milliseconds: number): string {
  const whole = Math.floor(milliseconds)
  const micro = Math.min(999, Math.floor((milliseconds - whole) * 1_000))
  return new Date(whole).toISOString().replace('Z', `${String(micro).padStart(3, '0')}Z`)
}
