/**
 * Walks the agent's bytes frame by frame on their way to the database.
 *
 * Query and Parse are held until they are whole, because they must be judged before anything of them is recorded or sent;
 * Bind too while somebody wants to see it. At most `heldBytesMax` of one frame is held: a longer one is given as its head
 * and then in pieces. Everything else is passed as it came, so COPY data of any size needs no memory.
 */
import { BadFrame, frameLength, headerBytes } from './frame-header.ts'

const query = 'Q'.charCodeAt(0)
const parse = 'P'.charCodeAt(0)
const bind = 'B'.charCodeAt(0)
const sync = 'S'.charCodeAt(0)
const functionCall = 'F'.charCodeAt(0)
const terminate = 'X'.charCodeAt(0)
const passwordMessage = 'p'.charCodeAt(0)

/** What a consumer of the walk is given. All alias what was pushed or a buffer of the scanner: copy what is kept. */
export type FrontendSink = {
  /** Bytes of frames that nobody judges. */
  pass(bytes: Buffer): void
  /** A whole Query, Parse or (when asked for) Bind. */
  judged(frame: Buffer): void
  /** The first `heldBytesMax` bytes of such a frame that is longer. */
  oversizedHead(head: Buffer): void
  oversizedPiece(piece: Buffer): void
}

export function createFrontendScanner({ heldBytesMax }: { readonly heldBytesMax: number }) {
  const header = Buffer.alloc(headerBytes)
  let headerHeld = 0
  let remaining = 0
  let held: Buffer | null = null
  let heldBytes = 0
  let oversized = false
  let expectedReady = 0
  let frames = 0
  let endsBatch = true
  let terminated = false

  function beginFrame(type: number): void {
    frames++
    endsBatch = type === query || type === sync || type === functionCall
    if (endsBatch) expectedReady++
    else if (type === terminate) terminated = true
  }

  /** Starts to hold a frame of `length` bytes; its bytes follow through `fill`. */
  function hold(length: number): void {
    held = Buffer.allocUnsafe(Math.min(length, heldBytesMax))
    heldBytes = 0
    remaining = length
  }

  /** Moves what `bytes` has of the held frame from `at` on; gives the offset behind it. */
  function fill(bytes: Buffer, at: number, sink: FrontendSink): number {
    const target = held!
    const count = Math.min(target.length - heldBytes, bytes.length - at)
    bytes.copy(target, heldBytes, at, at + count)
    heldBytes += count
    remaining -= count
    if (heldBytes === target.length) {
      held = null
      if (remaining === 0) sink.judged(target)
      else {
        oversized = true
        sink.oversizedHead(target)
      }
    }
    return at + count
  }

  const isJudged = (type: number, judgesBind: boolean): boolean => type === query || type === parse || (type === bind && judgesBind)

  return {
    /** ReadyForQuery messages that the frames seen so far ask for. A Sync during COPY IN is counted though the server ignores it. */
    get expectedReady(): number {
      return expectedReady
    },
    /** Takes back the expectation of answers that somebody else gave. */
    forgive(answers: number): void {
      expectedReady -= answers
    },
    get terminated(): boolean {
      return terminated
    },
    /** Frames that have begun so far. */
    get frames(): number {
      return frames
    },
    /** True when the last frame asked for ReadyForQuery: nothing before it waits for a Sync. */
    get endsBatch(): boolean {
      return endsBatch
    },
    get atBoundary(): boolean {
      return remaining === 0 && headerHeld === 0
    },

    /** @throws BadFrame at a header that cannot be; what came before it has been given to `sink` */
    push(bytes: Buffer, sink: FrontendSink, judgesBind: () => boolean): void {
      let at = 0
      if (headerHeld > 0) {
        const wanted = Math.min(headerBytes - headerHeld, bytes.length)
        bytes.copy(header, headerHeld, 0, wanted)
        headerHeld += wanted
        if (headerHeld < headerBytes) return
        headerHeld = 0 // Also when the next line throws: nothing of this header was given on, so both sides still stand between two frames.
        const length = dataPhaseLength(header, 0)
        at = wanted
        beginFrame(header[0]!)
        if (isJudged(header[0]!, judgesBind())) {
          hold(length)
          fill(header, 0, sink)
        } else {
          remaining = length - headerBytes
          sink.pass(Buffer.from(header))
        }
      }
      let passFrom = at
      const flush = (): void => {
        if (at > passFrom) sink.pass(bytes.subarray(passFrom, at))
      }
      for (;;) {
        if (remaining > 0) {
          if (held !== null) {
            at = fill(bytes, at, sink)
            passFrom = at
          }
          if (held === null && remaining > 0) {
            const from = at
            at += Math.min(remaining, bytes.length - at)
            remaining -= at - from
            if (oversized) {
              if (at > from) sink.oversizedPiece(bytes.subarray(from, at))
              passFrom = at
            }
          }
          if (remaining > 0) return flush()
          oversized = false
        }
        if (bytes.length - at < headerBytes) {
          flush()
          headerHeld = bytes.copy(header, 0, at)
          return
        }
        const type = bytes[at]!
        let length: number
        try {
          length = dataPhaseLength(bytes, at)
        } catch (error) {
          flush()
          throw error
        }
        if (!isJudged(type, judgesBind())) {
          beginFrame(type)
          at += headerBytes
          remaining = length - headerBytes
          continue
        }
        flush()
        beginFrame(type)
        if (length <= bytes.length - at && length <= heldBytesMax) {
          sink.judged(bytes.subarray(at, at + length))
          at += length
        } else {
          hold(length)
        }
        passFrom = at
      }
    },
  }
}

/** The server refuses a password behind the start-up as an unknown type; seen here first, it is never recorded. @throws BadFrame */
function dataPhaseLength(bytes: Buffer, at: number): number {
  if (bytes[at] === passwordMessage) throw new BadFrame('the frontend sent a password where none was asked for')
  return frameLength('frontend', bytes, at)
}
