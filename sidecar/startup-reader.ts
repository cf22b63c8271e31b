/**
 * Reads a socket piece by piece while a connection starts up, when the two sides still take turns.
 *
 * Holds at most `heldBytesMax` and then stops reading. What was read and not taken is given back by `stop`, so no byte is lost
 * when the data phase takes the socket over.
 */
import type net from 'node:net'
import { frameLength, headerBytes, type Side } from '../postgres/frame-header.ts'
import { KnownError } from '../base/errors.ts'

const heldBytesMax = 256 * 1024

/** The peer closed the connection, or it broke, before start-up was through. */
export class PeerGone extends KnownError {
  readonly code = 'PEER_GONE'
  readonly remedy = 'Look at the log of the peer.'
  readonly safeToRetry = true
}

/** A start-up message is longer than any client or server sends. */
export class StartupTooLong extends KnownError {
  readonly code = 'STARTUP_TOO_LONG'
  readonly remedy = 'Connect with a PostgreSQL client that speaks protocol 3.0 or 3.2.'
  readonly safeToRetry = true
}

export type StartupReader = ReturnType<typeof createStartupReader>

export function createStartupReader(socket: net.Socket) {
  let held: Buffer = Buffer.alloc(0)
  let ended: Error | null = null
  let wake: (() => void) | null = null

  const onData = (chunk: Buffer): void => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    if (held.length > heldBytesMax) socket.pause()
    wake?.()
  }
  const onGone = (error?: Error): void => {
    ended ??= new PeerGone('the connection was closed during start-up', { cause: error instanceof Error ? error : undefined })
    wake?.()
  }
  const onClose = (): void => onGone()
  socket.on('data', onData)
  socket.on('end', onClose)
  socket.on('close', onClose)
  socket.on('error', onGone)
  socket.resume()

  /** Waits until `count` bytes are held. @throws PeerGone, StartupTooLong */
  async function hold(count: number): Promise<void> {
    if (count > heldBytesMax) throw new StartupTooLong(`a start-up message claims ${count} bytes`)
    while (held.length < count) {
      if (ended !== null) throw ended
      await new Promise<void>((resolve) => {
        wake = resolve
      })
      wake = null
    }
  }

  return {
    /** The next `count` bytes, left where they are. */
    async peek(count: number): Promise<Buffer> {
      await hold(count)
      return held.subarray(0, count)
    },
    async take(count: number): Promise<Buffer> {
      await hold(count)
      const bytes = held.subarray(0, count)
      held = held.subarray(count)
      if (held.length <= heldBytesMax && ended === null) socket.resume()
      return bytes
    },
    /** The next whole message of the data phase's form. @throws BadFrame, PeerGone, StartupTooLong */
    async takeFrame(side: Side): Promise<Buffer> {
      const length = frameLength(side, await this.peek(headerBytes), 0)
      return this.take(length)
    },
    /** True when bytes have come that nobody has taken. */
    get hasUnread(): boolean {
      return held.length > 0
    },
    /** Ends reading: the socket is paused and without the reader's listeners; gives what was read and not taken. */
    stop(): Buffer {
      socket.pause()
      socket.off('data', onData)
      socket.off('end', onClose)
      socket.off('close', onClose)
      socket.off('error', onGone)
      return held
    },
  }
}
