/**
 * Walks the agent's bytes frame by frame on their way to the database.
 *
 * Query and Parse are held until they are whole, because they must be judged before anything of them is recorded or sent;
 * Bind too while somebody wants to see it. At most `heldBytesMax` of one frame is held, and no more than `uncountedBytesMax` where the
 * allowance that several scanners may share is used up: a longer one is given as its head and then in pieces. Everything else is passed as it
 * came, so COPY data of any size needs no memory.
 */
import { BadFrame, frameLength, headerBytes, part } from './frame-header.ts'

const query = 'Q'.charCodeAt(0)
const parse = 'P'.charCodeAt(0)
const bind = 'B'.charCodeAt(0)
const sync = 'S'.charCodeAt(0)
const functionCall = 'F'.charCodeAt(0)
const terminate = 'X'.charCodeAt(0)
const passwordMessage = 'p'.charCodeAt(0)

/** What of a frame is held without a word to the allowance: enough for nearly every statement. */
const uncountedBytesMax = 16 * 1024

/** Says how much several scanners may hold together. */
export type HoldingAllowance = {
  /** False when so many bytes are not to be had now. */
  take(bytes: number): boolean
  /** What was taken is not held by the scanner any more. It may have been given to the sink just now. */
  give(bytes: number): void
}
const unlimited: HoldingAllowance = { take: () => true, give: () => undefined }

/** What a consumer of the walk is given. All alias what was pushed or a buffer of the scanner: copy what is kept. */
export type FrontendSink = {
  /** Bytes of frames that nobody judges. */
  pass(bytes: Buffer): void
  /** A whole Query, Parse or (when asked for) Bind. */
  judged(frame: Buffer): void
  /** The first bytes of such a frame that is longer than what may be held. */
  oversizedHead(head: Buffer): void
  oversizedPiece(piece: Buffer): void
}

export class FrontendScanner {
  readonly #heldBytesMax: number
  readonly #allowance: HoldingAllowance
  /** Taken from the allowance for the frame that is held. */
  #takenBytes = 0
  readonly #header = Buffer.alloc(headerBytes)
  #headerHeld = 0
  #remaining = 0
  #held: Buffer | null = null
  #heldBytes = 0
  #oversized = false
  #expectedReady = 0
  #frames = 0
  #statements = 0
  #endsBatch = true
  /** What `mayBeSkipped` says of the frame that comes next. */
  #skipsNext = false
  #mayBeSkipped = false
  #terminated = false

  constructor({ heldBytesMax, allowance = unlimited }: { readonly heldBytesMax: number; readonly allowance?: HoldingAllowance }) {
    this.#heldBytesMax = heldBytesMax
    this.#allowance = allowance
  }

