/**
 * A segment: a sealed, immutable, compressed part of one session. `FORMAT.md` explains each byte.
 *
 * File: magic, length of the header (32 bits, little-endian), header as JSON, body. The body is one zstd frame
 * over the records exactly as the spool held them. Both directions hold one whole segment, so memory is bounded by
 * `segmentRawBytesMax` twice. Knows nothing of where segments are kept.
 */
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { KnownError, messageOf } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'
import { sha256Of } from './digest.ts'
import { checkIdentity, type SessionIdentity } from './identity.ts'
import { isRecorderId } from './object-keys.ts'
import { sessionIdCheck } from './session-id.ts'
import {
  BadDocument,
  flag,
  isObject,
  matching,
  natural,
  nullable,
  object,
  oneOf,
  ordinal,
  parseJson,
  sha256Hex,
  time,
  type Check,
} from './shape.ts'

export const segmentVersion = 1
export const segmentMagic = Buffer.from('STENOSEG', 'latin1')
const fixedBytes = segmentMagic.length + 4
/** The identity with all its server parameters and attested facts is a few KiB. */
export const segmentHeaderBytesMax = 1024 * 1024
/** What a body may grow to when decompressed: a few of the largest records. A reader refuses a larger claim unread. */
export const segmentRawBytesMax = 64 * 1024 * 1024
/** zstd's worst case adds under 0.5 %; what is larger than this cannot be a segment. */
export const segmentBytesMax = segmentRawBytesMax + 1024 * 1024 + segmentHeaderBytesMax

export type SegmentHeader = {
  readonly version: typeof segmentVersion
  readonly session: string
  /** From 1. */
  readonly number: number
  readonly recorder: string
  readonly compression: 'zstd'
  readonly encryption: 'none'
  /** SHA-256 of the whole file of the segment before; null for the first. */
  readonly previous: string | null
  /** Ordinals in the session, from 0; `to` is excluded. */
  readonly records: { readonly from: number; readonly to: number }
  /** Length of the body when decompressed. */
  readonly rawBytes: number
  /** Times of the first and the last record, milliseconds since the epoch. */
  readonly firstTime: number
  readonly lastTime: number
  /** The spool's position behind the last record: recovery starts there. */
  readonly spoolEnd: { readonly file: number; readonly offset: number }
  /** True for the segment that ends its session. */
  readonly last: boolean
  /** True when a later start of the recorder sealed it for a process that was killed. */
  readonly recovered: boolean
  readonly identity: SessionIdentity
}

export type SegmentFields = Omit<SegmentHeader, 'version' | 'compression' | 'encryption' | 'rawBytes'>
export type SealedSegment = { readonly bytes: Buffer; readonly sha256: string; readonly rawBytes: number }
export type OpenedSegment = { readonly header: SegmentHeader; readonly body: Buffer; readonly sha256: string }

/** The bytes are no segment, or a damaged one. */
export class BadSegment extends KnownError {
  readonly code = 'BAD_SEGMENT'
  readonly remedy = 'Run `steno verify` on the session: it names what was changed.'
  readonly safeToRetry = true
}

/** A segment of a version, compression or encryption that this release cannot read. */
export class SegmentNotReadable extends KnownError {
  readonly code = 'SEGMENT_NOT_READABLE'
  readonly remedy = 'Read it with the release of steno that wrote it, or a later one.'
  readonly safeToRetry = true
}

const checkHeader: Check<SegmentHeader> = object<SegmentHeader>({
  version: oneOf(segmentVersion),
  session: sessionIdCheck,
  number: ordinal,
  recorder: matching(/^[0-9a-f]{32}$/, 'a recorder id'),
  compression: oneOf('zstd'),
  encryption: oneOf('none'),
  previous: nullable(sha256Hex),
  records: object<SegmentHeader['records']>({ from: natural, to: ordinal }),
  rawBytes: ordinal,
  firstTime: time,
  lastTime: time,
  spoolEnd: object<SegmentHeader['spoolEnd']>({ file: natural, offset: natural }),
  last: flag,
  recovered: flag,
  identity: checkIdentity,
})

/** Where a body is put together before it is compressed, over and over: a buffer of its own for each would be megabytes of garbage. */
let scratch: Buffer = Buffer.alloc(0)
const scratchBytesMax = 8 * 1024 * 1024

function joined(pieces: readonly Buffer[]): Buffer {
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0)
  if (pieces.length === 1 || length > scratchBytesMax) return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)
  if (scratch.length < length) scratch = Buffer.allocUnsafeSlow(length)
  let at = 0
  for (const piece of pieces) at += piece.copy(scratch, at)
  return scratch.subarray(0, length)
}

