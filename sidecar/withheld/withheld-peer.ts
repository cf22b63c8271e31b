/**
 * The agent's side of a connection at recording level `stored`: what it is handed goes on only when the store has everything up to it.
 *
 * Holds copies, at most `withheldBytesMax` and one read beyond it; then `forward` says so, and the database is not read until there is room.
 * What is stored goes out at the ends of messages, so that an error can follow where the rest has to stay; only of a message longer than
 * `cutBytesMax` parts go out. Knows nothing of spools and stores but positions; `withholding.ts` says which of them is stored.
 */
import { collectGarbage } from '../../base/collect-garbage.ts'
import { invariant } from '../../base/invariant.ts'
import type { PauseReason, Peer } from '../peer.ts'
import { FrameWalk } from './frame-walk.ts'

export const withheldBytesMax = 1024 * 1024
const resumedBytesMax = withheldBytesMax / 2
/** A message up to this length is not begun before all of it is stored. */
const cutBytesMax = 64 * 1024
/** Small pieces go out in one write of about this size. */
const writeBytes = 64 * 1024
/** V8 lets 32 MB of dead copies lie before it looks. Collecting young objects takes 0.2 ms. */
const deadBytesMax = 4 * 1024 * 1024
let deadBytes = 0

type Piece = { readonly bytes: Buffer; readonly edge: number; readonly until: number; readonly since: number }

/** What all such peers of a recorder share. */
export type Withheld = {
  /** Of all together. */
  bytes: number
  /** Beyond this each connection that adds to it waits for the store before more is read for it. */
  readonly bytesMax: number
  /** True while results go on although the store does not have them, as the operator chose. */
  isPassing: boolean
  /** Behind the last record in the spool. */
  writtenBytes(): number
  /** Called when something begins to wait for the store. */
  waits(peer: WithheldPeer): void
  /** Called when bytes went on that the store does not have. */
  passed(peer: WithheldPeer, bytes: number): void
  gone(peer: WithheldPeer): void
}

export class WithheldPeer implements Peer {
  readonly socket: Peer['socket']
  onDrain: () => void = () => undefined
  readonly #inner: Peer
  readonly #shared: Withheld
  readonly #walk = new FrameWalk()
  /** In the order of their positions. */
  #unstored: Piece[] = []
  #unstoredBytes = 0
  /** Stored; the first `#readyBytes` of them may go out, the rest when its message is whole. */
  #stored: Buffer[] = []
  #storedBytes = 0
  #readyBytes = 0
  /** Whether what may go out ends where a message does. */
  #readyAtEdge = true
  #isInnerFull = false
  #needsDrain = false
  #ending = false
  #refused = false

  constructor(inner: Peer, shared: Withheld) {
    this.socket = inner.socket
    this.#inner = inner
    this.#shared = shared
    inner.onDrain = () => {
      this.#isInnerFull = false
      this.#deliver()
    }
    inner.socket.once('close', () => {
      this.#drop()
      shared.gone(this)
    })
  }

  get closed(): boolean {
    return this.#inner.closed
  }

  /** When the oldest of what waits for the store began to, as `performance.now` tells it; null when nothing does. */
  get waitsSince(): number | null {
    return this.#unstored[0]?.since ?? null
  }

  get unstoredBytes(): number {
    return this.#unstoredBytes
  }

