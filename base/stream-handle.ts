/**
 * The handle below a socket, plain or TLS: read into one buffer, written without a stream in between.
 *
 * What this relies on is not public; `handleOf` looks for it and gives null where something is missing (docs/decisions/private-handle.md).
 */
import type net from 'node:net'
import { getSystemErrorName } from 'node:util'

/** A request to write, as the handle knows it: taken only while a write goes on behind the call. */
export type WriteRequest = { oncomplete: (status: number, handle: unknown, message?: string) => void }

export type StreamHandle = {
  reading: boolean
  onread: (this: unknown, data?: ArrayBuffer) => unknown
  useUserBuffer(buffer: Uint8Array): void
  readStart(): number
  readStop(): number
  /** 0, or the negated error of the system. */
  writeBuffer(request: WriteRequest, bytes: Uint8Array): number
  writev(request: WriteRequest, chunks: readonly Uint8Array[], areAllBuffers: true): number
}

export type StreamBinding = {
  readonly WriteWrap: new () => WriteRequest
  /** What the last call of a handle left behind, at the two places that follow. */
  readonly streamBaseState: Int32Array
  readonly kReadBytesOrError: number
  readonly kLastWriteWasAsync: number
}

export const streamBinding = findBinding()

function findBinding(): StreamBinding | null {
  try {
    const found = (process as unknown as { binding(name: string): Partial<StreamBinding> }).binding('stream_wrap')
    const isWhole =
      typeof found.WriteWrap === 'function' &&
      found.streamBaseState instanceof Int32Array &&
      typeof found.kReadBytesOrError === 'number' &&
      typeof found.kLastWriteWasAsync === 'number'
    return isWhole ? (found as StreamBinding) : null
  } catch {
    return null // A Node that has closed this door.
  }
}

/** The handle of a connected socket, or null where it lacks what is called here. */
export function handleOf(socket: net.Socket): StreamHandle | null {
  const handle = (socket as unknown as { _handle?: Partial<StreamHandle> | null })._handle
  if (streamBinding === null || handle === null || handle === undefined) return null
  const called = [handle.useUserBuffer, handle.readStart, handle.readStop, handle.writeBuffer, handle.writev, handle.onread]
  return called.every((each) => typeof each === 'function') ? (handle as StreamHandle) : null
}

/** An error as a socket would give it. `status` is the negated error of the system. */
export function systemError(call: 'read' | 'write', status: number, message?: string): Error {
  let name = String(status)
  try {
    name = getSystemErrorName(status)
  } catch {
    // Not one of the system's: TLS has errors of its own, whose message says more.
  }
  return Object.assign(new Error(message ?? `${call} ${name}`), { code: name, errno: status, syscall: call })
}
