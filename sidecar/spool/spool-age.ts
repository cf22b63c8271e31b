/**
 * How old the oldest bytes are that wait for the store, as the one who writes them knows it: also while nobody reads the spool.
 *
 * Keeps a mark for each stretch of time in which something was written, `marksMax` of them over the age that is allowed; so the age is
 * known to that fraction of it, and memory is bounded. Knows nothing of records.
 */

const marksMax = 256

export function createSpoolAge({ millisecondsMax }: { readonly millisecondsMax: number }) {
  const stretchMilliseconds = millisecondsMax / marksMax
  /** `at`: the spool position of the first byte that was written at `time` or after it. Oldest first. */
  const marks: { readonly at: number; readonly time: number }[] = []

  return {
    /** Bytes were written from the spool position `at` on. */
    wrote(at: number, time: number): void {
      const last = marks[marks.length - 1]
      if (last !== undefined && Math.abs(time - last.time) < stretchMilliseconds) return
      if (marks.length >= 2 * marksMax) marks.splice(1, 1) // A clock that jumps back and forth; the oldest is the one that counts.
      marks.push({ at, time })
    },
    /** When the oldest of the bytes between these spool positions was written, or a stretch earlier; 0 when there are none. */
    oldest(releasedBytes: number, writtenBytes: number): number {
      if (releasedBytes >= writtenBytes) {
        marks.length = 0
        return 0
      }
      while (marks.length > 1 && marks[1]!.at <= releasedBytes) marks.shift()
      return marks[0]?.time ?? 0
    },
  }
}
