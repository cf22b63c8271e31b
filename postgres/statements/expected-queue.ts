/**
 * The queue of expected answers: first in, first out, with a look and a cut anywhere for the rare cases.
 */
import { weightOf, type Entry } from './entries.ts'

export class ExpectedQueue {
  #entries: Entry[] = []
  /** Entries before it were taken already; moved away now and then, so that taking costs nothing. */
  #first = 0
  /** What all entries keep alive, in characters. */
  weight = 0
  /** Entries that may answer COPY: queries and executions. */
  executions = 0

  get length(): number {
    return this.#entries.length - this.#first
  }

  get head(): Entry | undefined {
    return this.#entries[this.#first]
  }

  get last(): Entry | undefined {
    return this.length > 0 ? this.#entries[this.#entries.length - 1] : undefined
  }

  at(index: number): Entry | undefined {
    return this.#entries[this.#first + index]
  }

  push(entry: Entry): void {
    this.#entries.push(entry)
    this.#count(entry, 1)
  }

  /** Takes the head away. */
  shift(): Entry | undefined {
    const entry = this.#entries[this.#first]
    if (entry === undefined) return undefined
    this.#first++
    if (this.#first === this.#entries.length) {
      this.#entries.length = 0
      this.#first = 0
    } else if (this.#first >= 1024 && this.#first * 2 > this.#entries.length) {
      this.#entries.splice(0, this.#first)
      this.#first = 0
    }
    this.#count(entry, -1)
    return entry
  }

  insert(index: number, entry: Entry): void {
    this.#entries.splice(this.#first + index, 0, entry)
    this.#count(entry, 1)
  }

  remove(index: number, count: number): void {
    if (count === 0) return
    for (const entry of this.#entries.splice(this.#first + index, count)) this.#count(entry, -1)
  }

  /** The first index from `from` on whose entry fits, or -1. */
  find(fits: (entry: Entry) => boolean, from = 0): number {
    for (let index = this.#first + from; index < this.#entries.length; index++) {
      if (fits(this.#entries[index]!)) return index - this.#first
    }
    return -1
  }

  /** Takes the first `count` entries away, in order. */
  take(count: number): Entry[] {
    const taken: Entry[] = []
    for (let entry; taken.length < count && (entry = this.shift()) !== undefined;) taken.push(entry)
    return taken
  }

  #count(entry: Entry, sign: 1 | -1): void {
    this.weight += sign * weightOf(entry)
    if (entry.kind === 'query' || entry.kind === 'execute') this.executions += sign
  }
}
