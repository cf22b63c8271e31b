/**
 * Keeps what was read and let go from piling up: V8 does not see how much memory stands behind the few small objects that buffers are to it.
 *
 * Counts for the whole process. A collection costs 5 to 10 ms, so one in `bytesBetween` is a percent or two of the reading.
 */
import { collectGarbage } from '../../base/collect-garbage.ts'

const bytesBetween = 24 * 1024 * 1024
let bytesSince = 0

/** To be told of every piece that is read from a store. */
export function accountRead(bytes: number): void {
  bytesSince += bytes
  if (bytesSince < bytesBetween) return
  bytesSince = 0
  collectGarbage('major')
}
