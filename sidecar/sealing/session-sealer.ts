/**
 * One session on its way from the spool to the store: its records since the last segment, its statements, what is stored already.
 *
 * Decides nothing about when to seal; `sealer.ts` does. Holds the records of one segment; what they say is `session-follower.ts`'s to know.
 */
import { KnownError } from '../../base/errors.ts'
import type { StatementSummary } from '../../postgres/statement.ts'
import type { SessionClose, SessionIdentity } from '../../session/identity.ts'
import type { LedgerEvent } from '../../session/ledger.ts'
import { sealManifest, type ManifestSegment } from '../../session/manifest.ts'
import { manifestKey, segmentKey, statementIndexKey } from '../../session/object-keys.ts'
import { putOnce } from '../../session/put-once.ts'
import type { RecorderKey } from '../../session/recorder-key.ts'
import { encodeRecord } from '../../session/records.ts'
import { sealSegment } from '../../session/segment.ts'
import { sha256Of } from '../../session/digest.ts'
import type { Store } from '../../session/stores/store.ts'
import type { SessionTurn } from '../statements/observer.ts'
import { ChunkedBytes } from './chunked-bytes.ts'
import { isIndexOfScarceMemory, type ScarceMemory } from './scarce-memory.ts'
import type { OwnLedger } from './own-ledger.ts'
import { isSameBut, type OwnRecord } from './own-records.ts'
import { isPassing } from './persist.ts'
import { createSessionFollower, type FollowedRecord } from './session-follower.ts'
import {
  findNextSegment,
  indexOf,
  isIndexOfOtherRelease,
  readNamedPart,
  readOwnManifest,
  sha256OfAll,
  StoredPartForged,
  type FoundSegment,
} from './stored-part.ts'

/** So many segments at most are stored before the ledger names them; after a crash that many are entered again, which is harmless. */
export const segmentsUnenteredMax = 32

export type SessionSealer = ReturnType<typeof createSessionSealer>

