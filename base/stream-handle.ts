/**
 * The handle below a socket, plain or TLS, read into one buffer without a stream in between; `handle-writer.ts` writes it.
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

/** Begins to read, and notes it where the socket itself does; a socket that cannot is destroyed with the system's error. */
export function startReading(handle: StreamHandle, socket: net.Socket): void {
  handle.reading = true
  const error = handle.readStart()
  if (error !== 0) socket.destroy(systemError('read', error))
}

/** Stops reading, and notes it where the socket itself does. */
export function stopReading(handle: StreamHandle): void {
  handle.readStop()
  handle.reading = false
}

/** What a socket has read and nobody has taken. */
export function drained(socket: net.Socket): Buffer {
  const chunks: Buffer[] = []
  for (let chunk = socket.read() as Buffer | null; chunk !== null; chunk = socket.read() as Buffer | null) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** As large as one read of the kernel's socket buffer is worth; measured against 16 KiB and 256 KiB. */
const readBytes = 64 * 1024
/** What all handles read into, one after the other: what is in it has to be used or copied before the read's callback returns. */
const sharedReadBuffer = Buffer.allocUnsafeSlow(readBytes)
/** Short reads are of few lengths: each gets one view of the buffer that is made once. */
const viewBytesMax = 1024
const views: (Buffer | undefined)[] = Array.from({ length: viewBytesMax + 1 }, () => undefined)

/** The first bytes of the shared buffer. */
function readView(bytes: number): Buffer {
  if (bytes > viewBytesMax) return sharedReadBuffer.subarray(0, bytes)
  return (views[bytes] ??= sharedReadBuffer.subarray(0, bytes))
}

/**
 * Reads what comes next below the socket, once reading is started, and gives what the socket had read and nobody has taken. `onBytes` is told
 * of the rest, in the shared buffer; the end of the stream and errors stay the socket's own.
 */
export function takeOverReading(socket: net.Socket, handle: StreamHandle, onBytes: (bytes: Buffer) => void): Buffer {
  stopReading(handle)
  const leftover = drained(socket)
  stopReading(handle) // Reading the socket empty may have started it again.
  const { streamBaseState: state, kReadBytesOrError } = streamBinding!
  const onRareRead = handle.onread
  handle.useUserBuffer(sharedReadBuffer)
  handle.onread = (data) => {
    const read = state[kReadBytesOrError]!
    if (read <= 0) return onRareRead.call(handle, data) // The end of the stream, or an error.
    onBytes(readView(read))
    return undefined
  }
  return leftover
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
