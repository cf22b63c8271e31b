/** A point of a session as a person types it. Pure. */

/**
 * Milliseconds since the session opened: `90` and `+1.5` are seconds, `1:30` minutes and seconds, `1:02:03` with hours, and
 * `2026-11-21 09:00:00` a time in UTC. Null for anything else.
 */
export function readSessionTime(typed: string, opened: number): number | null {
  const text = typed.trim().replace(/^\+/, '')
  const parts = /^(?:(?:(\d{1,6}):)?(\d{1,6}):)?(\d{1,12}(?:\.\d{1,6})?)\s*s?$/.exec(text)
  if (parts !== null) {
    const [hours, minutes, seconds] = [parts[1] ?? '0', parts[2] ?? '0', parts[3]!].map(Number) as [number, number, number]
    return ((hours * 60 + minutes) * 60 + seconds) * 1000
  }
  const instant = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d(?:\.\d{1,6})?)?\s*(?:UTC|Z)?$/i.exec(text)
  if (instant === null) return null
  const milliseconds = Date.parse(`${instant[1]}T${instant[2]}${instant[3] ?? ':00'}Z`)
  return Number.isNaN(milliseconds) ? null : milliseconds - opened
}
