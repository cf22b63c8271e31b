/**
 * What the connection thread and the sealing thread tell each other without a message: five numbers in shared memory.
 *
 * Each is written by one side only once both run, and is a whole 64-bit float, which the machines steno runs on store and load in one piece.
 */

const slots = { written: 0, released: 1, oldestTime: 2, earlierBytes: 3, earlierTime: 4 } as const

export type SharedSpoolPosition = SharedArrayBuffer

export function createSharedSpoolPosition(): SharedSpoolPosition {
  return new SharedArrayBuffer(Float64Array.BYTES_PER_ELEMENT * Object.keys(slots).length)
}

export type SpoolPosition = PositionInMemory

export function spoolPosition(shared: SharedSpoolPosition): SpoolPosition {
  return new PositionInMemory(shared)
}

/** A class, since it is read and written with every write: V8 keeps an object that has accessors of its own as a dictionary. */
class PositionInMemory {
  readonly #numbers: Float64Array

  constructor(shared: SharedSpoolPosition) {
    this.#numbers = new Float64Array(shared)
  }

  /** Bytes of whole records in the spool since the process began; the sealer reads no further. */
  get writtenBytes(): number {
    return this.#numbers[slots.written]!
  }
  set writtenBytes(bytes: number) {
    this.#numbers[slots.written] = bytes
  }
  /** Bytes, from the same beginning, that a receipt of the store covers; a spool file before it is gone. */
  get releasedBytes(): number {
    return this.#numbers[slots.released]!
  }
  set releasedBytes(bytes: number) {
    this.#numbers[slots.released] = bytes
  }
  /** When the oldest record without a receipt was written, in milliseconds since the epoch; 0 when there is none. */
  get oldestTime(): number {
    return this.#numbers[slots.oldestTime]!
  }
  set oldestTime(time: number) {
    this.#numbers[slots.oldestTime] = time
  }
  /** Bytes of the spool files that earlier processes left and that are not recovered yet. */
  get earlierBytes(): number {
    return this.#numbers[slots.earlierBytes]!
  }
  /** When the oldest of them was written last, in milliseconds since the epoch; 0 when there is none. */
  get earlierTime(): number {
    return this.#numbers[slots.earlierTime]!
  }
  /** `files`: what earlier processes left, oldest first. */
  setEarlier(files: readonly { readonly bytes: number; readonly changedAt: number }[]): void {
    this.#numbers[slots.earlierBytes] = files.reduce((sum, file) => sum + file.bytes, 0)
    this.#numbers[slots.earlierTime] = files[0]?.changedAt ?? 0
  }
  /** Everything in the spool that no receipt covers. */
  get waitingBytes(): number {
    return this.#numbers[slots.written]! - this.#numbers[slots.released]! + this.#numbers[slots.earlierBytes]!
  }
}
