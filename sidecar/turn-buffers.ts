/**
 * The buffers in which turns are gathered. A buffer is used again when every socket has let go of what it was given of it.
 *
 * A socket that does not drain pins the buffer that its last bytes lie in; the pool then makes another one, and keeps at most
 * `pooledMax` of them to look through: beyond that a pinned buffer is left to the garbage collector.
 */
import type { Peer } from './peer.ts'

/** Room for one full read of the kernel with its header, several times over. */
export const turnBufferBytes = 256 * 1024
const pooledMax = 8

type Pin = { readonly peer: Peer; readonly mark: number }

export type TurnBuffer = { readonly bytes: Buffer; pins: Pin[] }

export function createTurnBuffers() {
  const pool: TurnBuffer[] = []

  function isFree(buffer: TurnBuffer): boolean {
    if (buffer.pins.length > 0) buffer.pins = buffer.pins.filter(({ peer, mark }) => !peer.hasLetGo(mark))
    return buffer.pins.length === 0
  }

  return {
    take(): TurnBuffer {
      for (let index = 0; index < pool.length; index++) {
        const candidate = pool[index]!
        if (isFree(candidate)) {
          pool.splice(index, 1)
          return candidate
        }
      }
      return { bytes: Buffer.allocUnsafeSlow(turnBufferBytes), pins: [] }
    },
    /** Gives a buffer back; `pins` say which sockets may still read from it. */
    give(buffer: TurnBuffer): void {
      if (pool.length >= pooledMax) pool.shift()
      pool.push(buffer)
    },
  }
}
