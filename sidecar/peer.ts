/**
 * One end of a connection as the data phase sees it: bytes go out, reading can be held back for several reasons at once.
 *
 * Counts what was handed to the socket, so that a buffer is used again only when the socket has let go of it: a TLS socket
 * completes each write later, and asking for a callback per write costs more than this arithmetic.
 */
import type net from 'node:net'

export type PauseReason = 'backlog' | 'spool'

export class Peer {
  readonly socket: net.Socket
  #handedBytes = 0
  #closed = false
  #paused = new Set<PauseReason>()

  constructor(socket: net.Socket) {
    this.socket = socket
    socket.once('close', () => {
      this.#closed = true
    })
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Hands bytes to the socket; false when it holds more than its high-water mark, until it emits `drain`. */
  forward(bytes: Buffer): boolean {
    if (this.#closed || !this.socket.writable) return true
    this.#handedBytes += bytes.length
    return this.socket.write(bytes)
  }

  /** Null when the kernel (or TLS) has all that was handed over; else a mark to give to `hasLetGo` later. */
  mark(): number | null {
    return this.#closed || this.socket.writableLength === 0 ? null : this.#handedBytes
  }

  hasLetGo(mark: number): boolean {
    return this.#closed || this.#handedBytes - this.socket.writableLength >= mark
  }

  pause(reason: PauseReason): void {
    if (this.#paused.size === 0) this.socket.pause()
    this.#paused.add(reason)
  }

  resume(reason: PauseReason): void {
    if (this.#paused.delete(reason) && this.#paused.size === 0 && !this.#closed) this.socket.resume()
  }
}
