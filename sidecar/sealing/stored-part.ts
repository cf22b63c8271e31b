/**
 * What the store holds of a session that is not closed: where sealing goes on after a crash.
 *
 * Others may write to the store, so nothing in it is taken for the recorder's own because of its name. What the ledger names must be what it
 * names, or the segment before such a one. A crash can also fall between storing a segment and the ledger entry that names it: that
 * segment is found here, and is the recorder's when it holds exactly what the spool holds, which is compared as the spool is read.
 */
import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { KnownError, messageOf, systemCodeOf } from '../../base/errors.ts'
import { stenoVersion } from '../../base/version.ts'
import { sha256Of } from '../../session/digest.ts'
import type { SessionIdentity } from '../../session/identity.ts'
import type { SegmentStored } from '../../session/ledger.ts'
import { readManifest, type Manifest, type ManifestSegment } from '../../session/manifest.ts'
import { segmentKey, statementIndexKey } from '../../session/object-keys.ts'
import { putOnce } from '../../session/put-once.ts'
import type { RecorderKey } from '../../session/recorder-key.ts'
import { decodeRecords, type SessionRecord } from '../../session/records.ts'
import { openSegment, type OpenedSegment, type SegmentHeader } from '../../session/segment.ts'
import type { Store } from '../../session/stores/store.ts'
import { isOwnRecord } from './own-records.ts'
import type { OwnLedger } from './own-ledger.ts'

/** Each is a damage of the spool, or the session's end. */
const ownRecordsMax = 1_000
/** Fields of an index line that every release writes; another release may lack or add others. */
const lineFields = [
  'session',
  'segment',
  'number',
  'place',
  'kind',
  'sql',
  'parameters',
  'outcome',
  'tag',
  'rows',
  'error',
  'started',
  'finished',
]

/** An object that lies in the store under a name of this recorder's is not what the recorder stored there. */
export class StoredPartForged extends KnownError {
  readonly code = 'STORED_PART_FORGED'
  readonly remedy =
    'Find out who else can write to the store; `steno verify --all` names the object. What was recorded is in the file beside the spool: keep it.'
  readonly safeToRetry = false
}

export type StoredPart = {
  readonly segments: readonly ManifestSegment[]
  readonly recovered: boolean
  /** Spool position behind the last stored record. */
  readonly spoolEnd: number
  /** True when the last stored segment ends the session: only manifest and ledger may be missing. */
  readonly isLast: boolean
}

/** Follows the stored records; `index` gives the statement index of the segment that was followed last. */
export type StoredSink = {
  segment(number: number): void
  record(record: SessionRecord, ordinal: number): void
  index(): Buffer
}

/** Where a session goes on: whose it is, and what its next segment must follow. */
export type Following = {
  readonly identity: SessionIdentity
  readonly recorder: string
  readonly number: number
  /** Digest of the segment before; null for the first. */
  readonly previous: string | null
  /** Place of its first record. */
  readonly from: number
}

/**
 * Reads what the ledger says is stored of a session, one segment at a time, up to `last`, the last that it names.
 * A crash can fall between a segment and its index: the index is then made again from the segment's records.
 * @throws StoredPartForged, BadSegment, SegmentNotReadable, BadRecord, StoreUnavailable
 */
export async function readNamedPart(
  store: Store,
  {
    identity,
    recorder,
    last,
    ledger,
    sink,
  }: Pick<Following, 'identity' | 'recorder'> & { last: SegmentStored; ledger: OwnLedger; sink: StoredSink },
): Promise<StoredPart> {
  const segments: ManifestSegment[] = []
  let recovered = false
  let ended: SegmentHeader | null = null
  for (let number = 1; number <= last.number; number++) {
    const key = segmentKey(identity.session, number)
    const bytes = await store.get(key)
    if (bytes === null) throw new StoredPartForged(`${key} is not in ${store.url}, and the ledger says that it was stored`)
    const opened = openSegment(bytes)
    const { header, sha256 } = opened
    const before = segments.at(-1)
    checkFollows(opened, { identity, recorder, number, previous: before?.sha256 ?? null, from: before?.records.to ?? 0 }, key)
    if (number === last.number && sha256 !== last.sha256) throw new StoredPartForged(`${key} is not the segment that the ledger names`)
    follow(opened, sink, key)
    segments.push({
      ...{ number, key, sha256, bytes: bytes.length, rawBytes: header.rawBytes, records: header.records },
      index: await indexOf(store, identity.session, number, sink.index(), (found) => isNamedIndex(found, number)),
    })
    recovered ||= header.recovered
    ended = header
  }
  return { segments, recovered, spoolEnd: ended!.spoolEnd.offset, isLast: ended!.last }

  /** Another release may have written other lines; then the ledger decides. */
  async function isNamedIndex(found: Buffer, number: number): Promise<boolean> {
    const event = number === last.number ? last : (await ledger.storedOf(identity.session)).get(number)
    return event?.index.sha256 === sha256Of(found)
  }
}

/** Records that nobody has vouched for yet: what cannot be followed is as forged as what differs. */
function follow({ header, body }: OpenedSegment, sink: StoredSink, key: string): void {
  sink.segment(header.number)
  let ordinal = header.records.from
  try {
    for (const record of decodeRecords(body)) sink.record(record, ordinal++)
  } catch (error) {
    if (error instanceof KnownError || systemCodeOf(error) !== undefined) throw error
    throw new StoredPartForged(`the records in ${key} cannot be followed: ${messageOf(error)}`, { cause: error })
  }
  if (ordinal !== header.records.to) throw new StoredPartForged(`${key} holds other records than its header claims`)
}

