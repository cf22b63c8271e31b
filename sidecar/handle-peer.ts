/**
 * A peer that reads and writes the handle below a socket, plain or TLS, past the stream machinery between the two.
 *
 * All handles read into one shared buffer, and a write that the kernel takes at once leaves nothing behind: no buffer, no object, no
 * callback. The socket keeps what is rare: the end of the stream, errors, closing.
 */
import type net from 'node:net'
import tls from 'node:tls'
import { HandleWriter } from '../base/handle-writer.ts'
import { startReading, stopReading, takeOverReading, type StreamHandle } from '../base/stream-handle.ts'
import type { OnBytes, PauseReason, Peer } from './peer.ts'

/** What may be held for a peer that does not take it before `forward` says so: that of Node's own sockets. */
const heldBytesMax = 64 * 1024

export class HandlePeer implements Peer {
  readonly socket: net.Socket
  onDrain: () => void = () => undefined
  readonly #handle: StreamHandle
  /** A TLS handle has enciphered or copied what it was given by the time that the call returns, but takes one write at a time. */
  readonly #letsGoAtOnce: boolean
  readonly #writer: HandleWriter
  /** Handed to the handle and not completed. Held here, since nothing else keeps it from the garbage collector. */
  #flying: Uint8Array | Uint8Array[] | null = null
  #flyingBytes = 0
  #queue: Uint8Array[] = []
  #queuedBytes = 0
  #handedBytes = 0
  #needsDrain = false
  #ending = false
  #closed = false
  #started = false
  readonly #holds = new Set<PauseReason>()

  static open(socket: net.Socket, handle: StreamHandle, onBytes: OnBytes): { readonly peer: Peer; readonly leftover: Buffer } {
    const leftover = takeOverReading(socket, handle, onBytes)
    return { peer: new HandlePeer(socket, handle), leftover }
  }

  private constructor(socket: net.Socket, handle: StreamHandle) {
    this.socket = socket
    this.#handle = handle
    this.#letsGoAtOnce = socket instanceof tls.TLSSocket
    this.#writer = new HandleWriter(socket, handle, () => this.#completed())
    socket.once('close', () => {
      this.#closed = true
      this.#flying = null
      this.#queue = []
    })
    if (socket.writableLength === 0) return
    // What the start-up wrote is still on its way through the stream.
    this.#flying = nothing
    socket.write(nothing, () => this.#completed())
  }

  get closed(): boolean {
    return this.#closed
  }

  forward(bytes: Uint8Array): boolean {
    if (this.#closed || this.#ending) return true
    this.#handedBytes += bytes.length
    if (this.#flying === null) {
      this.#write(bytes, bytes.length)
    } else {
      this.#queue.push(bytes)
      this.#queuedBytes += bytes.length
    }
    if (this.#flyingBytes + this.#queuedBytes < heldBytesMax) return true
    this.#needsDrain = true
    return false
  }

  pass(bytes: Uint8Array): boolean {
    return this.forward(bytes)
  }

  mark(): number | null {
    return this.#closed || this.#pinned() === 0 ? null : this.#handedBytes
  }

  hasLetGo(mark: number): boolean {
    return this.#closed || this.#handedBytes - this.#pinned() >= mark
  }

  /** Bytes that lie in buffers of the caller. */
  #pinned(): number {
    return this.#letsGoAtOnce ? this.#queuedBytes : this.#flyingBytes + this.#queuedBytes
  }

  start(): void {
    this.#started = true
    this.#readUnlessHeld()
  }

  pause(reason: PauseReason): void {
    this.#holds.add(reason)
    if (!this.#closed && this.#handle.reading) stopReading(this.#handle)
  }

  resume(reason: PauseReason): void {
    if (this.#holds.delete(reason)) this.#readUnlessHeld()
  }

  #readUnlessHeld(): void {
    if (!this.#started || this.#holds.size > 0 || this.#closed || this.#handle.reading || this.socket.readableEnded) return
    startReading(this.#handle, this.socket)
  }

  end(): void {
    if (this.#ending) return
    this.#ending = true
    if (this.#flying === null) this.socket.end()
  }

  #write(bytes: Uint8Array | Uint8Array[], length: number): void {
    if (!this.#writer.write(bytes)) return
    this.#flying = bytes
    this.#flyingBytes = length
  }

  #completed(): void {
    this.#flying = null
    this.#flyingBytes = 0
    if (this.#closed || this.socket.destroyed) return
    if (this.#queue.length > 0) {
      const [queue, length] = [this.#queue, this.#queuedBytes]
      this.#queue = []
      this.#queuedBytes = 0
      this.#write(queue, length)
    }
    if (this.#flying !== null) return
    if (this.#ending) this.socket.end()
    if (!this.#needsDrain) return
    this.#needsDrain = false
    this.onDrain()
  }
}

const nothing = Buffer.alloc(0)
