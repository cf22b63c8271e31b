/**
 * Walks the backend's bytes frame by frame on their way to the agent, without holding them.
 *
 * Checks each header, keeps the transaction status of the last ReadyForQuery, and counts them. Knows nothing of statements.
 */
import { frameLength, headerBytes } from './frame-header.ts'

const readyForQuery = 'Z'.charCodeAt(0)
const errorResponse = 'E'.charCodeAt(0)
const noticeResponse = 'N'.charCodeAt(0)

/** What a consumer of the walk is given; both alias what was pushed unless stated. */
export type BackendSink = {
  /** Bytes to be recorded and forwarded as they came. */
  pass(bytes: Buffer): void
  /** A whole ErrorResponse or NoticeResponse, given only while `holdsMessages` says so; a buffer of its own. */
  message(frame: Buffer): void
}

export function createBackendScanner({ heldBytesMax }: { readonly heldBytesMax: number }) {
  /** A header cut by the end of a read: up to four bytes that wait for the rest. */
  const header = Buffer.alloc(headerBytes)
  let headerHeld = 0
  let type = 0
  let remaining = 0
  let held: Buffer | null = null
  let heldBytes = 0
  let transactionStatus = 'I'.charCodeAt(0)
  let readyCount = 0

  function endFrame(lastByte: number): void {
    if (type === readyForQuery) {
      transactionStatus = lastByte
      readyCount++
    }
  }

  return {
    /** 'I', 'T' or 'E' as a character code, from the last ReadyForQuery. */
    get transactionStatus(): number {
      return transactionStatus
    },
    /** ReadyForQuery messages so far. */
    get readyCount(): number {
      return readyCount
    },
    /** True between two frames: the only places where a message of steno's own may stand. */
    get atBoundary(): boolean {
      return remaining === 0 && headerHeld === 0
    },

    /** @throws BadFrame at a header that cannot be; what came before it has been given to `sink` */
    push(bytes: Buffer, sink: BackendSink, holdsMessages: boolean): void {
      let at = 0
      let passFrom = 0
      if (headerHeld > 0) {
        const wanted = Math.min(headerBytes - headerHeld, bytes.length)
        bytes.copy(header, headerHeld, 0, wanted)
        headerHeld += wanted
        if (headerHeld < headerBytes) return
        headerHeld = 0 // Also when the next line throws: nothing of this header was given on, so both sides still stand between two frames.
        const length = frameLength('backend', header, 0)
        type = header[0]!
        remaining = length - headerBytes
        at = wanted
        passFrom = wanted
        if (holdsMessages && (type === errorResponse || type === noticeResponse) && length <= heldBytesMax) {
          held = Buffer.allocUnsafe(length)
          header.copy(held)
          heldBytes = headerBytes
        } else {
          sink.pass(Buffer.from(header))
          if (remaining === 0) endFrame(0)
        }
      }
      for (;;) {
        if (held !== null) {
          const count = Math.min(remaining, bytes.length - at)
          bytes.copy(held, heldBytes, at, at + count)
          heldBytes += count
          remaining -= count
          at += count
          passFrom = at
          if (remaining > 0) return
          const whole = held
          held = null
          sink.message(whole)
        } else if (remaining > 0) {
          const count = Math.min(remaining, bytes.length - at)
          remaining -= count
          at += count
          if (remaining > 0) break
          endFrame(bytes[at - 1]!)
        }
        if (bytes.length - at < headerBytes) {
          if (at > passFrom) sink.pass(bytes.subarray(passFrom, at))
          headerHeld = bytes.copy(header, 0, at)
          return
        }
        let length: number
        try {
          length = frameLength('backend', bytes, at)
        } catch (error) {
          if (at > passFrom) sink.pass(bytes.subarray(passFrom, at))
          throw error
        }
        type = bytes[at]!
        if (holdsMessages && (type === errorResponse || type === noticeResponse) && length <= heldBytesMax) {
          if (at > passFrom) sink.pass(bytes.subarray(passFrom, at))
          passFrom = at
          held = Buffer.allocUnsafe(length)
          heldBytes = 0
          remaining = length
        } else {
          at += headerBytes
          remaining = length - headerBytes
          if (remaining === 0) endFrame(0)
        }
      }
      if (at > passFrom) sink.pass(bytes.subarray(passFrom, at))
    },
  }
}
