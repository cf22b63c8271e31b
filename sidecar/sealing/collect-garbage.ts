/**
 * Frees the buffers of segments that are stored. V8 starts a collection by the size of its own heap and lets up to 32 MB of dead
 * buffers lie beside it; sealing a large result makes almost nothing but such buffers.
 *
 * Runs in the sealing thread alone, where a pause of a millisecond holds nobody up.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** After this much was sealed, a collection of young objects; and after this much of all, since what outlived two of those is freed by no other. */
const youngBytes = 4 * 1024 * 1024
const allBytes = 16 * youngBytes

type Collect = (options: { readonly type: 'minor' | 'major' }) => void

export function createGarbageCollection(): { sealed(bytes: number): void; quiet(): void } {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as Collect
  setFlagsFromString('--no-expose-gc')
  let sinceYoung = 0
  let sinceAll = 0
  return {
    /** Called behind each receipt with the bytes that it covers. */
    sealed(bytes) {
      sinceYoung += bytes
      sinceAll += bytes
      if (sinceYoung < youngBytes) return
      const isAll = sinceAll >= allBytes
      collect({ type: isAll ? 'major' : 'minor' })
      sinceYoung = 0
      if (isAll) sinceAll = 0
    },
    /** Called when there has been nothing to seal for a while. */
    quiet() {
      if (sinceAll === 0) return
      collect({ type: 'major' })
      sinceYoung = 0
      sinceAll = 0
    },
  }
}
