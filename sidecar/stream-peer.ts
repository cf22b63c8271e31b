/**
 * A peer over the public stream interface of a socket: `data` events and `socket.write`.
 *
 * Counts what was handed to the socket, so that a buffer is used again only when the socket has let go of it: asking for a
 * callback per write costs more than this arithmetic.
 */
import type net from 'node:net'
import { collectGarbage } from '../base/collect-garbage.ts'
import { drained } from '../base/stream-handle.ts'
import type { OnBytes, PauseReason, Peer } from './peer.ts'

/** Each read makes a buffer, and V8 lets 32 MB of dead ones lie before it looks. Collecting young objects takes 0.2 ms. */
const deadBytesMax = 4 * 1024 * 1024
let deadBytes = 0

export class StreamPeer implements Peer {
  readonly socket: net.Socket
  onDrain: () => void = () => undefined
  #handedBytes = 0
  #closed = false
  #started = false
  readonly #holds = new Set<PauseReason>()

  static open(socket: net.Socket, onBytes: OnBytes): { readonly peer: Peer; readonly leftover: Buffer } {
    const leftover = drained(socket)
    socket.on('data', (bytes: Buffer) => {
      onBytes(bytes)
      deadBytes += bytes.length
      if (deadBytes < deadBytesMax) return
      deadBytes = 0
      collectGarbage('minor')
    })
    socket.pause()
    return { peer: new StreamPeer(socket), leftover }
  }

  constructor(socket: net.Socket) {
    this.socket = socket
    socket.on('drain', () => this.onDrain())
    socket.once('close', () => {
      this.#closed = true
    })
  }

  get closed(): boolean {
    return this.#closed
  }

  forward(bytes: Uint8Array): boolean {
    if (this.#closed || !this.socket.writable) return true
    this.#handedBytes += bytes.length
    return this.socket.write(bytes)
  }

  pass(bytes: Uint8Array): boolean {
    return this.forward(bytes)
  }

  mark(): number | null {
    return this.#closed || this.socket.writableLength === 0 ? null : this.#handedBytes
  }

  hasLetGo(mark: number): boolean {
    return this.#closed || this.#handedBytes - this.socket.writableLength >= mark
  }

  start(): void {
    this.#started = true
    if (this.#holds.size === 0) this.socket.resume()
  }

  pause(reason: PauseReason): void {
    if (this.#holds.size === 0) this.socket.pause()
    this.#holds.add(reason)
  }

  resume(reason: PauseReason): void {
    if (this.#holds.delete(reason) && this.#holds.size === 0 && this.#started && !this.#closed) this.socket.resume()
  }

  end(): void {
    this.socket.end()
  }
}
