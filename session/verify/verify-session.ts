/**
 * One session: what the ledger says of it against what is in the store, object by object.
 *
 * Holds the session's ledger events and manifest (about 1 KiB a segment) and one segment at a time.
 */
import { isDeepStrictEqual } from 'node:util'
import { sha256Of } from '../digest.ts'
import type { LedgerEvent, SegmentStored, SessionClosed, SessionOpened } from '../ledger.ts'
import { readManifest, type Manifest } from '../manifest.ts'
import { manifestKey, nameOf, segmentKey, statementIndexKey } from '../object-keys.ts'
import { BadSegment, readSegmentHeader, segmentBytesMax, SegmentNotReadable } from '../segment.ts'
import { BadDocument } from '../shape.ts'
import { signedDocumentBytesMax, type SignedDocument } from '../signed-document.ts'
import type { ObjectInformation, Store } from '../stores/store.ts'
import { finding, type Finding } from './finding.ts'
import { awaitsLedgerMilliseconds, type Book, type LedgerBooks } from './ledger-books.ts'
import { checkIndex, checkSegment, createSessionProgress, type SessionProgress } from './segment-content.ts'

type Account = {
  readonly recorder: string | null
  readonly opened: SessionOpened | null
  /** In the order of their numbers, without a hole: what does not fit was found and left out. */
  readonly segments: readonly SegmentStored[]
  readonly closed: SessionClosed | null
}

export type SessionCounts = { readonly onSegment: () => void; readonly onStatements: (count: number, leftOutBytes: number) => void }

/** A session and what the store listed of it. */
export type ListedSession = { readonly session: string; readonly objects: ObjectInformation[] }

/** `events` are what the ledgers say of the session, in their order. */
export async function* verifySession(
  store: Store,
  books: LedgerBooks,
  { session, objects: listed, events }: ListedSession & { readonly events: readonly LedgerEvent[] },
  counts: SessionCounts,
): AsyncGenerator<Finding> {
  const objects = new Map(listed.map(({ key, bytes }) => [key, bytes]))
  const account = yield* accountFor(session, books, events)
  const manifest = yield* openManifest(store, books, session, account, objects)
  const progress = createSessionProgress(session)
  for (const stored of account.segments) {
    counts.onSegment()
    yield* verifyStored(store, stored, { account, manifest, progress, objects })
  }
  yield* verifyUnnamed(store, books, session, { account, manifest, progress, objects })
  if (account.recorder !== null && progress.identity !== null) yield* books.attestations.compare(account.recorder, progress.identity)
  if (manifest !== null) yield* compareManifest(manifest, account, progress)
  if (account.closed !== null && progress.statementsAhead.size > 0) {
    yield finding('INDEX_CONTRADICTION', `statement ${progress.statementsThrough + 1} is in no index`, {
      session,
      statement: progress.statementsThrough + 1,
    })
  }
  if (account.recorder !== null || progress.identity !== null) {
    const { nextRecord: records, ...stored } = progress
    yield* books.losses.compare(account.recorder ?? progress.identity!.recorder, session, account.closed !== null, { records, ...stored })
  }
  counts.onStatements(progress.statements, progress.leftOutBytes)
}

/** Does the ledger name each of the session's objects? */
export function areNamed(objects: readonly ObjectInformation[], events: readonly LedgerEvent[]): boolean {
  const named = new Set<string>()
  for (const event of events) {
    if (event.kind === 'segment-stored') named.add(event.key).add(event.index.key)
    if (event.kind === 'session-closed') named.add(event.manifest.key)
  }
  return objects.every(({ key }) => named.has(key))
}

