/**
 * Frees the buffers of segments that are stored. V8 starts a collection by the size of its own heap and lets up to 32 MB of dead
 * buffers lie beside it; sealing a large result makes almost nothing but such buffers.
 *
 * Runs in the sealing thread alone, where a pause of a millisecond holds nobody up.
 */
import { collectGarbage } from '../../base/collect-garbage.ts'

/** After this much was sealed, a collection of young objects; and after this much of all, since what outlived two of those is freed by no other. */
const youngBytes = 2 * 1024 * 1024
const allBytes = 16 * youngBytes

export function createGarbageCollection(): { sealed(bytes: number): void; quiet(): void } {
  let sinceYoung = 0
  let sinceAll = 0
  return {
    /** Called with the bytes that were read from the spool since the last time. */
    sealed(bytes) {
      sinceYoung += bytes
      sinceAll += bytes
      if (sinceYoung < youngBytes) return
      const isAll = sinceAll >= allBytes
      collectGarbage(isAll ? 'major' : 'minor')
      sinceYoung = 0
      if (isAll) sinceAll = 0
    },
    /** Called when there has been nothing to seal for a while. */
    quiet() {
      if (sinceAll === 0) return
      collectGarbage('major')
      sinceYoung = 0
      sinceAll = 0
    },
  }
}
