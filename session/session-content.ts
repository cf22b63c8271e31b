/**
 * Reading a recorded session back: who it was, its records, its statements.
 *
 * Everything that is read is checked against the manifest when there is one (an open or killed session has none) and
 * against the chain of segments; what does not fit is an error that names it, never a silent omission. Proof against
 * somebody who may write to the store is `verify`'s, which knows the ledger. Holds one segment, and of an index one line.
 */
import { createHash } from 'node:crypto'
import { KnownError } from '../base/errors.ts'
import { sha256Of } from './digest.ts'
import type { SessionIdentity } from './identity.ts'
import { readManifest, type Manifest } from './manifest.ts'
import { manifestKey, nameOf, segmentKey, sessionPrefix, statementIndexKey } from './object-keys.ts'
import { objectPieces } from './object-pieces.ts'
import { decodeRecord, recordHeaderBytes, type SessionRecord } from './records.ts'
import { openSegment, readSegmentHeader, segmentBytesMax, segmentHeaderEnd, type SegmentHeader } from './segment.ts'
import { BadDocument } from './shape.ts'
import { signedDocumentBytesMax } from './signed-document.ts'
import { decodeStatementIndex, type IndexLine } from './statement-index.ts'
import type { Store } from './stores/store.ts'

/** Enough for most headers in one read. */
const headerReadBytes = 64 * 1024

/** Part of a recording is missing or not what it should be. */
export class RecordingDamaged extends KnownError {
  readonly code = 'RECORDING_DAMAGED'
  readonly remedy: string
  readonly safeToRetry = true
  readonly key: string
  constructor(session: string, key: string, what: string, cause?: unknown) {
    super(`${what}: ${key}`, { cause })
    this.key = key
    this.remedy = `Run \`steno verify ${session}\`: it names everything that was changed.`
  }
}

/** The session's manifest, or null while it is open or when it was killed. @throws RecordingDamaged */
export async function readSessionManifest(store: Store, session: string): Promise<Manifest | null> {
  const key = manifestKey(session)
  const head = await store.head(key)
  if (head === null) return null
  if (head.bytes > signedDocumentBytesMax) throw new RecordingDamaged(session, key, 'the manifest is too long')
  const bytes = await store.get(key)
  if (bytes === null) return null
  try {
    const { manifest } = readManifest(bytes)
    if (manifest.session !== session) throw new BadDocument('it is the manifest of another session')
    return manifest
  } catch (error) {
    if (error instanceof BadDocument) throw new RecordingDamaged(session, key, error.message, error)
    throw error
  }
}

/** The header of segment `number` without its body, or null when there is no such segment. @throws RecordingDamaged */
export async function readHeader(store: Store, session: string, number: number): Promise<SegmentHeader | null> {
  const key = segmentKey(session, number)
  try {
    let bytes = await store.range(key, 0, headerReadBytes)
    if (bytes === null) return null
    const end = segmentHeaderEnd(bytes)
    if (end > bytes.length) bytes = (await store.range(key, 0, end)) ?? bytes
    const header = readSegmentHeader(bytes)
    if (header.session !== session || header.number !== number) throw new BadDocument('the segment is another than its name says')
    return header
  } catch (error) {
    throw damagedBy(error, session, key)
  }
}

/** Who spoke to what. @throws RecordingDamaged also when the session has no segment yet */
export async function readIdentity(store: Store, session: string): Promise<SessionIdentity> {
  const manifest = await readSessionManifest(store, session)
  if (manifest !== null) return manifest.identity
  const header = await readHeader(store, session, 1)
  if (header === null) throw new RecordingDamaged(session, segmentKey(session, 1), 'the first segment is missing')
  return header.identity
}

/** What is expected of a segment; digests only from a manifest. */
export type SegmentReference = {
  readonly number: number
  readonly from: number
  readonly to: number
  readonly sha256: string | null
  readonly previous: string | null | undefined
  readonly index: { readonly sha256: string; readonly statements: number } | null
}

/** The session's segments in order. Without a manifest, those that are stored. @throws RecordingDamaged when one is missing */
export async function* segmentsOf(store: Store, session: string): AsyncGenerator<SegmentReference> {
  const manifest = await readSessionManifest(store, session)
  let nextRecord = 0
  let nextNumber = 1
  let previous: string | null = null
  if (manifest !== null) {
    for (const { number, key, sha256, records, index } of manifest.segments) {
      if (number !== nextNumber || records.from !== nextRecord)
        throw new RecordingDamaged(session, key, 'the manifest names segments that do not follow each other')
      yield { number, from: records.from, to: records.to, sha256, previous, index }
      previous = sha256
      nextRecord = records.to
      nextNumber += 1
    }
    return
  }
  for await (const { key } of store.list(`${sessionPrefix(session)}segment-`)) {
    const name = nameOf(key)
    if (name.kind !== 'segment') continue
    if (name.number !== nextNumber) throw new RecordingDamaged(session, segmentKey(session, nextNumber), 'a segment is missing')
    const header = await readHeader(store, session, nextNumber)
    if (header === null || header.records.from !== nextRecord)
      throw new RecordingDamaged(session, key, 'the segment does not follow the one before it')
    yield { number: nextNumber, from: header.records.from, to: header.records.to, sha256: null, previous: undefined, index: null }
    nextRecord = header.records.to
    nextNumber += 1
  }
}