/** What the ledger says of the session, put in order; says where it contradicts itself. */
async function* accountFor(session: string, books: LedgerBooks, events: readonly LedgerEvent[]): AsyncGenerator<Finding, Account> {
  const contradiction = (what: string): Finding => finding('LEDGER_CONTRADICTION', `the ledger ${what}`, { session })
  const recorders = books.recordersOf(session)
  if (recorders.length > 1) yield contradiction(`of more than one recorder names this session: ${recorders.join(', ')}`)
  let opened: SessionOpened | null = null
  let closed: SessionClosed | null = null
  const segments: SegmentStored[] = []
  for (const event of events) {
    if (event.kind === 'session-opened') {
      if (opened !== null && !isDeepStrictEqual(opened, event)) yield contradiction('opens the session twice')
      opened = event
    } else if (event.kind === 'session-closed') {
      if (closed !== null && !isDeepStrictEqual(closed, event)) yield contradiction('closes the session twice')
      closed = event
    } else if (event.kind === 'segment-stored') {
      // A recorder that was killed between entry and head says the same again, which is harmless.
      if (isDeepStrictEqual(segments[event.number - 1], event)) continue
      const before = segments.at(-1)
      const fits = event.number === segments.length + 1 && event.records.from === (before?.records.to ?? 0) && before?.last !== true
      const named = event.key === segmentKey(session, event.number) && event.index.key === statementIndexKey(session, event.number)
      if (!fits || !named || closed !== null) yield contradiction(`names segment ${event.number} where it cannot stand`)
      else segments.push(event)
    }
  }
  if (events.length > 0 && opened === null) yield contradiction('names the session without having opened it')
  if (
    closed !== null &&
    (closed.segments !== segments.length || segments.at(-1)?.last !== true || closed.manifest.key !== manifestKey(session))
  ) {
    yield contradiction('closes the session with other segments than it names')
  }
  const recorder = recorders[0] ?? null
  if (closed === null && recorder !== null && books.book(recorder)?.stopped === true) {
    yield finding('SESSION_UNFINISHED', 'the recorder stopped without closing this session; its spool may hold the rest', { session })
  }
  return { recorder, opened, segments, closed }
}

/** The manifest, when there is one that the recorder signed. */
async function* openManifest(
  store: Store,
  books: LedgerBooks,
  session: string,
  { recorder, closed }: Account,
  objects: ReadonlyMap<string, number>,
): AsyncGenerator<Finding, Manifest | null> {
  const key = manifestKey(session)
  const place = { session, key }
  const head = await store.head(key)
  if (head === null) {
    if (closed !== null) yield finding('OBJECT_MISSING', "the session's manifest is missing", place)
    else if (objects.has(key)) yield finding('MANIFEST_DAMAGED', 'the manifest is no readable object', place)
    return null
  }
  if (head.bytes > signedDocumentBytesMax) {
    yield finding('MANIFEST_DAMAGED', `the manifest is ${head.bytes} bytes long`, place)
    return null
  }
  const bytes = (await store.get(key)) ?? Buffer.alloc(0)
  if (closed !== null && sha256Of(bytes) !== closed.manifest.sha256)
    yield finding('OBJECT_DIGEST', 'the manifest is not the one that was recorded', place)
  let read: { readonly manifest: Manifest; readonly document: SignedDocument }
  try {
    read = readManifest(bytes)
  } catch (error) {
    if (!(error instanceof BadDocument)) throw error
    yield finding('MANIFEST_DAMAGED', error.message, place)
    return null
  }
  const { manifest, document } = read
  if (manifest.session !== session) {
    yield finding('MANIFEST_CONTRADICTION', `this is the manifest of session ${manifest.session}`, place)
    return null
  }
  if (manifest.recorder !== (recorder ?? manifest.recorder))
    yield finding('MANIFEST_CONTRADICTION', `the manifest names recorder ${manifest.recorder}`, place)
  const publicKey = books.book(recorder ?? manifest.recorder)?.publicKey ?? null
  if (publicKey === null || !document.isSignedBy(publicKey)) {
    yield finding('MANIFEST_SIGNATURE', `the manifest is not proven to be signed by recorder ${recorder ?? manifest.recorder}`, place)
    return null
  }
  return manifest
}

type SessionContext = {
  readonly account: Account
  readonly manifest: Manifest | null
  readonly progress: SessionProgress
  readonly objects: ReadonlyMap<string, number>
}

