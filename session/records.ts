/**
 * The record: the unit of the spool and of a segment's body. `FORMAT.md` explains each byte.
 *
 * The same bytes that were written to the spool stand in the segment. Knows nothing of files or of what a payload means.
 */
import { crc32 } from 'node:zlib'
import { KnownError } from '../base/errors.ts'

/** Types below 128 must be understood by a reader; those from 128 on may be skipped. */
export const recordType = {
  sessionOpen: 1,
  frontend: 2,
  backend: 3,
  gap: 4,
  sessionClose: 5,
  decision: 6,
  /** From here on statements are judged by another policy. Readers that do not know it lose nothing else. */
  policyChange: 128,
  /** At recording level `stored`: results went on to the agent although the store did not have them, as the operator chose. */
  deliveredUnstored: 129,
  /** At recording level `statements`: what of a result went on to the agent and is not kept, in numbers (left-out.ts). */
  leftOut: 130,
} as const
export type RecordType = (typeof recordType)[keyof typeof recordType]
const skippableFrom = 128

export const recordFlag = {
  /** The payload holds a frame whose literals were replaced before it was written. */
  redacted: 1,
  /** The payload starts on a frame boundary whatever came before: the first of its side after a gap. */
  resynchronised: 2,
} as const

export const recordHeaderBytes = 24
/** One read of a socket, or one held frame, never more; a larger claim is damage. */
export const recordPayloadBytesMax = 16 * 1024 * 1024

export type SessionRecord = {
  readonly type: number
  readonly flags: number
  /** The session's number within its spool, from 1; the segment's header says which session that is. */
  readonly session: number
  /** Milliseconds since the epoch, with fractions to the microsecond. */
  readonly time: number
  /** Aliases the bytes that were decoded. */
  readonly payload: Buffer
}

/** The bytes end inside a record, or a record's checksum does not fit: a torn write or damage. */
export class BadRecord extends KnownError {
  readonly code = 'BAD_RECORD'
  readonly remedy = 'Run `steno verify` on the session; a torn last record of a spool is cut off by the next start.'
  readonly safeToRetry = true
  readonly offset: number
  constructor(offset: number, what: string) {
    super(`${what} at byte ${offset}`)
    this.offset = offset
  }
}

/**
 * What the checksum covers of a payload. It tells a torn or garbled spool from a sound one; what is stored is protected by SHA-256.
 * Over whole payloads it would cost a tenth of what a proxy spends on a large result.
 */
const checkedPayloadBytes = 4096

function checksum(bytes: Buffer, at: number, end: number): number {
  const from = at + 4
  const to = Math.min(end, at + recordHeaderBytes + checkedPayloadBytes)
  return crc32(new Uint8Array(bytes.buffer, bytes.byteOffset + from, to - from)) // `subarray` of a Buffer takes three times as long.
}

/**
 * Writes a record's header to `target` at `at`; the payload must already stand behind it, for the checksum.
 * Gives the offset behind the record.
 */
export function writeRecordHeader(
  target: Buffer,
  at: number,
  { type, flags, session, time, payloadBytes }: { type: number; flags: number; session: number; time: number; payloadBytes: number },
): number {
  const end = at + recordHeaderBytes + payloadBytes
  target.writeUInt32LE(payloadBytes, at + 4)
  target.writeUInt32LE(type | (flags << 8), at + 8)
  target.writeUInt32LE(session, at + 12)
  target.writeDoubleLE(time, at + 16)
  target.writeUInt32LE(checksum(target, at, end), at)
  return end
}

/** A whole record in a buffer of its own. For the rare ones: what crosses the wire is gathered without this copy. */
export function encodeRecord(record: SessionRecord): Buffer {
  const bytes = Buffer.allocUnsafe(recordHeaderBytes + record.payload.length)
  record.payload.copy(bytes, recordHeaderBytes)
  writeRecordHeader(bytes, 0, { ...record, payloadBytes: record.payload.length })
  return bytes
}

/** The whole length of the record at `at`, or null when `bytes` ends inside it. Checks no checksum. */
export function recordLength(bytes: Buffer, at: number): number | null {
  if (bytes.length - at < recordHeaderBytes) return null
  const payloadBytes = bytes.readUInt32LE(at + 4)
  if (payloadBytes > recordPayloadBytesMax) throw new BadRecord(at, `a record claims ${payloadBytes} bytes`)
  const length = recordHeaderBytes + payloadBytes
  return bytes.length - at < length ? null : length
}

/**
 * The record at `at`, checked.
 * @throws BadRecord when it is torn, damaged, or of a type this version must understand and does not
 */
export function decodeRecord(bytes: Buffer, at: number): SessionRecord {
  const length = recordLength(bytes, at)
  if (length === null) throw new BadRecord(at, 'the bytes end inside a record')
  checkRecord(bytes, at, length)
  return {
    type: bytes[at + 8]!,
    flags: bytes[at + 9]!,
    session: bytes.readUInt32LE(at + 12),
    time: bytes.readDoubleLE(at + 16),
    payload: bytes.subarray(at + recordHeaderBytes, at + length),
  }
}

function checkRecord(bytes: Buffer, at: number, length: number): void {
  if (checksum(bytes, at, at + length) !== bytes.readUInt32LE(at)) throw new BadRecord(at, 'a record does not fit its checksum')
  const type = bytes[at + 8]!
  if (type === 0 || (type > recordType.decision && type < skippableFrom)) throw new BadRecord(at, `a record has the unknown type ${type}`)
}

/**
 * Walks records without making an object for each: after `next` its fields describe the record that stands at `at`.
 * Reading a spool as fast as traffic fills it hangs on this.
 */
export class RecordCursor {
  readonly #bytes: Buffer
  type = 0
  flags = 0
  session = 0
  time = 0
  /** Of the record's first byte, and behind its last, in the bytes that are walked. */
  at = 0
  end = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  /** False at the end, or where the bytes end inside a record: `end` is then where that one begins. @throws BadRecord at damage, which leaves the cursor where it is */
  next(): boolean {
    const length = recordLength(this.#bytes, this.end)
    if (length === null) return false
    const at = this.end
    checkRecord(this.#bytes, at, length)
    this.at = at
    this.end = at + length
    this.type = this.#bytes[at + 8]!
    this.flags = this.#bytes[at + 9]!
    this.session = this.#bytes.readUInt32LE(at + 12)
    this.time = this.#bytes.readDoubleLE(at + 16)
    return true
  }

  /** Aliases the bytes that are walked. */
  get payload(): Buffer {
    return this.#bytes.subarray(this.at + recordHeaderBytes, this.end)
  }
}

/** Every record of `bytes`, in order. @throws BadRecord at the first that is not whole and sound */
export function* decodeRecords(bytes: Buffer): Generator<SessionRecord> {
  for (let at = 0; at < bytes.length;) {
    const record = decodeRecord(bytes, at)
    yield record
    at += recordHeaderBytes + record.payload.length
  }
}