function checkFollows({ header }: Pick<OpenedSegment, 'header'>, wanted: Following, key: string): void {
  const { identity, recorder, number, previous, from } = wanted
  const differs =
    (header.session !== identity.session || header.number !== number ? 'is of another place' : null) ??
    (header.recorder !== recorder ? 'is of another recorder' : null) ??
    (header.previous !== previous || header.records.from !== from ? 'does not follow the one before it' : null) ??
    (isDeepStrictEqual(header.identity, identity) ? null : 'is of another session than the spool’s')
  if (differs !== null) throw new StoredPartForged(`${key} ${differs}`)
}

/**
 * The reference to a segment's index, which is stored when the store has none. `made` is what this release makes of the segment.
 * @throws StoredPartForged when another one is there, and `isGenuine` does not say that it may
 */
export async function indexOf(
  store: Store,
  session: string,
  number: number,
  made: Buffer,
  isGenuine: (found: Buffer) => boolean | Promise<boolean>,
): Promise<ManifestSegment['index']> {
  const key = statementIndexKey(session, number)
  let index = await store.get(key)
  if (index === null) {
    index = made
    await putOnce(store, key, index)
  }
  if (!index.equals(made) && !(await isGenuine(index))) throw new StoredPartForged(`${key} is not the index of its segment`)
  return { key, sha256: sha256Of(index), bytes: index.length, statements: index.toString('latin1').split('\n').length - 1 }
}

/**
 * True when `found`, the index of a segment that no ledger names, can be what another release made of a session that it recorded: the same
 * statements, with fields more or fewer. Of a session of this release nothing but the same bytes will do.
 */
export function isIndexOfOtherRelease(found: Buffer, made: Buffer, { versions }: SessionIdentity): boolean {
  if (versions.steno === stenoVersion) return false
  const [foundLines, madeLines] = [found, made].map((bytes) => bytes.toString('utf8').split('\n'))
  return foundLines!.length === madeLines!.length && foundLines!.every((line, at) => isSameStatement(line, madeLines![at]!))
}

function isSameStatement(found: string, made: string): boolean {
  if (found === '' || made === '') return found === made
  const mine = JSON.parse(made) as Readonly<Record<string, unknown>>
  let other: Readonly<Record<string, unknown>>
  try {
    other = Object(JSON.parse(found)) as Readonly<Record<string, unknown>>
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    return false
  }
  const shared = Object.keys(mine).filter((field) => lineFields.includes(field) || Object.hasOwn(other, field))
  return shared.every((field) => isDeepStrictEqual(other[field], mine[field]))
}

/** A segment that the store has and the ledger does not name. */
export type FoundSegment = {
  readonly header: SegmentHeader
  readonly sha256: string
  readonly bytes: number
  /** Digest of its records. */
  readonly bodySha256: string
  /** Of these, the ones that sealing can have added itself, by their places. */
  readonly ownRecords: ReadonlyMap<number, SessionRecord>
}

/**
 * The segment that lies where the next one of the session goes; null when none does. `spoolNumber` is the session's in the spool of `epoch`.
 * @throws StoredPartForged, BadSegment, SegmentNotReadable, BadRecord, StoreUnavailable
 */
export async function findNextSegment(
  store: Store,
  { spoolNumber, epoch, ...following }: Following & { readonly spoolNumber: number; readonly epoch: number },
): Promise<FoundSegment | null> {
  const key = segmentKey(following.identity.session, following.number)
  const bytes = await store.get(key)
  if (bytes === null) return null
  const opened = openSegment(bytes)
  const { header, body, sha256 } = opened
  checkFollows(opened, following, key)
  if (header.spoolEnd.file !== epoch) throw new StoredPartForged(`${key} is of another spool`)
  const ownRecords = new Map<number, SessionRecord>()
  let ordinal = header.records.from
  for (const record of decodeRecords(body)) {
    if (isOwnRecord(record, spoolNumber)) ownRecords.set(ordinal, { ...record, payload: Buffer.from(record.payload) })
    if (ownRecords.size > ownRecordsMax) throw new StoredPartForged(`${key} tells of more damage than there can be`)
    ordinal++
  }
  return { header, sha256, bytes: bytes.length, bodySha256: sha256Of(body), ownRecords }
}

/** Digest of what stands in `pieces`, one behind the other. */
export function sha256OfAll(pieces: readonly Buffer[]): string {
  const digest = createHash('sha256')
  for (const piece of pieces) digest.update(piece)
  return digest.digest('hex')
}

/**
 * The manifest that lies in the store, when this recorder signed it of this session: it does so once the session is closed and stored.
 * @throws StoredPartForged, BadDocument
 */
export function readOwnManifest(
  bytes: Buffer,
  {
    identity,
    key,
    storedAs,
  }: { readonly identity: SessionIdentity; readonly key: Pick<RecorderKey, 'id' | 'publicKey'>; readonly storedAs: string },
): { readonly manifest: Manifest; readonly sha256: string } {
  const { manifest, document } = readManifest(bytes)
  const isOwn = manifest.recorder === key.id && isDeepStrictEqual(manifest.identity, identity) && document.isSignedBy(key.publicKey)
  if (!isOwn) throw new StoredPartForged(`${storedAs} was not signed by this recorder`)
  return { manifest, sha256: document.sha256 }
}
