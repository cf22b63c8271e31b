/**
 * Bytes that are added piece by piece and taken as a whole, in chunks that all sessions share.
 *
 * Not a list of what was added: what a busy session adds in five seconds would be a hundred thousand objects for the garbage
 * collector to carry along. Not one growing buffer either: each doubling leaves the former one to be collected.
 */
const chunkBytes = 64 * 1024
/** Most sessions are small; their first bytes take a chunk of this size that nobody shares. */
const firstChunkBytes = 4 * 1024
/** Chunks that wait to be used again; more are left to the garbage collector. */
const pooledMax = 40
/** UTF-8 takes at most three bytes for a UTF-16 unit. */
const bytesPerUnitMax = 3

const pool: Buffer[] = []

export class ChunkedBytes {
  /** All but the last are full up to their length here. */
  #full: Buffer[] = []
  #last: Buffer | null = null
  #lastLength = 0
  #fullLength = 0

  get length(): number {
    return this.#fullLength + this.#lastLength
  }

  /** Adds a copy of `source` from `start` to `end`. */
  add(source: Buffer, start: number, end: number): void {
    for (let at = start; at < end;) {
      const last = this.#roomy()
      const count = source.copy(last, this.#lastLength, at, Math.min(end, at + last.length - this.#lastLength))
      this.#lastLength += count
      at += count
    }
  }

  addText(text: string): void {
    const last = this.#roomy()
    if (text.length * bytesPerUnitMax <= last.length - this.#lastLength) {
      this.#lastLength += last.write(text, this.#lastLength, 'utf8')
    } else {
      const bytes = Buffer.from(text, 'utf8')
      this.add(bytes, 0, bytes.length)
    }
  }

  /** What was added, in order; valid until the next `add` or `clear`. */
  pieces(): Buffer[] {
    return this.#last === null ? [] : [...this.#full, this.#last.subarray(0, this.#lastLength)]
  }

  clear(): void {
    for (const chunk of this.#last === null ? this.#full : [...this.#full, this.#last]) {
      if (chunk.length === chunkBytes && pool.length < pooledMax) pool.push(chunk)
    }
    this.#full = []
    this.#last = null
    this.#lastLength = 0
    this.#fullLength = 0
  }

  /** The last chunk, which has room for at least one byte. */
  #roomy(): Buffer {
    if (this.#last !== null && this.#lastLength < this.#last.length) return this.#last
    if (this.#last === null) {
      this.#last = Buffer.allocUnsafeSlow(firstChunkBytes)
    } else {
      this.#full.push(this.#last)
      this.#fullLength += this.#last.length
      this.#last = pool.pop() ?? Buffer.allocUnsafeSlow(chunkBytes)
    }
    this.#lastLength = 0
    return this.#last
  }
}
