/**
 * One session on its way from the spool to the store: its records since the last segment, its statements, what is stored already.
 *
 * Decides nothing about when to seal; `sealer.ts` does. Holds the records of one segment and the statement tracker's state.
 */
import { BadFrame } from '../../postgres/frame-header.ts'
import type { StatementSummary } from '../../postgres/statement.ts'
import { statementJson } from '../../postgres/statement-json.ts'
import { createStatementTracker } from '../../postgres/statement-tracker.ts'
import type { Gap, PolicyChange, SessionClose, SessionIdentity } from '../../session/identity.ts'
import type { LedgerEvent } from '../../session/ledger.ts'
import { readManifest, sealManifest, type ManifestSegment } from '../../session/manifest.ts'
import { manifestKey, segmentKey, statementIndexKey } from '../../session/object-keys.ts'
import { putOnce } from '../../session/put-once.ts'
import type { RecorderKey } from '../../session/recorder-key.ts'
import { recordFlag, recordType, type SessionRecord } from '../../session/records.ts'
import { sealSegment } from '../../session/segment.ts'
import { indexLineOf } from '../../session/statement-index.ts'
import { sha256Of } from '../../session/digest.ts'
import type { Store } from '../../session/stores/store.ts'
import type { SessionTurn } from '../statements/observer.ts'
import { ChunkedBytes } from './chunked-bytes.ts'
import { createPolicyHistory } from './policy-history.ts'
import { readStoredPart } from './stored-part.ts'

