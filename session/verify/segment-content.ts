/**
 * One segment's content: the header against its session, every record, and the statement index beside it.
 *
 * Holds one segment and, of the index, one line. Knows nothing of ledgers; `verify-session.ts` says what to expect.
 */
import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { KnownError } from '../../base/errors.ts'
import { checkClose, checkGap, type Gap, type SessionClose, type SessionIdentity } from '../identity.ts'
import { readDeliveredUnstored } from '../delivered-unstored.ts'
import { readLeftOut } from '../left-out.ts'
import { BadRecord, decodeRecord, recordHeaderBytes, recordType, type SessionRecord } from '../records.ts'
import { openSegment, type OpenedSegment, type SegmentHeader } from '../segment.ts'
import { BadDocument, parseJson } from '../shape.ts'
import { decodeStatementIndex } from '../statement-index.ts'
import type { Store } from '../stores/store.ts'
import { objectPieces } from '../object-pieces.ts'
import { finding, type Finding, type FindingPlace } from './finding.ts'

/** Statement numbers may come out of order by at most this many. */
const statementsAheadMax = 100_000

/** What is known of a session after its segments so far; one per session. */
export type SessionProgress = {
  readonly session: string
  identity: SessionIdentity | null
  /** The session's number in its spool, as every record repeats it. */
  spoolSession: number | null
  /** Digest that the next segment must name, or null when it is not known. */
  previous: string | null
  /** Ordinal of the record to come. */
  nextRecord: number
  close: SessionClose | null
  gaps: number
  /** Of the records so far, as high-water marks count them. */
  bytes: number
  frontendBytes: number
  backendBytes: number
  /** What of results is not in the recording, as `leftOut` records say. */
  leftOutBytes: number
  /** Where the last stretch of results that were delivered unstored began, milliseconds since the epoch; null before the first. */
  unstoredFrom: number | null
  /** Time of the last record; null before the first. */
  lastTime: number | null
  statements: number
  /** Every statement up to here was seen, and these beyond. */
  statementsThrough: number
  readonly statementsAhead: Set<number>
}

export function createSessionProgress(session: string): SessionProgress {
  const counts = {
    nextRecord: 0,
    gaps: 0,
    bytes: 0,
    frontendBytes: 0,
    backendBytes: 0,
    leftOutBytes: 0,
    statements: 0,
    statementsThrough: 0,
  }
  return {
    session,
    identity: null,
    spoolSession: null,
    previous: null,
    close: null,
    unstoredFrom: null,
    lastTime: null,
    ...counts,
    statementsAhead: new Set(),
  }
}

/** What the segment in hand must be. */
export type ExpectedSegment = {
  readonly number: number
  readonly recorder: string
  readonly records: { readonly from: number; readonly to: number } | null
  readonly last: boolean | null
  /** The manifest's gaps, when there is a manifest. */
  readonly gaps: readonly Gap[] | null
}

/** Checks a segment's bytes and moves `progress` behind them. Gives the header, or null when the segment cannot be read. */
export function* checkSegment(
  bytes: Buffer,
  expected: ExpectedSegment,
  place: FindingPlace,
  progress: SessionProgress,
): Generator<Finding, SegmentHeader | null> {
  let opened: OpenedSegment
  try {
    opened = openSegment(bytes)
  } catch (error) {
    if (!(error instanceof KnownError)) throw error
    yield finding('SEGMENT_DAMAGED', error.message, place)
    return null
  }
  const { header } = opened
  yield* checkHeader(header, expected, place, progress)
  yield* checkRecords(opened, expected, place, progress)
  return header
}

