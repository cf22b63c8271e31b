/**
 * Reads the fields of one message body from left to right, and never throws.
 *
 * A body that ends too early reads as zeros and empty ranges with `short` set; what to make of that is the decoder's matter.
 */
export class BodyReader {
  bytes: Buffer
  at: number
  end: number
  /** True once something was read that is not there. */
  short = false

  constructor(bytes: Buffer, start: number, end: number) {
    this.bytes = bytes
    this.at = start
    this.end = end
  }

  get left(): number {
    return this.end - this.at
  }

  uint8(): number {
    if (!this.#has(1)) return 0
    return this.bytes[this.at++]!
  }

  int16(): number {
    if (!this.#has(2)) return 0
    const { bytes, at } = this
    this.at += 2
    return ((bytes[at]! << 24) >> 16) | bytes[at + 1]!
  }

  /** Counts are unsigned for the server: up to 65,535 parameters. */
  uint16(): number {
    return this.int16() & 0xffff
  }

  int32(): number {
    if (!this.#has(4)) return 0
    const { bytes, at } = this
    this.at += 4
    return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!
  }

  /** Object ids are unsigned. */
  uint32(): number {
    return this.int32() >>> 0
  }

  /** Moves behind a zero-terminated text and gives the offset of its end; without a terminator all that is left is the text. */
  textEnd(): number {
    const found = this.bytes.indexOf(0, this.at)
    if (found < 0 || found >= this.end) {
      this.short = true
      this.at = this.end
      return this.end
    }
    this.at = found + 1
    return found
  }

  #has(count: number): boolean {
    if (this.end - this.at >= count) return true
    this.short = true
    this.at = this.end
    return false
  }
}
