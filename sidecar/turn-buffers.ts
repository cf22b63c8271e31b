/**
 * The buffers in which turns are gathered. A buffer is used again when every socket has let go of what it was given of it.
 *
 * A socket that does not drain pins the buffer that its last bytes lie in; the pool then makes another one, and keeps at most
 * `pooledMax` of them to look through: beyond that a pinned buffer is left to the garbage collector.
 */
import type { Peer } from './peer.ts'

/** Room for one full read of the kernel with its header, several times over. */
export const turnBufferBytes = 256 * 1024
const pooledMax = 4

type Pin = { readonly peer: Peer; readonly mark: number }

export type TurnBuffer = { readonly bytes: Buffer; readonly memory: ArrayBuffer; readonly pins: Pin[] }

/** The bytes of a buffer from `start` to `end`, made as cheaply as V8 can: `subarray` of a Buffer takes three times as long. */
export function viewOf({ memory }: TurnBuffer, start: number, end: number): Uint8Array {
  return new Uint8Array(memory, start, end - start)
}

export function createTurnBuffers() {
  const pool: TurnBuffer[] = []

  function isFree(buffer: TurnBuffer): boolean {
    for (let pin = buffer.pins.at(-1); pin !== undefined; pin = buffer.pins.at(-1)) {
      if (!pin.peer.hasLetGo(pin.mark)) return false
      buffer.pins.pop()
    }
    return true
  }

  return {
    take(): TurnBuffer {
      for (let index = 0; index < pool.length; index++) {
        const candidate = pool[index]!
        if (!isFree(candidate)) continue
        const last = pool.pop()!
        if (last !== candidate) pool[index] = last
        return candidate
      }
      const memory = new ArrayBuffer(turnBufferBytes)
      return { bytes: Buffer.from(memory), memory, pins: [] }
    },
    /** Gives a buffer back; `pins` say which sockets may still read from it. */
    give(buffer: TurnBuffer): void {
      if (pool.length >= pooledMax) pool.shift()
      pool.push(buffer)
    },
  }
}
