/** Points in time and durations for people: UTC to the millisecond, and as many digits as help. */

/** `2026-11-21 09:00:00.123 UTC` for milliseconds since the epoch. */
export function shownTime(milliseconds: number): string {
  return `${new Date(milliseconds).toISOString().replace('T', ' ').replace('Z', '')} UTC`
}

/** `0.12 ms`, `45.6 ms`, `1.23 s`, `2 min 05 s`, `3 h 04 min`. */
export function shownDuration(milliseconds: number): string {
  if (milliseconds < 9.995) return `${milliseconds.toFixed(2)} ms`
  if (milliseconds < 999.5) return `${milliseconds.toFixed(1)} ms`
  if (milliseconds < 59_995) return `${(milliseconds / 1000).toFixed(2)} s`
  const seconds = Math.round(milliseconds / 1000)
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min ${two(seconds % 60)} s`
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`
}

/** `+0.123 s` after a session opened. */
export function shownOffset(milliseconds: number): string {
  return `${milliseconds < 0 ? '-' : '+'}${(Math.abs(milliseconds) / 1000).toFixed(3)} s`
}

function two(value: number): string {
  return String(value).padStart(2, '0')
}
