/**
 * Walks the backend's bytes frame by frame on their way to the agent, without holding them.
 *
 * Checks each header, keeps the transaction status of the last ReadyForQuery, and counts them. Knows nothing of statements.
 */
import { frameLength, headerBytes, part } from './frame-header.ts'

const readyForQuery = 'Z'.charCodeAt(0)

/** Which messages are given whole: 1 always, 2 while the caller wants those that repeat statements. A table costs rows one look. */
const heldWhen = new Uint8Array(256)
for (const type of 'ENA') heldWhen[type.charCodeAt(0)] = 2
heldWhen['S'.charCodeAt(0)] = 1 | 2

/** What a consumer of the walk is given; both alias what was pushed unless stated. */
export type BackendSink = {
  /** Bytes to be recorded and forwarded as they came. */
  pass(bytes: Buffer): void
  /**
   * A whole ParameterStatus, and while `holdsEchoes` says so ErrorResponse, NoticeResponse and NotificationResponse; a buffer of its own. Longer ones
   * than may be held are passed.
   */
  message(frame: Buffer): void
}

export class BackendScanner {
  readonly #heldBytesMax: number
  /** A header cut by the end of a read: up to four bytes that wait for the rest. */
  readonly #header = Buffer.alloc(headerBytes)
  #headerHeld = 0
  #type = 0
  #remaining = 0
  #held: Buffer | null = null
  #heldBytes = 0
  #transactionStatus = 'I'.charCodeAt(0)
  #readyCount = 0

  constructor({ heldBytesMax }: { readonly heldBytesMax: number }) {
    this.#heldBytesMax = heldBytesMax
  }

  #endFrame(lastByte: number): void {
    if (this.#type === readyForQuery) {
      this.#transactionStatus = lastByte
      this.#readyCount++
    }
  }

  /** 'I', 'T' or 'E' as a character code, from the last ReadyForQuery. */
  get transactionStatus(): number {
    return this.#transactionStatus
  }
  /** ReadyForQuery messages so far. */
  get readyCount(): number {
    return this.#readyCount
  }
  /** True between two frames: the only places where a message of steno's own may stand. */
  get atBoundary(): boolean {
    return this.#remaining === 0 && this.#headerHeld === 0
  }

  /** @throws BadFrame at a header that cannot be; what came before it has been given to `sink` */
  push(bytes: Buffer, sink: BackendSink, holdsEchoes: boolean): void {
    const wanted = holdsEchoes ? 2 : 1
    let at = 0
    let passFrom = 0
    if (this.#headerHeld > 0) {
      const missing = Math.min(headerBytes - this.#headerHeld, bytes.length)
      bytes.copy(this.#header, this.#headerHeld, 0, missing)
      this.#headerHeld += missing
      if (this.#headerHeld < headerBytes) return
      this.#headerHeld = 0 // Also when the next line throws: nothing of this header was given on, so both sides still stand between two frames.
      const length = frameLength('backend', this.#header, 0)
      this.#type = this.#header[0]!
      this.#remaining = length - headerBytes
      at = missing
      passFrom = missing
      if ((heldWhen[this.#type]! & wanted) !== 0 && length <= this.#heldBytesMax) {
        this.#held = Buffer.allocUnsafe(length)
        this.#header.copy(this.#held)
        this.#heldBytes = headerBytes
      } else {
        sink.pass(Buffer.from(this.#header))
        if (this.#remaining === 0) this.#endFrame(0)
      }
    }
    for (;;) {
      if (this.#held !== null) {
        const count = Math.min(this.#remaining, bytes.length - at)
        bytes.copy(this.#held, this.#heldBytes, at, at + count)
        this.#heldBytes += count
        this.#remaining -= count
        at += count
        passFrom = at
        if (this.#remaining > 0) return
        const whole = this.#held
        this.#held = null
        sink.message(whole)
      } else if (this.#remaining > 0) {
        const count = Math.min(this.#remaining, bytes.length - at)
        this.#remaining -= count
        at += count
        if (this.#remaining > 0) break
        this.#endFrame(bytes[at - 1]!)
      }
      if (bytes.length - at < headerBytes) {
        if (at > passFrom) sink.pass(part(bytes, passFrom, at))
        this.#headerHeld = bytes.copy(this.#header, 0, at)
        return
      }
      let length: number
      try {
        length = frameLength('backend', bytes, at)
      } catch (error) {
        if (at > passFrom) sink.pass(part(bytes, passFrom, at))
        throw error
      }
      this.#type = bytes[at]!
      if ((heldWhen[this.#type]! & wanted) !== 0 && length <= this.#heldBytesMax) {
        if (at > passFrom) sink.pass(part(bytes, passFrom, at))
        passFrom = at
        this.#held = Buffer.allocUnsafe(length)
        this.#heldBytes = 0
        this.#remaining = length
      } else {
        at += headerBytes
        this.#remaining = length - headerBytes
        if (this.#remaining === 0) this.#endFrame(0)
      }
    }
    if (at > passFrom) sink.pass(part(bytes, passFrom, at))
  }
}
