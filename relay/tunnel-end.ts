/**
 * One end of a tunnel: bytes come in, bytes go out, and whoever does not take them is felt.
 *
 * Holds for a peer that does not read one write under way and one piece behind it (at most 64 KiB each), and then takes nothing. Reads the
 * handle below the socket into one buffer that all tunnels share, and gives a piece to the other side's kernel or cipher before the next is
 * read, so an idle tunnel holds no buffer and a busy one makes none. Under a Node without such handles the public stream does it, slower.
 */
import type net from 'node:net'
import tls from 'node:tls'
import { handleOf, streamBinding, systemError, type StreamHandle, type WriteRequest } from '../base/stream-handle.ts'

/** `bytes` is valid during the call only. */
export type OnBytes = (bytes: Uint8Array) => void

export type TunnelEnd = {
  readonly socket: net.Socket
  /** Called when more may be written, after `write` said no. */
  onDrain: () => void
  /** False when nothing more may be written until `onDrain`. */
  write(bytes: Uint8Array): boolean
  /** No bytes follow: what was written goes out first, then the peer sees the end. */
  end(): void
  pause(): void
  resume(): void
}

const readBytes = 64 * 1024
/** One record of TLS: as much as the cipher's side reads at once. */
const heldBytes = 16 * 1024
const sparesMax = 64

/** Nothing is read before the first `resume`. `leftover` is what the socket had read before. */
export function openTunnelEnd(socket: net.Socket, onBytes: OnBytes): { readonly end: TunnelEnd; readonly leftover: Buffer } {
  const handle = handleOf(socket)
  if (handle === null) {
    const leftover = drained(socket)
    return { end: new StreamEnd(socket, onBytes), leftover }
  }
  stopReading(handle)
  const leftover = drained(socket)
  stopReading(handle) // Reading the socket empty may have started it again.
  return { end: new HandleEnd(socket, handle, onBytes), leftover }
}

/** A pool of what a kernel that is full still reads from, behind the call. */
const spares: Buffer[] = []

class HandleEnd implements TunnelEnd {
  readonly socket: net.Socket
  onDrain: () => void = () => undefined
  readonly #handle: StreamHandle
  /** A TLS handle has enciphered what it was given when the call returns; the kernel may still read from it. */
  readonly #isTls: boolean
  #request: WriteRequest
  /** One that has completed is free again only once its own callback has returned. */
  #otherRequest: WriteRequest
  #isWriting = false
  #lent: Buffer | null = null
  #waiting: Uint8Array | null = null
  #isEnding = false
  #isClosed = false
  #needsDrain = false

  constructor(socket: net.Socket, handle: StreamHandle, onBytes: OnBytes) {
    this.socket = socket
    this.#handle = handle
    this.#isTls = socket instanceof tls.TLSSocket
    this.#request = this.#newRequest()
    this.#otherRequest = this.#newRequest()
    const { streamBaseState: state, kReadBytesOrError } = streamBinding!
    const onRareRead = handle.onread
    handle.useUserBuffer(sharedReadBuffer)
    handle.onread = (data) => {
      const read = state[kReadBytesOrError]!
      if (read <= 0) return onRareRead.call(handle, data) // The end of the stream, or an error.
      onBytes(sharedReadBuffer.subarray(0, read))
      return undefined
    }
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
    this.#handle.reading = true
    const error = this.#handle.readStart()
    if (error !== 0) this.socket.destroy(systemError('read', error))
  }

  #hand(bytes: Uint8Array): void {
    let given = bytes
    if (!this.#isTls) {
      const buffer = bytes.length <= heldBytes ? (spares.pop() ?? Buffer.allocUnsafeSlow(heldBytes)) : Buffer.allocUnsafeSlow(bytes.length)
      buffer.set(bytes)
      given = buffer.length === bytes.length ? buffer : buffer.subarray(0, bytes.length)
      this.#lent = buffer
    }
    const error = this.#handle.writeBuffer(this.#request, given)
    if (error !== 0) {
      this.#giveBack()
      this.socket.destroy(systemError('write', error))
    } else if (streamBinding!.streamBaseState[streamBinding!.kLastWriteWasAsync] === 0) {
      this.#giveBack()
    } else {
      this.#isWriting = true
      const used = this.#request
      this.#request = this.#otherRequest
      this.#otherRequest = used
    }
  }

  #giveBack(): void {
    if (this.#lent !== null && this.#lent.length === heldBytes && spares.length < sparesMax) spares.push(this.#lent)
    this.#lent = null
  }

  #newRequest(): WriteRequest {
    const request = new streamBinding!.WriteWrap()
    request.oncomplete = (status, _handle, message) => {
      if (status < 0) this.socket.destroy(systemError('write', status, message))
      else this.#completed()
    }
    return request
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

const sharedReadBuffer = Buffer.allocUnsafeSlow(readBytes)

class StreamEnd implements TunnelEnd {
  readonly socket: net.Socket
  onDrain: () => void = () => undefined

  constructor(socket: net.Socket, onBytes: OnBytes) {
    this.socket = socket
    socket.on('data', onBytes)
    socket.pause()
    socket.on('drain', () => this.onDrain())
  }

  write(bytes: Uint8Array): boolean {
    return !this.socket.writable || this.socket.write(bytes)
  }

  end(): void {
    this.socket.end()
  }

  pause(): void {
    this.socket.pause()
  }

  resume(): void {
    this.socket.resume()
  }
}

function stopReading(handle: StreamHandle): void {
  handle.readStop()
  handle.reading = false // What the socket itself notes beside `readStop`.
}

/** What a socket has read and nobody has taken. */
function drained(socket: net.Socket): Buffer {
  const chunks: Buffer[] = []
  for (let chunk = socket.read() as Buffer | null; chunk !== null; chunk = socket.read() as Buffer | null) chunks.push(chunk)
  return Buffer.concat(chunks)
}