/** What the statement tracker needs of a record; a decoded one and a cursor both have it. */
type TrackedRecord = Pick<SessionRecord, 'type' | 'flags' | 'time' | 'payload'>

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
  const gaps: Gap[] = []
  let close: SessionClose | null = null
  let wasRecovered = options.recovered
  let opened = false
  /** The number of the segment that the next statement's index line belongs to. */
  let indexedSegment = 1
  const indexLines = new ChunkedBytes()
  let indexedStatements = 0
  /** While records are read again that the store has: their statements have been told. */
  let isTakingOver = false

  const pending = new ChunkedBytes()
  let pendingRecords = 0
  let firstTime = 0
  let lastTime = 0
  let firstStart = 0
  let end = 0

  const policies = createPolicyHistory(identity.policy?.hash ?? null)
  const recordsTo = (): number => segments.at(-1)?.records.to ?? 0

  const tracker = createStatementTracker({
    serverParameters: identity.serverParameters,
    onStatement(statement) {
      indexLines.addText(indexLineOf(session, indexedSegment, statementJson(statement), policies.at(statement.place.first)))
      indexedStatements++
      if (!isTakingOver) options.onStatement(identity, statement)
    },
  })

  function clearIndex(): void {
    indexLines.clear()
    indexedStatements = 0
  }

  /** Behind damage a record may begin amid a frame. What cannot be followed has no line in the index up to the next gap; it is stored all the same. */
  function follow(push: () => void): void {
    try {
      push()
    } catch (error) {
      if (!(error instanceof BadFrame)) throw error
    }
  }

  function track(record: TrackedRecord, ordinal: number): void {
    lastTime = record.time
    switch (record.type) {
      case recordType.sessionOpen:
        if (!isTakingOver) options.onSession(identity, { kind: 'opened' })
        break
      case recordType.frontend:
        follow(() => tracker.frontend(record.payload, record.time, ordinal, (record.flags & recordFlag.redacted) !== 0))
        break
      case recordType.backend:
        follow(() => tracker.backend(record.payload, record.time, ordinal))
        break
      case recordType.gap:
        tracker.gap(record.time, ordinal)
        gaps.push(JSON.parse(record.payload.toString('utf8')) as Gap)
        break
      case recordType.policyChange:
        policies.changed(ordinal, (JSON.parse(record.payload.toString('utf8')) as PolicyChange).policy.hash)
        break
      case recordType.sessionClose:
        tracker.close(record.time, ordinal)
        close = JSON.parse(record.payload.toString('utf8')) as SessionClose
        if (!isTakingOver) options.onSession(identity, { kind: 'closed', close })
        break
      default:
    }
  }

  function manifestEvents(): { readonly manifest: Buffer; readonly event: LedgerEvent } {
    const sealed = sealManifest(
      {
        session,
        identity,
        opened: identity.opened,
        closed: close!.closed,
        close: close!,
        segments,
        statements: segments.reduce((sum, segment) => sum + segment.index.statements, 0),
        gaps,
        recovered: wasRecovered || close!.recovered,
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
      last: close !== null && segment === segments.at(-1),
    }
  }

  return {
    session,
    number: options.number,
    /**
     * Takes over what an earlier process stored, so that sealing goes on behind it; call it before `add`. Gives the
     * events that the ledger may lack.
     */
    async takeOver(): Promise<{ readonly spoolEnd: number; readonly events: LedgerEvent[] }> {
      const found = await store.get(manifestKey(session))
      if (found !== null) {
        // Closed and whole: there is nothing to go on from, and reading a long session again would be in vain.
        const { manifest, document } = readManifest(found)
        segments.push(...manifest.segments)
        close = manifest.close
        const event: LedgerEvent = {
          kind: 'session-closed',
          session,
          manifest: { key: manifestKey(session), sha256: document.sha256 },
          segments: segments.length,
        }
        return { spoolEnd: Number.MAX_SAFE_INTEGER, events: [...unenteredEvents(), event] }
      }
      isTakingOver = true
      const stored = await readStoredPart(store, identity, {
        segment(number) {
          indexedSegment = number
          clearIndex()
        },
        record: track,
        index: () => Buffer.concat(indexLines.pieces()),
      })
      isTakingOver = false
      clearIndex()
      if (stored === null) return { spoolEnd: 0, events: [] }
      segments.push(...stored.segments)
      indexedSegment = segments.length + 1
      wasRecovered ||= stored.recovered
      opened = true
      const events: LedgerEvent[] = unenteredEvents()
      if (stored.isLast) {
        const { manifest, event } = manifestEvents()
        await putOnce(store, manifestKey(session), manifest)
        events.push(event)
      }
      return { spoolEnd: stored.spoolEnd, events }
    },
    /** Adds a record, which stands in `bytes` from `from` to `to` and in the spool from `start` to `recordEnd`. */
    add(record: TrackedRecord, { bytes, from, to }: { bytes: Buffer; from: number; to: number }, start: number, recordEnd: number): void {
      if (pendingRecords === 0) {
        firstTime = record.time
        firstStart = start
      }
      track(record, recordsTo() + pendingRecords)
      pending.add(bytes, from, to)
      pendingRecords++
      end = recordEnd
    },
    /** What is held until the next segment: records and their index. */
    get pendingBytes(): number {
      return pending.length + indexLines.length
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
      return lastTime
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
      return close !== null
    },
    get isEnded(): boolean {
      return close !== null && pendingRecords === 0
    },

    /**
     * Stores everything added since the last time as one segment with its index, and the manifest when the session is closed.
     * Gives what the ledger must say. Safe to call again when it threw: the same bytes are stored under the same names.
     */
    async seal(): Promise<LedgerEvent[]> {
      if (pendingRecords === 0) return []
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
          lastTime,
          spoolEnd: { file: epoch, offset: end },
          last: close !== null,
          recovered: options.recovered,
          identity,
        },
        pending.pieces(),
      )
      const indexBytes = Buffer.concat(indexLines.pieces())
      const index = {
        key: statementIndexKey(session, number),
        sha256: sha256Of(indexBytes),
        bytes: indexBytes.length,
        statements: indexedStatements,
      }
      const objectKey = segmentKey(session, number)
      await putOnce(store, objectKey, sealed.bytes)
      await putOnce(store, index.key, indexBytes)
      const segment: ManifestSegment = {
        number,
        key: objectKey,
        sha256: sealed.sha256,
        bytes: sealed.bytes.length,
        rawBytes: sealed.rawBytes,
        records,
        index,
      }
      segments.push(segment)
      try {
        const events: LedgerEvent[] = opened ? [] : [{ kind: 'session-opened', session, opened: identity.opened }]
        events.push(storedEvent(segment))
        if (close !== null) {
          const { manifest, event } = manifestEvents()
          await putOnce(store, manifestKey(session), manifest)
          events.push(event)
        }
        opened = true
        indexedSegment = number + 1
        clearIndex()
        pending.clear()
        pendingRecords = 0
        return events
      } catch (error) {
        segments.pop() // The next try seals the same records again.
        throw error
      }
    },
  }
}
