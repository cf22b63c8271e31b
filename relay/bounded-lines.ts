/**
 * Log lines that somebody else causes: so many of each name and in all, and the rest as one count now and then.
 *
 * Without it whoever may connect writes the log, and with it the disk, as fast as it likes.
 */
import type { Log } from '../base/log.ts'
import { createTokenBuckets } from '../base/token-bucket.ts'

export type BoundedLines = {
  /** `name` is whose line it is: a pod, or an address. */
  warn(name: string, fields: object, message: string): void
  stop(): void
}

const ofEach = { perSecond: 0.5, burst: 10 }
const ofAll = { perSecond: 20, burst: 200 }
const countMilliseconds = 10_000

export function createBoundedLines(log: Log): BoundedLines {
  const each = createTokenBuckets(ofEach)
  const all = createTokenBuckets(ofAll)
  let left = 0
  const timer = setInterval(() => {
    if (left > 0) log.warn({ lines: left }, `${left} refusals more were not logged, to keep the log small`)
    left = 0
  }, countMilliseconds)
  timer.unref()
  return {
    warn(name, fields, message) {
      if (each.take(name) && all.take('')) log.warn(fields, message)
      else left++
    },
    stop: () => clearInterval(timer),
  }
}