export function createSessionSealer(options: {
  readonly identity: SessionIdentity
  /** Its number in the spool. */
  readonly number: number
  readonly epoch: number
  readonly store: Store
  readonly key: RecorderKey
  /** Says when the sessions together hold too much of what waits for answers. */
  readonly memory: Pick<ScarceMemory, 'isScarce' | 'wasScarce'>
  /** True while a killed process's spool is recovered. */
  readonly recovered: boolean
  /** Told of each statement that ends in a record which is not stored yet. */
  readonly onStatement: (identity: SessionIdentity, statement: StatementSummary) => void
  /** The same for the session's opening and its end. */
  readonly onSession: (identity: SessionIdentity, what: SessionTurn) => void
}) {
  const { identity, store, key, epoch } = options
  const session = identity.session
  const segments: ManifestSegment[] = []
  /** Of a session whose manifest was found; that of another stands in its records. */
  let foundClose: SessionClose | null = null
  const close = (): SessionClose | null => foundClose ?? follower.close
  let wasRecovered = options.recovered
  let opened = false
  /** While records are read again that the ledger says are stored. */
  let isTakingOver = false
  /** A segment that the store has, no ledger names, and the next records of the spool must be. */
  let awaited: FoundSegment | null = null
  /** Why the object that lies in its place cannot be taken for this recorder's. */
  let doubt: KnownError | null = null
  /** Statements of records that the store has were told by who stored them. */
  const isTold = (): boolean => isTakingOver || awaited !== null || doubt !== null

  const pending = new ChunkedBytes()
  let pendingRecords = 0
  let firstTime = 0
  let firstStart = 0
  let end = 0

  const recordsTo = (): number => segments.at(-1)?.records.to ?? 0
  const follower = createSessionFollower({
    identity,
    memory: options.memory,
    onStatement: (statement) => !isTold() && options.onStatement(identity, statement),
    onSession: (what) => !isTold() && options.onSession(identity, what),
  })

  function manifestEvents(): { readonly manifest: Buffer; readonly event: LedgerEvent } {
    const sealed = sealManifest(
      {
        session,
        identity,
        opened: identity.opened,
        closed: close()!.closed,
        close: close()!,
        segments,
        statements: segments.reduce((sum, segment) => sum + segment.index.statements, 0),
        gaps: follower.gaps,
        recovered: wasRecovered || close()!.recovered,
      },
      key,
    )
    const manifest = { key: manifestKey(session), sha256: sealed.sha256 }
    return { manifest: sealed.bytes, event: { kind: 'session-closed', session, manifest, segments: segments.length } }
  }

  /** The events that the ledger may lack when a crash came between storing and entering. */
  function unenteredEvents(): LedgerEvent[] {
    const opening: LedgerEvent[] =
      segments.length <= segmentsUnenteredMax ? [{ kind: 'session-opened', session, opened: identity.opened }] : []
    return [...opening, ...segments.slice(-segmentsUnenteredMax).map(storedEvent)]
  }

  /** The segment that lies where the one behind `before` goes. What cannot be believed of it is a doubt, for when the first record is compared. */
  async function lookBehind(before: ManifestSegment | null): Promise<void> {
    const [number, from] = [(before?.number ?? 0) + 1, before?.records.to ?? 0]
    const previous = before?.sha256 ?? null
    try {
      awaited = await findNextSegment(store, { identity, recorder: key.id, number, previous, from, spoolNumber: options.number, epoch })
    } catch (error) {
      if (!(error instanceof KnownError) || isPassing(error)) throw error
      doubt = error
    }
  }

  function differsFrom({ header, bodySha256 }: FoundSegment): boolean {
    const isSame =
      header.records.to === recordsTo() + pendingRecords &&
      header.rawBytes === pending.length &&
      header.firstTime === firstTime &&
      header.lastTime === follower.lastTime &&
      header.spoolEnd.offset === end &&
      header.last === (close() !== null) &&
      (options.recovered || !header.recovered) &&
      bodySha256 === sha256OfAll(pending.pieces())
    return !isSame
  }

  function sealPending() {
    const number = segments.length + 1
    const records = { from: recordsTo(), to: recordsTo() + pendingRecords }
    const sealed = sealSegment(
      {
        session,
        number,
        recorder: key.id,
        previous: segments.at(-1)?.sha256 ?? null,
        records,
        firstTime,
        lastTime: follower.lastTime,
        spoolEnd: { file: epoch, offset: end },
        last: close() !== null,
        recovered: options.recovered,
        identity,
      },
      pending.pieces(),
    )
    const indexBytes = follower.index()
    const index = {
      key: statementIndexKey(session, number),
      sha256: sha256Of(indexBytes),
      bytes: indexBytes.length,
      statements: follower.indexedStatements,
    }
    const { sha256, bytes, rawBytes } = sealed
    const segment: ManifestSegment = { number, key: segmentKey(session, number), sha256, bytes: bytes.length, rawBytes, records, index }
    return { segment, bytes, indexBytes }
  }

  /** The events of a segment that is stored, with its index; with it the pending records are. */
  async function keep(segment: ManifestSegment): Promise<LedgerEvent[]> {
    segments.push(segment)
    try {
      const events: LedgerEvent[] = opened ? [] : [{ kind: 'session-opened', session, opened: identity.opened }]
      events.push(storedEvent(segment))
      if (close() !== null) {
        const { manifest, event } = manifestEvents()
        await putOnce(store, manifestKey(session), manifest)
        events.push(event)
      }
      opened = true
      follower.beginIndex(segment.number + 1)
      pending.clear()
      pendingRecords = 0
      return events
    } catch (error) {
      segments.pop() // The next try keeps the same records again.
      throw error
    }
  }

  function storedEvent(segment: ManifestSegment): LedgerEvent {
    const { number, key: objectKey, sha256, bytes, index, records } = segment
    return {
      kind: 'segment-stored',
      session,
      number,
      key: objectKey,
      sha256,
      bytes,
      index,
      records,
      last: close() !== null && segment === segments.at(-1),
    }
  }

  return {
    session,
    number: options.number,
    /**
     * Takes over what an earlier process stored, so that sealing goes on behind it; call it once, before `add`. Gives the events that the
     * ledger may lack. What the ledger does not name is taken over by `adopt`.
     * @throws StoredPartForged and what reading its objects throws
     */
    async takeOver(ledger: OwnLedger): Promise<{ readonly spoolEnd: number; readonly events: LedgerEvent[] }> {
      const found = await store.get(manifestKey(session))
      if (found !== null) {
        // Closed and whole: there is nothing to go on from, and reading a long session again would be in vain.
        const { manifest, sha256 } = readOwnManifest(found, { identity, key, storedAs: manifestKey(session) })
        segments.push(...manifest.segments)
        foundClose = manifest.close
        const stored = { key: manifestKey(session), sha256 }
        const event: LedgerEvent = { kind: 'session-closed', session, manifest: stored, segments: segments.length }
        return { spoolEnd: Number.MAX_SAFE_INTEGER, events: [...unenteredEvents(), event] }
      }
      const last = await ledger.lastStored(session)
      if (last === null) {
        await lookBehind(null)
        return { spoolEnd: 0, events: [] }
      }
      isTakingOver = true
      const sink = {
        segment: follower.beginIndex,
        record: follower.track,
        index: follower.index,
      }
      const stored = await readNamedPart(store, { identity, recorder: key.id, last, ledger, sink })
      isTakingOver = false
      segments.push(...stored.segments)
      follower.beginIndex(segments.length + 1)
      wasRecovered ||= stored.recovered
      opened = true
      if (!stored.isLast) {
        await lookBehind(segments.at(-1)!)
        return { spoolEnd: stored.spoolEnd, events: [] }
      }
      const { manifest, event } = manifestEvents()
      await putOnce(store, manifestKey(session), manifest)
      return { spoolEnd: stored.spoolEnd, events: [event] }
    },
    /** Whether something lies in the store where the pending records go: it must be compared with them before anything is sealed. */
    get isAwaiting(): boolean {
      return awaited !== null || doubt !== null
    },
    /**
     * Takes the segment that an earlier process stored without entering it into the ledger, once all its records were added; null before
     * that. `isAll`: no more of them will come. Safe to call again when it threw.
     * @throws StoredPartForged, and what `takeOver` does, when it is not exactly what the spool holds
     */
    async adopt({ isAll }: { readonly isAll: boolean }): Promise<LedgerEvent[] | null> {
      if (doubt !== null) throw doubt
      if (awaited === null) return null
      const found = awaited
      const { number, records, rawBytes } = found.header
      if (!isAll && recordsTo() + pendingRecords < records.to && pending.length < rawBytes) return null
      const objectKey = segmentKey(session, number)
      if (differsFrom(found)) {
        doubt = new StoredPartForged(`${objectKey} holds something else than the spool, and no ledger names it`)
        throw doubt
      }
      const made = follower.index()
      const isGenuine = (other: Buffer): boolean =>
        isIndexOfOtherRelease(other, made, identity) || (options.memory.wasScarce && isIndexOfScarceMemory(other, made))
      const index = await indexOf(store, session, number, made, isGenuine)
      wasRecovered ||= found.header.recovered
      const events = await keep({ number, key: objectKey, sha256: found.sha256, bytes: found.bytes, rawBytes, records, index })
      awaited = null
      return events
    },
    /** To be called when `adopt` gave events and the session goes on: whether more is stored. Safe to call again when it threw. */
    lookFurther: (): Promise<void> => lookBehind(segments.at(-1) ?? null),
    /**
     * What the ledger is to say of pending records that the store does not take: that they were recorded, by the digest of the segment that
     * they would be. Whoever verifies finds that the store has another, or none.
     */
    claim(): LedgerEvent[] {
      if (pendingRecords === 0) return []
      const { segment } = sealPending()
      const events: LedgerEvent[] = opened ? [] : [{ kind: 'session-opened', session, opened: identity.opened }]
      segments.push(segment)
      events.push(storedEvent(segment))
      if (close() !== null) events.push(manifestEvents().event)
      segments.pop()
      return events
    },
    /** Adds a record that sealing itself makes; the one of an earlier start, where the store has it already. */
    note(own: OwnRecord, position: number): void {
      const before = awaited?.ownRecords.get(recordsTo() + pendingRecords)
      const isThere = before !== undefined && isSameBut(before, own)
      const record = isThere ? before : { ...own, flags: 0, session: options.number, time: Math.max(Date.now(), follower.lastTime) }
      const bytes = encodeRecord(record)
      this.add(record, { bytes, from: 0, to: bytes.length }, position, position)
    },
    /** Adds a record, which stands in `bytes` from `from` to `to` and in the spool from `start` to `recordEnd`. */
    add(record: FollowedRecord, { bytes, from, to }: { bytes: Buffer; from: number; to: number }, start: number, recordEnd: number): void {
      if (pendingRecords === 0) {
        firstTime = record.time
        firstStart = start
      }
      follower.track(record, recordsTo() + pendingRecords)
      pending.add(bytes, from, to)
      pendingRecords++
      end = recordEnd
    },
    /** What is held until the database answers, or as long as it has a name, about. */
    get trackedBytes(): number {
      return follower.weight
    },
    /** What is held until the next segment: records and their index. */
    get pendingBytes(): number {
      return pending.length + follower.indexBytes
    },
    /** The records that are not stored; valid until the next `add`. */
    pendingRecords: (): readonly Buffer[] => pending.pieces(),
    /** Time of the oldest record that is not stored, or 0. */
    get pendingSince(): number {
      return pendingRecords === 0 ? 0 : firstTime
    },
    /** Spool position of the oldest record that is not stored, or null. */
    get pendingStart(): number | null {
      return pendingRecords === 0 ? null : firstStart
    },
    get lastTime(): number {
      return follower.lastTime
    },
    /** Whether a segment of it is stored. */
    get isKnownToStore(): boolean {
      return segments.length > 0
    },
    /** How many are stored; each is kept in mind for the manifest. */
    get segments(): number {
      return segments.length
    },
    get isClosed(): boolean {
      return close() !== null
    },
    get isEnded(): boolean {
      return close() !== null && pendingRecords === 0
    },

    /**
     * Stores everything added since the last time as one segment with its index, and the manifest when the session is closed.
     * Gives what the ledger must say. Safe to call again when it threw: the same bytes are stored under the same names.
     */
    async seal(): Promise<LedgerEvent[]> {
      if (pendingRecords === 0) return []
      const { segment, bytes, indexBytes } = sealPending()
      await putOnce(store, segment.key, bytes)
      await putOnce(store, segment.index.key, indexBytes)
      return keep(segment)
    },
  }
}