function* checkHeader(
  header: SegmentHeader,
  expected: ExpectedSegment,
  place: FindingPlace,
  progress: SessionProgress,
): Generator<Finding> {
  const wrong = (what: string): Finding => finding('SEGMENT_HEADER', `the segment's header ${what}`, place)
  if (header.session !== progress.session) yield wrong(`names session ${header.session}`)
  if (header.number !== expected.number) yield wrong(`says that it is segment ${header.number}`)
  if (header.recorder !== expected.recorder) yield wrong(`names recorder ${header.recorder}`)
  if (header.records.from !== progress.nextRecord)
    yield finding('SEGMENT_CHAIN', `the segment starts at record ${header.records.from} instead of ${progress.nextRecord}`, place)
  if (expected.records !== null && !isDeepStrictEqual({ ...expected.records }, { from: header.records.from, to: header.records.to })) {
    yield wrong('claims other records than the ledger says')
  }
  if (expected.last !== null && header.last !== expected.last) yield wrong(header.last ? 'ends the session' : 'does not end the session')
  if (expected.number > 1 && progress.previous !== null && header.previous !== progress.previous) {
    yield finding('SEGMENT_CHAIN', `the segment follows another segment than number ${expected.number - 1}`, place)
  }
  progress.identity ??= header.identity
  if (!isDeepStrictEqual(header.identity, progress.identity)) yield wrong('has another identity than the segments before')
}

function* checkRecords(
  { header, body }: OpenedSegment,
  expected: ExpectedSegment,
  place: FindingPlace,
  progress: SessionProgress,
): Generator<Finding> {
  const { from, to } = header.records
  progress.nextRecord = to
  let ordinal = from
  let firstTime: number | null = null
  let lastTime: number | null = null
  for (let at = 0; at < body.length; ordinal++) {
    let record: SessionRecord
    try {
      record = decodeRecord(body, at)
    } catch (error) {
      if (!(error instanceof BadRecord)) throw error
      // Without a sound length there is no next record to look at.
      return yield finding('RECORD_DAMAGED', error.message, { ...place, record: ordinal })
    }
    at += recordHeaderBytes + record.payload.length
    firstTime ??= record.time
    lastTime = record.time
    count(record, progress)
    yield* checkRecord(record, ordinal, { header, expected, place: { ...place, record: ordinal }, progress })
  }
  if (ordinal !== to) yield finding('RECORD_ORDER', `the segment holds ${ordinal - from} records and claims ${to - from}`, place)
  if (firstTime !== header.firstTime || lastTime !== header.lastTime)
    yield finding('SEGMENT_HEADER', "the segment's header claims other times than its records have", place)
  if (header.last && progress.close === null)
    yield finding('RECORD_ORDER', 'the last segment does not end with a session-close record', place)
}

function count({ type, time, payload }: SessionRecord, progress: SessionProgress): void {
  progress.bytes += recordHeaderBytes + payload.length
  if (type === recordType.frontend) progress.frontendBytes += payload.length
  if (type === recordType.backend) progress.backendBytes += payload.length
  progress.lastTime = time
}

type RecordContext = {
  readonly header: SegmentHeader
  readonly expected: ExpectedSegment
  readonly place: FindingPlace
  readonly progress: SessionProgress
}

function* checkRecord(record: SessionRecord, ordinal: number, { header, expected, place, progress }: RecordContext): Generator<Finding> {
  const misplaced = (what: string): Finding => finding('RECORD_ORDER', what, place)
  progress.spoolSession ??= record.session
  if (record.session !== progress.spoolSession) yield misplaced('a record of another session stands here')
  if (progress.close !== null) yield misplaced('a record stands behind the session-close record')
  if ((ordinal === 0) !== (record.type === recordType.sessionOpen)) {
    yield misplaced(ordinal === 0 ? 'the session does not start with a session-open record' : 'a second session-open record stands here')
  }
  try {
    if (
      record.type === recordType.sessionOpen &&
      !isDeepStrictEqual(parseJson(record.payload, 'the session-open record'), header.identity)
    ) {
      yield finding('SEGMENT_HEADER', 'the session-open record has another identity than the header', place)
    }
    if (record.type === recordType.leftOut) yield* checkLeftOut(record, header.identity, place, progress)
    if (record.type === recordType.deliveredUnstored) yield* checkDelivered(record, place, progress)
    if (record.type === recordType.gap) yield* checkGapRecord(record, expected, place, progress)
    if (record.type === recordType.sessionClose) {
      progress.close = checkClose(parseJson(record.payload, 'the session-close record'), 'the session-close record')
      if (!header.last) yield misplaced('a session-close record stands in a segment that is not the last')
    }
  } catch (error) {
    if (!(error instanceof BadDocument)) throw error
    yield finding('RECORD_DAMAGED', error.message, place)
  }
}

