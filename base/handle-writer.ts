/**
 * Writes to the handle below a socket, one write at a time (docs/decisions/private-handle.md).
 *
 * A write that the kernel takes at once leaves nothing behind. A request of one that went on is free again only once its own callback has
 * returned, so two take turns.
 */
import type net from 'node:net'
import { streamBinding, systemError, type StreamHandle, type WriteRequest } from './stream-handle.ts'

export class HandleWriter {
  readonly #socket: net.Socket
  readonly #handle: StreamHandle
  #request: WriteRequest
  #otherRequest: WriteRequest

  /** `onCompleted` is told of each write that went on behind the call. */
  constructor(socket: net.Socket, handle: StreamHandle, onCompleted: () => void) {
    this.#socket = socket
    this.#handle = handle
    this.#request = createWriteRequest(socket, onCompleted)
    this.#otherRequest = createWriteRequest(socket, onCompleted)
  }

  /**
   * True when it goes on behind the call: until it is completed nothing more may be written, and the kernel may read from `bytes`. A write that fails
   * destroys the socket with the system's error.
   */
  write(bytes: Uint8Array | Uint8Array[]): boolean {
    const error = Array.isArray(bytes) ? this.#handle.writev(this.#request, bytes, true) : this.#handle.writeBuffer(this.#request, bytes)
    if (error !== 0) {
      this.#socket.destroy(systemError('write', error))
      return false
    }
    if (streamBinding!.streamBaseState[streamBinding!.kLastWriteWasAsync] === 0) return false
    const used = this.#request
    this.#request = this.#otherRequest
    this.#otherRequest = used
    return true
  }
}

function createWriteRequest(socket: net.Socket, onCompleted: () => void): WriteRequest {
  const request = new streamBinding!.WriteWrap()
  request.oncomplete = (status, _handle, message) => {
    if (status < 0) socket.destroy(systemError('write', status, message))
    else onCompleted()
  }
  return request
}