/** A segment that the ledger names, and its index. */
async function* verifyStored(
  store: Store,
  stored: SegmentStored,
  { account, manifest, progress }: SessionContext,
): AsyncGenerator<Finding> {
  const { number, key, sha256, index, records, last } = stored
  const place = { session: progress.session, segment: number, key }
  const head = await store.head(key)
  if (head === null) {
    yield finding('OBJECT_MISSING', `segment ${number} is missing`, place)
    progress.nextRecord = records.to
  } else if (head.bytes !== stored.bytes || head.bytes > segmentBytesMax) {
    yield finding('OBJECT_SIZE', `segment ${number} is ${head.bytes} bytes long and the ledger says ${stored.bytes}`, place)
    progress.nextRecord = records.to
  } else {
    const bytes = (await store.get(key)) ?? Buffer.alloc(0)
    if (sha256Of(bytes) !== sha256) yield finding('OBJECT_DIGEST', `segment ${number} is not the one that was recorded`, place)
    const header = yield* checkSegment(
      bytes,
      { number, recorder: account.recorder!, records, last, gaps: manifest?.gaps ?? null },
      place,
      progress,
    )
    const claimed = manifest?.segments[number - 1]?.rawBytes
    if (header !== null && claimed !== undefined && claimed !== header.rawBytes) {
      yield finding('MANIFEST_CONTRADICTION', `the manifest says that segment ${number} holds ${claimed} bytes of records`, place)
    }
    progress.nextRecord = records.to
  }
  // What the ledger says, so that a segment after a changed one is judged by itself.
  progress.previous = sha256
  const indexPlace = { session: progress.session, segment: number, key: index.key }
  const indexHead = await store.head(index.key)
  if (indexHead === null) return yield finding('OBJECT_MISSING', `the statement index of segment ${number} is missing`, indexPlace)
  if (indexHead.bytes !== index.bytes) {
    yield finding('OBJECT_SIZE', `the statement index is ${indexHead.bytes} bytes long and the ledger says ${index.bytes}`, indexPlace)
  }
  yield* checkIndex(store, { key: index.key, sha256: index.sha256, statements: index.statements, records }, number, progress)
}

/** Objects in the session's folder that its ledger does not name: either just being written, or put there by somebody. */
async function* verifyUnnamed(
  store: Store,
  books: LedgerBooks,
  session: string,
  { account, manifest, progress, objects }: SessionContext,
): AsyncGenerator<Finding> {
  const added = (key: string, why: string): Finding =>
    finding('OBJECT_NOT_IN_LEDGER', `no ledger names this object, and ${why}`, { session, key })
  const waits = (key: string): Finding =>
    finding('OBJECT_AWAITS_LEDGER', 'the session is being written; the ledger does not name this object yet', { session, key })
  let next = account.segments.length + 1
  let ended = account.segments.at(-1)?.last === true
  const waiting = new Set<string>()
  for (; !ended && objects.has(segmentKey(session, next)); next++) {
    const key = segmentKey(session, next)
    const bytes = await smallEnough(store, key)
    const why = bytes === null ? 'it is too long for a segment' : whyAdded(bytes, { account, books, progress, session, next })
    if (why !== null) {
      yield added(key, why)
      waiting.add(key)
      break
    }
    const header = readSegmentHeader(bytes!)
    yield waits(key)
    waiting.add(key)
    yield* checkSegment(
      bytes!,
      { number: next, recorder: header.recorder, records: null, last: null, gaps: manifest?.gaps ?? null },
      { session, segment: next, key },
      progress,
    )
    progress.previous = sha256Of(bytes!)
    const indexKey = statementIndexKey(session, next)
    if (objects.has(indexKey)) {
      waiting.add(indexKey)
      yield waits(indexKey)
      yield* checkIndex(store, { key: indexKey, sha256: null, statements: null, records: header.records }, next, progress)
    }
    ended = header.last
  }
  for (const key of objects.keys()) {
    const name = nameOf(key)
    if (waiting.has(key) || name.kind === 'foreign') continue
    if (name.kind === 'segment' && name.number > account.segments.length) yield added(key, 'it does not follow the segments that are named')
    if (name.kind === 'index' && name.number > account.segments.length) {
      // The index is stored behind its segment, which then is there by now although the list did not show it yet.
      const follows = !ended && name.number === next && isWriting(account, books)
      if (follows && (await store.head(segmentKey(session, next))) !== null) yield waits(key)
      else yield added(key, 'there is no such segment')
    }
    if (name.kind === 'manifest' && account.closed === null) {
      const recent = manifest !== null && isRecent(manifest.closed, books.book(manifest.recorder))
      if (ended && recent) yield waits(key)
      else yield added(key, 'the session is not closed')
    }
  }
}

