/**
 * An end of a tunnel over the public stream interface of a socket: `data` events and `socket.write`. Slower than `handle-end.ts`, and made of
 * public API alone.
 */
import type net from 'node:net'
import { drained } from '../base/stream-handle.ts'
import type { OnBytes, OpenedEnd, TunnelEnd } from './tunnel-end.ts'

export class StreamEnd implements TunnelEnd {
  readonly socket: net.Socket
  onDrain: () => void = () => undefined

  static open(socket: net.Socket, onBytes: OnBytes): OpenedEnd {
    const leftover = drained(socket)
    return { end: new StreamEnd(socket, onBytes), leftover }
  }

  private constructor(socket: net.Socket, onBytes: OnBytes) {
    this.socket = socket
    socket.on('data', onBytes)
    socket.pause()
    socket.on('drain', () => this.onDrain())
  }

  write(bytes: Uint8Array): boolean {
    // The stream keeps what it is given; the other end may read its next piece over it.
    return !this.socket.writable || this.socket.write(Buffer.from(bytes))
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