/** Seals the records in `body`, which stand there one behind the other. `level` is zstd's; 1 costs about 3 ms a MiB. */
export function sealSegment(
  fields: SegmentFields,
  body: readonly Buffer[],
  { level = 1 }: { readonly level?: number } = {},
): SealedSegment {
  const raw = joined(body)
  invariant(raw.length > 0 && raw.length <= segmentRawBytesMax, 'a segment holds at least one record and at most segmentRawBytesMax')
  invariant(fields.records.to > fields.records.from, 'a segment holds at least one record')
  invariant((fields.number === 1) === (fields.previous === null), 'every segment but the first names the one before')
  invariant(isRecorderId(fields.recorder), 'a recorder id is 32 hex digits')
  const { session, number, recorder, previous, records, firstTime, lastTime, spoolEnd, last, recovered, identity } = fields
  // Written out, so that the order of the fields in the file does not hang on the caller.
  const header: SegmentHeader = {
    version: segmentVersion,
    session,
    number,
    recorder,
    compression: 'zstd',
    encryption: 'none',
    previous,
    records: { from: records.from, to: records.to },
    rawBytes: raw.length,
    firstTime,
    lastTime,
    spoolEnd: { file: spoolEnd.file, offset: spoolEnd.offset },
    last,
    recovered,
    identity,
  }
  const headerBytes = Buffer.from(JSON.stringify(header), 'utf8')
  invariant(headerBytes.length <= segmentHeaderBytesMax, 'a segment header fits its cap')
  const fixed = Buffer.alloc(fixedBytes)
  segmentMagic.copy(fixed)
  fixed.writeUInt32LE(headerBytes.length, segmentMagic.length)
  const compressed = zstdCompressSync(raw, {
    params: { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_checksumFlag]: 1 },
  })
  const bytes = Buffer.concat([fixed, headerBytes, compressed])
  return { bytes, sha256: sha256Of(bytes), rawBytes: raw.length }
}

/**
 * How many bytes from the file's start hold the whole header, told from its first bytes.
 * @throws BadSegment when these are not the first bytes of a segment
 */
export function segmentHeaderEnd(bytes: Buffer): number {
  if (bytes.length < fixedBytes || !bytes.subarray(0, segmentMagic.length).equals(segmentMagic)) {
    throw new BadSegment('this is not a steno segment')
  }
  const headerBytes = bytes.readUInt32LE(segmentMagic.length)
  if (headerBytes > segmentHeaderBytesMax) throw new BadSegment(`the segment claims a header of ${headerBytes} bytes`)
  return fixedBytes + headerBytes
}

/**
 * The header alone; `bytes` may end anywhere behind it.
 * @throws BadSegment, SegmentNotReadable
 */
export function readSegmentHeader(bytes: Buffer): SegmentHeader {
  const end = segmentHeaderEnd(bytes)
  if (bytes.length < end) throw new BadSegment('the segment ends inside its header')
  try {
    const value = parseJson(bytes.subarray(fixedBytes, end), 'the segment header')
    if (isObject(value)) refuseUnknown(value)
    return checkConsistent(checkHeader(value, 'the segment header'))
  } catch (error) {
    if (error instanceof BadDocument) throw new BadSegment(error.message, { cause: error })
    throw error
  }
}

/**
 * The whole segment, decompressed into memory of its own. Records are not decoded here: see `decodeRecords`.
 * @throws BadSegment, SegmentNotReadable
 */
export function openSegment(bytes: Buffer): OpenedSegment {
  const header = readSegmentHeader(bytes)
  return { header, body: decompress(bytes.subarray(segmentHeaderEnd(bytes)), header.rawBytes), sha256: sha256Of(bytes) }
}

function refuseUnknown(header: Readonly<Record<string, unknown>>): void {
  const { version, compression, encryption } = header
  if (Number.isSafeInteger(version) && version !== segmentVersion) {
    throw new SegmentNotReadable(`the segment is of version ${String(version)}; this release reads version ${segmentVersion}`)
  }
  if (typeof compression === 'string' && compression !== 'zstd')
    throw new SegmentNotReadable('the segment has a compression that this release cannot read')
  if (typeof encryption === 'string' && encryption !== 'none')
    throw new SegmentNotReadable('the segment is encrypted in a way that this release cannot read')
}

function checkConsistent(header: SegmentHeader): SegmentHeader {
  if (header.records.to <= header.records.from) throw new BadSegment('the segment header claims no records')
  if (header.rawBytes > segmentRawBytesMax) throw new BadSegment(`the segment claims ${header.rawBytes} bytes of records`)
  if ((header.number === 1) !== (header.previous === null)) throw new BadSegment('the segment header does not fit its number')
  if (header.identity.session !== header.session) throw new BadSegment('the segment header names another session than its identity')
  if (header.identity.recorder !== header.recorder) throw new BadSegment('the segment header names another recorder than its identity')
  return header
}

function decompress(compressed: Buffer, rawBytes: number): Buffer {
  let result: { readonly buffer: Buffer; readonly engine: { readonly bytesWritten: number } }
  try {
    // The cap makes zlib stop at the claimed size, so a bomb never unfolds. The declared type leaves out what `info` gives.
    result = zstdDecompressSync(compressed, { maxOutputLength: rawBytes, info: true }) as unknown as typeof result
  } catch (error) {
    throw new BadSegment(`the segment's body does not decompress to the ${rawBytes} bytes it claims: ${messageOf(error)}`, { cause: error })
  }
  const { buffer, engine } = result
  if (buffer.length !== rawBytes) throw new BadSegment(`the segment claims ${rawBytes} bytes of records and holds ${buffer.length}`)
  // zlib stops at the frame's end and says nothing of what stands behind it.
  if (engine.bytesWritten !== compressed.length)
    throw new BadSegment(`${compressed.length - engine.bytesWritten} foreign bytes stand behind the segment's body`)
  return buffer
}
