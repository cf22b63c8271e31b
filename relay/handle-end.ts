/**
 * An end of a tunnel that reads and writes the handle below its socket, plain or TLS (docs/decisions/private-handle.md).
 *
 * All ends read into one shared buffer, and a piece is given to the other side's kernel or cipher before the next is read, so an idle tunnel
 * holds no buffer and a busy one makes none. For a peer that does not read it holds one write under way and one piece behind it (at most
 * 64 KiB each), and then takes nothing.
 */
import type net from 'node:net'
import tls from 'node:tls'
import { HandleWriter } from '../base/handle-writer.ts'
import { startReading, stopReading, takeOverReading, type StreamHandle } from '../base/stream-handle.ts'
import type { OnBytes, OpenedEnd, TunnelEnd } from './tunnel-end.ts'

/** One record of TLS: as much as the cipher's side reads at once. */
const heldBytes = 16 * 1024
const sparesMax = 64

/** A pool of what a kernel that is full still reads from, behind the call. */
const spares: Buffer[] = []

export class HandleEnd implements TunnelEnd {
  readonly socket: net.Socket
  onDrain: () => void = () => undefined
  readonly #handle: StreamHandle
  /** A TLS handle has enciphered what it was given when the call returns; the kernel may still read from it. */
  readonly #isTls: boolean
  readonly #writer: HandleWriter
  #isWriting = false
  #lent: Buffer | null = null
  #waiting: Uint8Array | null = null
  #isEnding = false
  #isClosed = false
  #needsDrain = false

  static open(socket: net.Socket, handle: StreamHandle, onBytes: OnBytes): OpenedEnd {
    const leftover = takeOverReading(socket, handle, onBytes)
    return { end: new HandleEnd(socket, handle), leftover }
  }

  private constructor(socket: net.Socket, handle: StreamHandle) {
    this.socket = socket
    this.#handle = handle
    this.#isTls = socket instanceof tls.TLSSocket
    this.#writer = new HandleWriter(socket, handle, () => this.#completed())
    socket.once('close', () => {
      this.#isClosed = true
      this.#waiting = null
      this.#giveBack()
    })
    if (socket.writableLength === 0) return
    this.#isWriting = true // The answer to CONNECT is still on its way through the stream.
    socket.write('', () => this.#completed())
  }

  write(bytes: Uint8Array): boolean {
    if (this.#isClosed || this.#isEnding) return true
    if (this.#isWriting) {
      this.#waiting = this.#waiting === null ? Buffer.from(bytes) : Buffer.concat([this.#waiting, bytes])
    } else {
      this.#hand(bytes)
      // What is short is likely all for now, and stopping to read costs more than keeping one piece.
      if (!this.#isWriting || bytes.length < heldBytes) return true
    }
    this.#needsDrain = true
    return false
  }

  end(): void {
    if (this.#isEnding) return
    this.#isEnding = true
    if (!this.#isWriting) this.socket.end()
  }

  pause(): void {
    if (!this.#isClosed && this.#handle.reading) stopReading(this.#handle)
  }

  resume(): void {
    if (this.#isClosed || this.socket.destroyed || this.#handle.reading || this.socket.readableEnded) return
    startReading(this.#handle, this.socket)
  }

  #hand(bytes: Uint8Array): void {
    let given = bytes
    if (!this.#isTls) {
      const buffer = bytes.length <= heldBytes ? (spares.pop() ?? Buffer.allocUnsafeSlow(heldBytes)) : Buffer.allocUnsafeSlow(bytes.length)
      buffer.set(bytes)
      given = buffer.length === bytes.length ? buffer : buffer.subarray(0, bytes.length)
      this.#lent = buffer
    }
    this.#isWriting = this.#writer.write(given)
    if (!this.#isWriting) this.#giveBack()
  }

  #giveBack(): void {
    if (this.#lent !== null && this.#lent.length === heldBytes && spares.length < sparesMax) spares.push(this.#lent)
    this.#lent = null
  }

  #completed(): void {
    this.#isWriting = false
    this.#giveBack()
    if (this.#isClosed || this.socket.destroyed) return
    if (this.#waiting !== null) {
      const bytes = this.#waiting
      this.#waiting = null
      this.#hand(bytes)
    }
    if (this.#isWriting) return
    if (this.#isEnding) this.socket.end()
    if (!this.#needsDrain) return
    this.#needsDrain = false
    this.onDrain()
  }
}