  #beginFrame(type: number): void {
    this.#frames++
    if (type === query || type === bind || type === functionCall) this.#statements++
    this.#endsBatch = type === query || type === sync || type === functionCall
    this.#mayBeSkipped = this.#skipsNext
    if (this.#endsBatch) {
      this.#expectedReady++
      // While it skips, the server skips all but Sync.
      if (type === sync) this.#skipsNext = false
    } else {
      this.#skipsNext = true
      if (type === terminate) this.#terminated = true
    }
  }

  /** Starts to hold a frame of `length` bytes; its bytes follow through `fill`. */
  #hold(length: number): void {
    const bytes = Math.min(length, this.#heldBytesMax)
    if (bytes > uncountedBytesMax && this.#allowance.take(bytes)) {
      this.#takenBytes = bytes
      this.#held = Buffer.allocUnsafeSlow(bytes) // Memory of its own, so that it can be freed.
    } else {
      this.#held = Buffer.allocUnsafe(Math.min(bytes, uncountedBytesMax))
    }
    this.#heldBytes = 0
    this.#remaining = length
  }

  /** Moves what `bytes` has of the held frame from `at` on; gives the offset behind it. */
  #fill(bytes: Buffer, at: number, sink: FrontendSink): number {
    const target = this.#held!
    const count = Math.min(target.length - this.#heldBytes, bytes.length - at)
    bytes.copy(target, this.#heldBytes, at, at + count)
    this.#heldBytes += count
    this.#remaining -= count
    if (this.#heldBytes === target.length) {
      this.#held = null
      if (this.#remaining === 0) sink.judged(target)
      else {
        this.#oversized = true
        sink.oversizedHead(target)
      }
      this.#giveBack(target)
    }
    return at + count
  }

  /** V8 would let tens of MiB of them lie before it looks for garbage. */
  #giveBack(held: Buffer): void {
    if (this.#takenBytes === 0) return
    const bytes = this.#takenBytes
    this.#takenBytes = 0
    ;(held.buffer as ArrayBuffer).transfer(0)
    this.#allowance.give(bytes)
  }

  /** Lets go of what is held of a frame whose rest will not come. */
  abandon(): void {
    if (this.#held !== null) this.#giveBack(this.#held)
    this.#held = null
  }

  /** ReadyForQuery messages that the frames seen so far ask for. A Sync during COPY IN is counted though the server ignores it. */
  get expectedReady(): number {
    return this.#expectedReady
  }
  /** Takes back the expectation of answers that somebody else gave. */
  forgive(answers: number): void {
    this.#expectedReady -= answers
  }
  get terminated(): boolean {
    return this.#terminated
  }
  /** Frames that have begun so far. */
  get frames(): number {
    return this.#frames
  }
  /** Query, Bind and FunctionCall messages so far: each begins a statement, a Query of several counts once. */
  get statements(): number {
    return this.#statements
  }
  /** True when the last frame asked for ReadyForQuery: nothing before it waits for a Sync. */
  get endsBatch(): boolean {
    return this.#endsBatch
  }
  /** True when the server may skip the frame that began last: one before it, since the last Sync, may have failed. */
  get mayBeSkipped(): boolean {
    return this.#mayBeSkipped
  }
  get atBoundary(): boolean {
    return this.#remaining === 0 && this.#headerHeld === 0
  }

  /** @throws BadFrame at a header that cannot be; what came before it has been given to `sink` */
  push(bytes: Buffer, sink: FrontendSink, judgesBind: () => boolean): void {
    let at = 0
    if (this.#headerHeld > 0) {
      const wanted = Math.min(headerBytes - this.#headerHeld, bytes.length)
      bytes.copy(this.#header, this.#headerHeld, 0, wanted)
      this.#headerHeld += wanted
      if (this.#headerHeld < headerBytes) return
      this.#headerHeld = 0 // Also when the next line throws: nothing of this header was given on, so both sides still stand between two frames.
      const length = dataPhaseLength(this.#header, 0)
      at = wanted
      this.#beginFrame(this.#header[0]!)
      if (isJudged(this.#header[0]!, judgesBind())) {
        this.#hold(length)
        this.#fill(this.#header, 0, sink)
      } else {
        this.#remaining = length - headerBytes
        sink.pass(Buffer.from(this.#header))
      }
    }
    let passFrom = at
    const flush = (): void => {
      if (at > passFrom) sink.pass(part(bytes, passFrom, at))
    }
    for (;;) {
      if (this.#remaining > 0) {
        if (this.#held !== null) {
          at = this.#fill(bytes, at, sink)
          passFrom = at
        }
        if (this.#held === null && this.#remaining > 0) {
          const from = at
          at += Math.min(this.#remaining, bytes.length - at)
          this.#remaining -= at - from
          if (this.#oversized) {
            if (at > from) sink.oversizedPiece(bytes.subarray(from, at))
            passFrom = at
          }
        }
        if (this.#remaining > 0) return flush()
        this.#oversized = false
      }
      if (bytes.length - at < headerBytes) {
        flush()
        this.#headerHeld = bytes.copy(this.#header, 0, at)
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
        this.#beginFrame(type)
        at += headerBytes
        this.#remaining = length - headerBytes
        continue
      }
      flush()
      this.#beginFrame(type)
      if (length <= bytes.length - at && length <= this.#heldBytesMax) {
        sink.judged(bytes.subarray(at, at + length))
        at += length
      } else {
        this.#hold(length)
      }
      passFrom = at
    }
  }
}

const isJudged = (type: number, judgesBind: boolean): boolean => type === query || type === parse || (type === bind && judgesBind)

/** The server refuses a password behind the start-up as an unknown type; seen here first, it is never recorded. @throws BadFrame */
function dataPhaseLength(bytes: Buffer, at: number): number {
  if (bytes[at] === passwordMessage) throw new BadFrame('the frontend sent a password where none was asked for')
  return frameLength('frontend', bytes, at)
}
