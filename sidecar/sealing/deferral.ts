/**
 * Whether sealing should wait because traffic is flowing: what is in the spool is safe, and on a machine with few processors a
 * thread that seals costs traffic more than its own time.
 *
 * Bounded twice: by what may wait, and by how long. Under load without end sealing runs at full speed from then on until it has
 * caught up.
 */
const busyBytesPerSecond = 256 * 1024
const waitingBytesMax = 256 * 1024 * 1024
const waitingMillisecondsMax = 8_000

/** `since`: when what waits already began to wait, in milliseconds since the epoch. */
export function createDeferral({ now = Date.now, since }: { readonly now?: () => number; readonly since?: number } = {}) {
  let seenBytes = 0
  let seenAt = now()
  /** When everything that had been written was read. */
  let caughtUpAt = since ?? seenAt
  let isCatchingUp = false

  return {
    /** Called before each round of sealing, a few times a second. `writtenBytes` and `readBytes` are spool positions. */
    holds(writtenBytes: number, readBytes: number): boolean {
      const at = now()
      const isBusy = writtenBytes - seenBytes > (busyBytesPerSecond * Math.max(1, at - seenAt)) / 1000
      seenBytes = writtenBytes
      seenAt = at
      const waitingBytes = writtenBytes - readBytes
      if (waitingBytes === 0) {
        caughtUpAt = at
        isCatchingUp = false
        return false
      }
      if (isCatchingUp || !isBusy) return false
      if (waitingBytes < waitingBytesMax && at - caughtUpAt < waitingMillisecondsMax) return true
      isCatchingUp = true
      return false
    },
  }
}
