/**
 * The statements of a session by their numbers, without holding them: for each number where its index line lies.
 *
 * Opening reads every index once, checks it against the manifest and keeps 12 bytes a statement; lines are read again when they
 * are asked for, through a small cache of pieces. So a million statements take 12 MB. Lines stand in the order in which statements
 * ended; a number whose statement has not ended yet has none.
 */
import { createHash } from 'node:crypto'
import { objectPieces } from '../../session/object-pieces.ts'
import { statementIndexKey } from '../../session/object-keys.ts'
import { readSessionManifest, RecordingDamaged, segmentsOf, type SegmentReference } from '../../session/session-content.ts'
import { BadDocument, parseJson } from '../../session/shape.ts'
import { indexLineBytesMax, type IndexLine } from '../../session/statement-index.ts'
import type { Store } from '../../session/stores/store.ts'
import { checkStatementLine, type StatementLine } from '../statement-line.ts'
import { createPieceCache } from './piece-cache.ts'
import { accountRead } from './read-account.ts'

/** Statements that may still run while later ones have ended; a number further ahead is not to be believed. */
const numbersAheadMax = 100_000
const lineEnd = 0x0a
/** What the arrays of offsets can hold. */
const offsetMax = 0xffff_ffff

export type StatementList = {
  /** The highest number. */
  readonly count: number
  /** True once the session's recording is whole: nothing more will come. */
  readonly complete: boolean
  has(number: number): boolean
  /** The line's bytes, or null when they have to be loaded first; valid until the next call. */
  peek(number: number): Buffer | null
  /** Makes `peek` answer for this number. @throws StoreUnavailable, RecordingDamaged */
  load(number: number): Promise<void>
  /** The statement, or null when there is none of this number (yet). @throws StoreUnavailable, RecordingDamaged */
  statement(number: number): Promise<StatementLine | null>
  /** Reads the indexes that were stored since; true when there was any, or when the session has become complete. */
  refresh(): Promise<boolean>
}