function* checkLeftOut(
  record: SessionRecord,
  identity: SessionIdentity,
  place: FindingPlace,
  progress: SessionProgress,
): Generator<Finding> {
  progress.leftOutBytes += readLeftOut(record.payload).bytes
  if (identity.level !== 'statements')
    yield finding('RECORD_ORDER', 'content of a result is left out in a session that does not say so at its opening', place)
}

/** Each stretch once: most have a record that begins them and one that ends them. */
function* checkDelivered(record: SessionRecord, place: FindingPlace, progress: SessionProgress): Generator<Finding> {
  const { from } = readDeliveredUnstored(record.payload)
  if (progress.unstoredFrom === from) return
  progress.unstoredFrom = from
  const since = new Date(Math.trunc(from)).toISOString()
  yield finding(
    'DELIVERED_UNSTORED',
    `level stored: from ${since} on results went on to the agent before the store had them, as onFailure: continue allows; all of it is recorded`,
    place,
  )
}

function* checkGapRecord(
  record: SessionRecord,
  { gaps }: ExpectedSegment,
  place: FindingPlace,
  progress: SessionProgress,
): Generator<Finding> {
  const gap = checkGap(parseJson(record.payload, 'the gap record'), 'the gap record')
  yield finding('GAP', `${gap.frontendBytes} bytes from the client and ${gap.backendBytes} from the database passed unrecorded`, place)
  if (gaps !== null && !isDeepStrictEqual(gap, gaps[progress.gaps]))
    yield finding('MANIFEST_CONTRADICTION', 'the manifest does not state this gap', place)
  progress.gaps += 1
}

/** What a statement index must be; null fields are not known. */
export type ExpectedIndex = {
  readonly key: string
  readonly sha256: string | null
  readonly statements: number | null
  readonly records: { readonly from: number; readonly to: number }
}

/** Checks the statement index of segment `number`, read in pieces. */
export async function* checkIndex(
  store: Store,
  expected: ExpectedIndex,
  number: number,
  progress: SessionProgress,
): AsyncGenerator<Finding> {
  const place = { session: progress.session, segment: number, key: expected.key }
  const digest = createHash('sha256')
  let statements = 0
  try {
    for await (const line of decodeStatementIndex(objectPieces(store, expected.key, (piece) => digest.update(piece)))) {
      statements += 1
      const at = { ...place, statement: line.number }
      if (line.session !== progress.session || line.segment !== number)
        yield finding('INDEX_CONTRADICTION', 'a line is of another session or segment', at)
      if (line.place.last < expected.records.from || line.place.last >= expected.records.to) {
        yield finding('INDEX_CONTRADICTION', `statement ${line.number} ends at record ${line.place.last}, which is not in this segment`, at)
      }
      if (!countStatement(line.number, progress))
        yield finding('INDEX_CONTRADICTION', `statement ${line.number} is there twice, or far from its place`, at)
    }
  } catch (error) {
    if (!(error instanceof BadDocument)) throw error
    yield finding('INDEX_DAMAGED', error.message, place)
    return
  }
  progress.statements += statements
  if (expected.sha256 !== null && digest.digest('hex') !== expected.sha256) {
    yield finding('OBJECT_DIGEST', 'the statement index is not the one that was recorded', place)
  }
  if (expected.statements !== null && statements !== expected.statements) {
    yield finding('INDEX_CONTRADICTION', `the index holds ${statements} statements and the ledger says ${expected.statements}`, place)
  }
}

function countStatement(number: number, progress: SessionProgress): boolean {
  const ahead = progress.statementsAhead
  if (number <= progress.statementsThrough || ahead.has(number) || ahead.size >= statementsAheadMax) return false
  ahead.add(number)
  while (ahead.delete(progress.statementsThrough + 1)) progress.statementsThrough += 1
  return true
}
