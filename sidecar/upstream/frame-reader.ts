/**
 * Reads the server's start-up, message by message, from a wire that somebody else will read afterwards: no byte is lost between the two.
 *
 * Bounded: one message and the whole start-up each have a cap; what came and was not asked for yet counts. Every failure, the server's
 * silence included (the wire's signal), comes out of the read that waits, as AttemptFailed.
 */
import { messageOf } from '../../base/errors.ts'
import { frameLength, headerBytes } from '../../postgres/frame-header.ts'
import { AttemptFailed } from './errors.ts'
import type { Wire } from './wire.ts'

/** libpq takes authentication messages of 2,000 and errors of 30,000 bytes. */
export const startupFrameBytesMax = 64 * 1024
/** All that a server may say before it is ready: several hundred notices. */
export const startupBytesMax = 1024 * 1024

/** `frame` is the message as it came; `body` is the part behind its length. Both are the reader's own copy. */
export type ServerFrame = { readonly type: string; readonly frame: Buffer; readonly body: Buffer }

export function createFrameReader(wire: Wire) {
  let held: Buffer = Buffer.alloc(0)
  let consumedBytes = 0
  let failure: Error | null = null
  let wake: (() => void) | null = null
  const notify = (): void => {
    const waiting = wake
    wake = null
    waiting?.()
  }
  const fail = (error: Error): void => {
    failure ??= error
    notify()
  }
  const onEnd = (): void => fail(new Error('the server closed the connection'))
  // 'close' comes after every error; `errored` says which, as a timeout or a reset.
  const onClose = (): void => fail(wire.socket.errored ?? new Error('the server closed the connection'))
  wire.socket.on('error', fail).on('end', onEnd).on('close', onClose)
  if (wire.socket.destroyed) onClose()
  wire.receive((bytes) => {
    held = Buffer.concat([held, bytes])
    if (consumedBytes + held.length > startupBytesMax + startupFrameBytesMax) wire.hold() // `more` refuses it once what is whole was read.
    notify()
  })

  async function more(): Promise<void> {
    if (consumedBytes + held.length > startupBytesMax)
      throw new AttemptFailed('protocol', `the server sent more than ${startupBytesMax} bytes before it was ready`)
    if (failure !== null) throw new AttemptFailed('network', messageOf(failure), failure)
    await new Promise<void>((resolve) => (wake = resolve))
  }
  function take(length: number): Buffer {
    const taken = held.subarray(0, length)
    held = held.subarray(length)
    consumedBytes += length
    return taken
  }

  return {
    /** The single byte that answers an encryption request. @throws AttemptFailed */
    async byte(): Promise<string> {
      while (held.length < 1) await more()
      return take(1).toString('latin1')
    },
    /** The next whole message. @throws AttemptFailed when the server goes away or does not speak the protocol */
    async next(): Promise<ServerFrame> {
      while (held.length < headerBytes) await more()
      const length = lengthOf(held)
      while (held.length < length) await more()
      const frame = take(length)
      return { type: String.fromCharCode(frame[0]!), frame, body: frame.subarray(headerBytes) }
    },
    get bufferedBytes(): number {
      return held.length
    },
    /** Stops reading and takes every listener off. What came behind the last message is the caller's to go on with. */
    release(): Buffer {
      wire.hold()
      wire.socket.off('error', fail).off('end', onEnd).off('close', onClose)
      return held
    },
  }
}
export type FrameReader = ReturnType<typeof createFrameReader>

function lengthOf(bytes: Buffer): number {
  let length: number
  try {
    length = frameLength('backend', bytes, 0)
  } catch (error) {
    throw new AttemptFailed('protocol', `this is no PostgreSQL server: ${messageOf(error)}`, error)
  }
  if (length > startupFrameBytesMax)
    throw new AttemptFailed(
      'protocol',
      `the server sent a start-up message of ${length} bytes, more than the ${startupFrameBytesMax} that are allowed`,
    )
  return length
}