/** A record and its ordinal in the session, from 0, as statements' `place` counts. */
export type PlacedRecord = SessionRecord & { readonly ordinal: number }

/**
 * The session's records in order, from ordinal `from` (included) to `to` (excluded). Opens only the segments that hold them.
 * @throws RecordingDamaged at the first that is missing, damaged or not in its place; BadRecord, SegmentNotReadable
 */
export async function* readRecords(
  store: Store,
  session: string,
  { from = 0, to = Infinity }: { from?: number; to?: number } = {},
): AsyncGenerator<PlacedRecord> {
  let previous: string | null | undefined
  for await (const reference of segmentsOf(store, session)) {
    if (reference.from >= to) return
    if (reference.to <= from) continue
    const opened = await readSegment(store, session, reference, previous)
    previous = opened.sha256
    let ordinal = reference.from
    for (let at = 0; at < opened.body.length; ordinal++) {
      const record = recordAt(opened.body, at, session, segmentKey(session, reference.number))
      at += recordHeaderBytes + record.payload.length
      if (ordinal >= from && ordinal < to) yield { ...record, ordinal }
    }
    if (ordinal !== reference.to)
      throw new RecordingDamaged(
        session,
        segmentKey(session, reference.number),
        'the segment holds another number of records than it claims',
      )
  }
}

function recordAt(body: Buffer, at: number, session: string, key: string): SessionRecord {
  try {
    return decodeRecord(body, at)
  } catch (error) {
    throw damagedBy(error, session, key)
  }
}

async function readSegment(store: Store, session: string, reference: SegmentReference, before: string | null | undefined) {
  const key = segmentKey(session, reference.number)
  const damaged = (what: string): RecordingDamaged => new RecordingDamaged(session, key, what)
  const head = await store.head(key)
  if (head === null) throw damaged('a segment is missing')
  if (head.bytes > segmentBytesMax) throw damaged('the segment is too long')
  const bytes = (await store.get(key)) ?? Buffer.alloc(0)
  if (reference.sha256 !== null && sha256Of(bytes) !== reference.sha256) throw damaged('the segment is not the one that the manifest names')
  try {
    const opened = openSegment(bytes)
    const { header } = opened
    if (header.session !== session || header.number !== reference.number) throw damaged('the segment is another than its name says')
    if (header.records.from !== reference.from || header.records.to !== reference.to)
      throw damaged('the segment holds other records than the manifest says')
    const expected = reference.previous === undefined ? before : reference.previous
    if (expected !== undefined && header.previous !== expected) throw damaged('the segment does not follow the one before it')
    return opened
  } catch (error) {
    throw damagedBy(error, session, key)
  }
}

/**
 * The session's statements in the order in which they ended, from the indexes alone. What a line holds besides
 * `IndexLine` is for `check` to prove: lines come from a file that anybody may have written.
 * @throws RecordingDamaged
 */
export async function* readStatements<Line extends IndexLine = IndexLine>(
  store: Store,
  session: string,
  check: (line: IndexLine) => Line = (line) => line as Line,
): AsyncGenerator<Line> {
  for await (const { number, index } of segmentsOf(store, session)) {
    const key = statementIndexKey(session, number)
    if ((await store.head(key)) === null) {
      // The index is stored after its segment, so the last one of an open session may be on its way.
      if (index === null) return
      throw new RecordingDamaged(session, key, 'a statement index is missing')
    }
    const digest = createHash('sha256')
    try {
      for await (const line of decodeStatementIndex(objectPieces(store, key, (piece) => digest.update(piece)))) {
        if (line.session !== session || line.segment !== number)
          throw new RecordingDamaged(session, key, 'the statement index is of another segment')
        yield check(line)
      }
    } catch (error) {
      throw damagedBy(error, session, key)
    }
    if (index !== null && digest.digest('hex') !== index.sha256)
      throw new RecordingDamaged(session, key, 'the statement index is not the one that the manifest names')
  }
}

function damagedBy(error: unknown, session: string, key: string): unknown {
  const aboutContent = error instanceof KnownError && ['BAD_DOCUMENT', 'BAD_SEGMENT', 'BAD_RECORD'].includes(error.code)
  return aboutContent ? new RecordingDamaged(session, key, error.message, error) : error
}