  forward(bytes: Uint8Array): boolean {
    if (this.#ignores()) return true
    if (this.#shared.isPassing) {
      this.#shared.passed(this, bytes.length)
      return this.pass(bytes)
    }
    this.#take(bytes, this.#shared.writtenBytes())
    if (this.#unstored.length === 1) this.#shared.waits(this)
    return this.#hasRoom()
  }

  /** What is in no recording, as an answer of steno's own, is withheld for nothing but what is before it. */
  pass(bytes: Uint8Array): boolean {
    if (this.#ignores()) return true
    this.#take(bytes, this.#unstored.at(-1)?.until ?? 0)
    if (this.#unstored.length === 1) this.#settle(0)
    return this.#hasRoom()
  }

  #ignores(): boolean {
    return this.closed || this.#ending || this.#refused
  }

  #take(bytes: Uint8Array, until: number): void {
    const last = this.#unstored.at(-1)
    invariant(last === undefined || last.until <= until, 'the spool only grows')
    this.#unstored.push({ bytes: Buffer.from(bytes), edge: this.#walk.push(bytes), until, since: performance.now() })
    this.#unstoredBytes += bytes.length
    this.#shared.bytes += bytes.length
  }

  #hasRoom(): boolean {
    const heldBytes = this.#unstoredBytes + this.#storedBytes
    if (heldBytes < withheldBytesMax && this.#shared.bytes < this.#shared.bytesMax && !this.#isInnerFull) return true
    this.#needsDrain = true
    return false
  }

  /** The store has everything before this position of the spool. */
  storedTo(position: number): void {
    if (this.#unstored.length > 0 && this.#unstored[0]!.until <= position) this.#settle(position)
  }

  /** Lets go of what waits although the store does not have it. */
  letGo(): void {
    if (this.#unstoredBytes === 0) return
    this.#shared.passed(this, this.#unstoredBytes)
    this.#settle(Infinity)
  }

  /** Gives up what is not stored, and says why where a message can stand; what is stored has gone before it. Then it only ends. */
  refuse(error: Buffer): void {
    if (this.closed || this.#refused) return
    this.#refused = true
    this.#release(this.#unstoredBytes)
    this.#unstored = []
    this.#unstoredBytes = 0
    while (this.#readyBytes > 0) this.#inner.forward(this.#chunk())
    if (this.#readyAtEdge) this.#inner.forward(error)
    this.#drop()
    if (this.#ending) this.#inner.end()
  }

  #settle(position: number): void {
    let count = 0
    let readyBytes = 0
    for (; count < this.#unstored.length && this.#unstored[count]!.until <= position; count++) {
      const { bytes, edge } = this.#unstored[count]!
      this.#stored.push(bytes)
      if (edge >= 0) readyBytes = this.#storedBytes + edge
      this.#storedBytes += bytes.length
      this.#unstoredBytes -= bytes.length
    }
    this.#unstored.splice(0, count)
    if (readyBytes > 0) {
      this.#readyBytes = readyBytes
      this.#readyAtEdge = true
    }
    this.#deliver()
  }

  #deliver(): void {
    const restBytes = this.#storedBytes - this.#readyBytes
    // The rest of a message that the database never ended has no other end to wait for.
    if (restBytes > cutBytesMax || (restBytes > 0 && this.#ending && this.#unstored.length === 0)) {
      this.#readyBytes = this.#storedBytes
      this.#readyAtEdge = false
    }
    while (this.#readyBytes > 0 && !this.#isInnerFull) if (!this.#inner.forward(this.#chunk())) this.#isInnerFull = true
    if (this.#ending && this.#unstored.length === 0 && this.#storedBytes === 0) this.#inner.end()
    if (!this.#needsDrain || this.#isInnerFull) return
    const isLow = this.#unstoredBytes + this.#storedBytes <= resumedBytesMax && this.#shared.bytes < this.#shared.bytesMax
    if (!isLow && this.#unstoredBytes > 0) return
    this.#needsDrain = false
    this.onDrain()
  }

  /** Takes the next of what may go out. */
  #chunk(): Buffer {
    let count = 0
    let bytes = 0
    while (bytes < Math.min(writeBytes, this.#readyBytes)) bytes += this.#stored[count++]!.length
    const pieces = this.#stored.splice(0, count)
    const overBytes = bytes - this.#readyBytes
    if (overBytes > 0) {
      const last = pieces.pop()!
      pieces.push(last.subarray(0, last.length - overBytes))
      this.#stored.unshift(last.subarray(last.length - overBytes))
      bytes -= overBytes
    }
    this.#storedBytes -= bytes
    this.#readyBytes -= bytes
    this.#release(bytes)
    return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces, bytes)
  }

  #drop(): void {
    this.#release(this.#unstoredBytes + this.#storedBytes)
    this.#unstored = []
    this.#stored = []
    this.#unstoredBytes = this.#storedBytes = this.#readyBytes = 0
  }

  #release(bytes: number): void {
    this.#shared.bytes -= bytes
    deadBytes += bytes
    if (deadBytes < deadBytesMax) return
    deadBytes = 0
    collectGarbage('minor')
  }

  /** It was given copies of its own: nothing of the caller's is needed. */
  mark(): null {
    return null
  }

  hasLetGo(): boolean {
    return true
  }

  start(): void {
    this.#inner.start()
  }

  pause(reason: PauseReason): void {
    this.#inner.pause(reason)
  }

  resume(reason: PauseReason): void {
    this.#inner.resume(reason)
  }

  end(): void {
    if (this.#ending) return
    this.#ending = true
    this.#deliver()
  }
}