async function smallEnough(store: Store, key: string): Promise<Buffer | null> {
  const head = await store.head(key)
  return head === null || head.bytes > segmentBytesMax ? null : store.get(key)
}

/** Why a segment cannot be one that waits for its ledger entry, or null when it can. */
function whyAdded(
  bytes: Buffer,
  {
    account,
    books,
    progress,
    session,
    next,
  }: { account: Account; books: LedgerBooks; progress: SessionProgress; session: string; next: number },
): string | null {
  try {
    const header = readSegmentHeader(bytes)
    const book = books.book(header.recorder)
    if (header.session !== session || header.number !== next) return 'its header is of another segment'
    if (book === undefined || header.recorder !== (account.recorder ?? header.recorder)) return 'it is of another recorder'
    if (header.previous !== progress.previous) return 'it does not follow the segments that are named'
    if (account.closed !== null || book.stopped) return 'its recorder has ended'
    return isRecent(header.lastTime, book) ? null : 'the ledger has long gone on without it'
  } catch (error) {
    if (error instanceof BadSegment || error instanceof SegmentNotReadable) return error.message
    throw error
  }
}

/** Not long before the ledger's last entry, nor in times to come: dated far ahead, an addition would wait for ever. */
function isRecent(time: number, book: Book | undefined): boolean {
  if (book === undefined || book.stopped) return false
  return time >= book.lastTime - awaitsLedgerMilliseconds && time <= Math.max(Date.now(), book.lastTime) + awaitsLedgerMilliseconds
}

function isWriting({ recorder, closed }: Account, books: LedgerBooks): boolean {
  return closed === null && (recorder === null || books.book(recorder)?.stopped === false)
}

function* compareManifest(manifest: Manifest, account: Account, progress: SessionProgress): Generator<Finding> {
  const place = { session: manifest.session, key: manifestKey(manifest.session) }
  const differs = (what: string): Finding => finding('MANIFEST_CONTRADICTION', `the manifest names ${what}`, place)
  const named = manifest.segments.map(({ rawBytes: _, ...segment }) => segment)
  const stored = account.segments.map(({ kind: _, session: __, last: ___, ...segment }) => segment)
  if (account.closed !== null && !isDeepStrictEqual(named.map(ordered), stored.map(ordered)))
    yield differs('other segments than the ledger')
  if (progress.identity !== null && !isDeepStrictEqual(manifest.identity, progress.identity))
    yield differs('another identity than the segments')
  if (manifest.opened !== manifest.identity.opened || (account.opened !== null && account.opened.opened !== manifest.opened))
    yield differs('another time of opening')
  if (manifest.closed !== manifest.close.closed || (progress.close !== null && !isDeepStrictEqual(progress.close, manifest.close))) {
    yield differs('another end than the session-close record')
  }
  const indexed = manifest.segments.reduce((sum, { index }) => sum + index.statements, 0)
  if (manifest.statements !== indexed) yield differs(`${manifest.statements} statements; its indexes have ${indexed}`)
  const complete = progress.close !== null
  if (complete && manifest.gaps.length !== progress.gaps) yield differs(`${manifest.gaps.length} gaps; the segments have ${progress.gaps}`)
}

/** Field by field, so that fields of later versions do not count as differences. */
function ordered({ number, key, sha256, bytes, records, index }: Omit<Manifest['segments'][number], 'rawBytes'>): unknown {
  return [number, key, sha256, bytes, records.from, records.to, index.key, index.sha256, index.bytes, index.statements]
}