/** @throws RecordingDamaged when an index is not what the manifest says, or no index; StoreUnavailable */
export async function openStatementList(store: Store, session: string): Promise<StatementList> {
  /** By number: the segment, and the line's place in that segment's index. A length of 0 means none. */
  let segments = new Uint32Array(1024)
  let offsets = new Uint32Array(1024)
  let lengths = new Uint32Array(1024)
  let count = 0
  let lines = 0
  let segmentsRead = 0
  let complete = false
  const pieces = createPieceCache(store)
  /** Making a key takes longer than finding a line. */
  const keys: string[] = []

  function keyOf(segment: number): string {
    return (keys[segment] ??= statementIndexKey(session, segment))
  }

  function grow(number: number): void {
    if (number < lengths.length) return
    const capacity = Math.max(number + 1, lengths.length * 2)
    const grown = (array: Uint32Array): Uint32Array<ArrayBuffer> => {
      const larger = new Uint32Array(capacity)
      larger.set(array)
      return larger
    }
    segments = grown(segments)
    offsets = grown(offsets)
    lengths = grown(lengths)
  }

  function note(number: number, segment: number, offset: number, length: number): void {
    lines++
    if (number > lines + numbersAheadMax) throw new BadDocument(`statement ${number} stands where it cannot`)
    grow(number)
    if (lengths[number] !== 0) throw new BadDocument(`statement ${number} is there twice`)
    segments[number] = segment
    offsets[number] = offset
    lengths[number] = length
    count = Math.max(count, number)
  }

  /** False when there is no such index yet, which only an open session may say of its last. */
  async function readIndex({ number, index }: SegmentReference): Promise<boolean> {
    const key = keyOf(number)
    const digest = createHash('sha256')
    const numberOf = createNumberReader(session, number)
    let held: Buffer[] = []
    let heldBytes = 0
    let offset = 0
    let lineNumber = 0
    try {
      for await (const piece of objectPieces(store, key, (bytes) => index !== null && digest.update(bytes))) {
        accountRead(piece.length)
        let start = 0
        for (let end = piece.indexOf(lineEnd); end >= 0; end = piece.indexOf(lineEnd, start)) {
          lineNumber++
          const line = heldBytes === 0 ? null : Buffer.concat([...held, piece.subarray(start, end)])
          const length = heldBytes + end - start
          note(line === null ? numberOf(piece, start, end, lineNumber) : numberOf(line, 0, line.length, lineNumber), number, offset, length)
          offset += length + 1
          if (offset > offsetMax) throw new BadDocument('the index is longer than any that steno writes')
          held = []
          heldBytes = 0
          start = end + 1
        }
        if (start < piece.length) held.push(piece.subarray(start))
        heldBytes += piece.length - start
        if (heldBytes > indexLineBytesMax) throw new BadDocument(`line ${lineNumber + 1} of the index is too long`)
      }
      if (heldBytes > 0) throw new BadDocument(`line ${lineNumber + 1} of the index has no end`)
    } catch (error) {
      throw error instanceof BadDocument ? new RecordingDamaged(session, key, error.message, error) : error
    }
    if (index === null) return offset > 0 || (await store.head(key)) !== null
    if (digest.digest('hex') !== index.sha256)
      throw new RecordingDamaged(session, key, 'the statement index is not the one that the manifest names')
    return true
  }

  async function refresh(): Promise<boolean> {
    if (complete) return false
    // Asked first: when there is a manifest now, all segments are there.
    const whole = (await readSessionManifest(store, session)) !== null
    let changed = false
    for await (const reference of segmentsOf(store, session)) {
      if (reference.number <= segmentsRead) continue
      if (!(await readIndex(reference))) break
      segmentsRead = reference.number
      changed = true
    }
    complete = whole
    return changed || whole
  }

  const has = (number: number): boolean => number >= 1 && number <= count && lengths[number] !== 0

  function peek(number: number): Buffer | null {
    if (!has(number)) return null
    return pieces.peek(keyOf(segments[number]!), offsets[number]!, lengths[number]!)
  }

  async function load(number: number): Promise<void> {
    if (!has(number)) return
    const key = keyOf(segments[number]!)
    if (!(await pieces.load(key, offsets[number]!, lengths[number]!))) {
      throw new RecordingDamaged(session, key, 'a statement index has become shorter')
    }
  }

  await refresh()
  return {
    get count() {
      return count
    },
    get complete() {
      return complete
    },
    has,
    peek,
    load,
    async statement(number) {
      if (!has(number)) return null
      await load(number)
      const bytes = peek(number)
      const where = `statement ${number} of the index`
      try {
        return checkStatementLine(parseJson(bytes ?? Buffer.alloc(0), where) as IndexLine)
      } catch (error) {
        if (!(error instanceof BadDocument)) throw error
        throw new RecordingDamaged(session, keyOf(segments[number]!), error.message, error)
      }
    },
    refresh,
  }
}

/** Reads a line's number from its first bytes, where steno writes it; a line that is written otherwise is parsed. */
function createNumberReader(session: string, segment: number) {
  const head = Buffer.from(`{"session":"${session}","segment":${segment},"number":`)
  return (bytes: Buffer, start: number, end: number, lineNumber: number): number => {
    if (end - start > head.length && bytes.compare(head, 0, head.length, start, start + head.length) === 0) {
      let number = 0
      let at = start + head.length
      for (; at < end; at++) {
        const digit = bytes[at]! - 0x30
        if (digit < 0 || digit > 9 || number > 1e12) break
        number = number * 10 + digit
      }
      if (bytes[at] === 0x2c && number > 0) return number
    }
    const where = `line ${lineNumber} of the index`
    const line = parseJson(bytes.subarray(start, end), where) as Partial<IndexLine> | null
    if (line?.session !== session || line.segment !== segment) throw new BadDocument(`${where} is of another segment`)
    if (!Number.isSafeInteger(line.number) || line.number! < 1) throw new BadDocument(`${where} has no number`)
    return line.number!
  }
}
