/**
 * Turns one process's spool into segments in the store: reads records, parts them by session, seals what is due, enters it into
 * the ledger, and only then lets go of the spool.
 *
 * Holds at most `pendingBytesMax` of records over all sessions. While the store fails it reads no further: the spool on disk
 * grows up to its cap and then traffic waits. Runs in a thread of its own; tests run it in theirs.
 */
import { KnownError } from '../../base/errors.ts'
import type { SessionClose, SessionIdentity } from '../../session/identity.ts'
import type { LedgerEvent } from '../../session/ledger.ts'
import type { RecorderKey } from '../../session/recorder-key.ts'
import { BadRecord, encodeRecord, RecordCursor, recordType, type RecordType } from '../../session/records.ts'
import type { Store } from '../../session/stores/store.ts'
import type { SegmentLimits } from '../settings.ts'
import type { StatementObserver } from '../statements/observer.ts'
import type { LedgerWriter } from './ledger-writer.ts'
import type { Persist } from './persist.ts'
import { createSetAside } from './set-aside.ts'
import { createSessionSealer, segmentsUnenteredMax, type SessionSealer } from './session-sealer.ts'
import type { SpoolDamage, SpoolReader } from './spool-reader.ts'

const pendingBytesMax = 12 * 1024 * 1024
/** Enough to overlap the waiting for the disk or the network, few enough to bound memory. */
const sealsAtOnce = 16
/** While there is more to read, segments share a ledger entry: each costs as many syncs of the disk as a segment. */
const settleMilliseconds = 250

export type SealerEvents = {
  readonly onStored: (segments: number) => void
  readonly onDamage: (damage: SpoolDamage) => void
  /** A session cannot be gone on with in the store; its records are in the file `path` from now on. */
  readonly onSetAside: (what: { readonly session: string; readonly error: KnownError; readonly path: string }) => void
  /** The session of this number is set aside, by this sealer or one before it. Told before `settledPosition` passes its records. */
  readonly onUnstorable?: (number: number) => void
}

export type Sealer = ReturnType<typeof createSealer>

/**
 * For an end that may come before all is stored: a session of which the store has nothing is unknown to everybody until its first segment is
 * there, and small parts make the most sessions whole.
 */
function mostProvingFirst(one: SessionSealer, other: SessionSealer): number {
  return Number(one.isKnownToStore) - Number(other.isKnownToStore) || one.pendingBytes - other.pendingBytes
}

export function createSealer(options: {
  readonly reader: SpoolReader
  readonly spoolFolder: string
  readonly epoch: number
  readonly store: Store
  readonly key: RecorderKey
  readonly ledger: LedgerWriter
  readonly limits: SegmentLimits
  /** True when the spool was left by a process that is gone, so that its sessions may be in the store in part. */
  readonly resuming: boolean
  readonly recovered: boolean
  readonly events: SealerEvents
  readonly observer: Required<StatementObserver>
  readonly persist: Persist
}) {
  const { reader, store, ledger, limits, events, persist } = options
  const sessions = new Map<number, SessionSealer>()
  /** Records of a resumed session up to here are stored already. */
  const storedTo = new Map<number, number>()
  const setAside = createSetAside(options.spoolFolder)
  let owed: LedgerEvent[] = []
  let segmentsOwed = 0
  let settledAt = 0
  let settledPosition = reader.position

  /** The session that a record opens; null when the record belongs to none that is still to be sealed. */
  async function sessionOpenedBy(cursor: RecordCursor): Promise<SessionSealer | null> {
    const { session: number, type } = cursor
    // A session that is closed and stored already; a later file's preamble repeats its opening.
    if (type !== recordType.sessionOpen || storedTo.has(number)) return null
    const identity = JSON.parse(cursor.payload.toString('utf8')) as SessionIdentity
    const made = createSessionSealer({
      ...{ identity, number, store },
      ...{ epoch: options.epoch, key: options.key, recovered: options.recovered },
      ...{ onStatement: options.observer.statement, onSession: options.observer.session },
    })
    if (options.resuming) {
      if (setAside.isKnown(identity.session)) {
        setAside.begin(number, identity.session)
        events.onUnstorable?.(number)
        return null
      }
      try {
        const { spoolEnd, events: known } = await persist(() => made.takeOver())
        storedTo.set(number, spoolEnd)
        owed.push(...known)
      } catch (error) {
        beginSetAside(number, identity.session, error)
        return null
      }
      if (made.isClosed) return null
    }
    sessions.set(number, made)
    return made
  }

  /** @throws the error itself when it is no fault of the session's objects */
  function beginSetAside(number: number, session: string, error: unknown): void {
    if (!(error instanceof KnownError)) throw error
    events.onSetAside({ session, error, path: setAside.begin(number, session) })
    events.onUnstorable?.(number)
  }

  /** What the ledger must say, or null when the session was set aside. */
  async function sealOne(each: SessionSealer): Promise<LedgerEvent[] | null> {
    try {
      return await persist(() => each.seal())
    } catch (error) {
      const { number } = each
      beginSetAside(number, each.session, error)
      setAside.add(number, each.pendingRecords())
      if (each.isClosed) setAside.ended(number)
      return null
    }
  }

  /** `settled`: after each few, so that what is stored is proven although the process ends before it has stored all. */
  async function seal(due: readonly SessionSealer[], { settled }: { readonly settled: boolean }): Promise<void> {
    const ordered = due.toSorted(mostProvingFirst)
    for (let at = 0; at < ordered.length; at += sealsAtOnce) {
      const batch = ordered.slice(at, at + sealsAtOnce)
      const results = await Promise.all(batch.map((each) => sealOne(each)))
      for (const result of results) {
        if (result === null) continue
        owed.push(...result)
        segmentsOwed++
      }
      if (settled) await settle({ soon: false })
    }
    await persist(() => setAside.write())
    for (const [number, each] of sessions) if (each.isEnded || setAside.holds(number)) sessions.delete(number)
  }

  /** Enters what was stored into the ledger; the receipt that lets go of the spool. */
  async function settle({ soon }: { readonly soon: boolean }): Promise<void> {
    const now = performance.now()
    if (owed.length === 0 || (soon && segmentsOwed < segmentsUnenteredMax && now - settledAt < settleMilliseconds)) return
    settledAt = now
    const entered = owed
    owed = []
    await persist(() => ledger.enter(entered), 'known')
    events.onStored(segmentsOwed)
    segmentsOwed = 0
  }

  /** A clock that was set back makes records that seem to come: they are as due as old ones. */
  function isDue(each: SessionSealer, now: number, ageMilliseconds: number): boolean {
    return (
      each.pendingBytes >= limits.bytesMax ||
      each.isClosed ||
      (each.pendingSince !== 0 && Math.abs(now - each.pendingSince) >= ageMilliseconds)
    )
  }

  /** The largest of the sessions that are not due, as many as it takes to hold half of what may be held. */
  function overflow(due: readonly SessionSealer[]): SessionSealer[] {
    let heldBytes = 0
    for (const each of sessions.values()) heldBytes += each.pendingBytes
    if (heldBytes <= pendingBytesMax) return []
    const rest = [...sessions.values()].filter((each) => !due.includes(each)).sort((a, b) => b.pendingBytes - a.pendingBytes)
    for (const each of due) heldBytes -= each.pendingBytes
    return rest.filter((each) => {
      if (heldBytes <= pendingBytesMax / 2) return false
      heldBytes -= each.pendingBytes
      return true
    })
  }

  /** Reads some records and hands each to its session; false when there is nothing to read. */
  async function take(limit: number): Promise<boolean> {
    let bytes: Buffer
    try {
      bytes = reader.read(limit)
    } catch (error) {
      return skip(error)
    }
    if (bytes.length === 0) return false
    const base = reader.position
    const cursor = new RecordCursor(bytes)
    let damage: BadRecord | null = null
    try {
      while (cursor.next()) {
        let session = sessions.get(cursor.session) ?? null
        if (session === null) {
          if (!setAside.holds(cursor.session)) session = await sessionOpenedBy(cursor)
          if (setAside.holds(cursor.session)) {
            setAside.add(cursor.session, [bytes.subarray(cursor.at, cursor.end)])
            if (cursor.type === recordType.sessionClose) setAside.ended(cursor.session)
          }
          if (session === null) continue
        } else if (cursor.type === recordType.sessionOpen) {
          continue // Repeated at the head of a spool file.
        }
        const stored = storedTo.get(cursor.session) ?? 0
        // Stored already; the opening is so too where anything is, though a later spool file repeats it behind that.
        if (base + cursor.end <= stored || (stored > 0 && cursor.type === recordType.sessionOpen)) continue
        session.add(cursor, { bytes, from: cursor.at, to: cursor.end }, base + cursor.at, base + cursor.end)
      }
    } catch (error) {
      // Anything else would have this record left out without a word: the cursor already stands behind it.
      if (!(error instanceof BadRecord)) throw error
      damage = error
    }
    await persist(() => setAside.write())
    reader.advance(cursor.end)
    if (cursor.end > 0) return true // What lies before damage is taken first; the next call meets it again.
    return damage === null ? skip(new BadRecord(base, 'the spool ends inside a record'), { torn: true }) : skip(damage)
  }

  /**
   * Goes on behind damage, which is stated as a gap in every session that may have lost something. Only the end of the last file
   * that is too short for its record is none: a kill in the middle of a write leaves it, and nothing of it had been forwarded.
   */
  function skip(error: unknown, { torn = false }: { readonly torn?: boolean } = {}): boolean {
    if (!(error instanceof BadRecord)) throw error
    const skipped = reader.skipDamage(error.message)
    const damage = { ...skipped, isTail: skipped.isTail && torn }
    if (damage.lostBytes === 0) return true
    events.onDamage(damage)
    const now = Date.now()
    if (!damage.isTail)
      noteAll(recordType.gap, { from: now, to: now, frontendBytes: 0, backendBytes: 0, reason: `the spool was damaged: ${damage.what}` })
    return true
  }

  /** Adds a record of steno's own to every session that is under way. */
  function noteAll(type: RecordType, payload: object): void {
    for (const [number, session] of sessions) {
      const record = {
        type,
        flags: 0,
        session: number,
        time: Math.max(Date.now(), session.lastTime),
        payload: Buffer.from(JSON.stringify(payload)),
      }
      const bytes = encodeRecord(record)
      session.add(record, { bytes, from: 0, to: bytes.length }, reader.position, reader.position)
    }
  }

  return {
    /**
     * Reads and seals what is due, up to the spool position `limit`. True when there may be more to read at once. `ageMilliseconds`: in place
     * of the limit's, for when little may wait.
     */
    async step(limit: number, { ageMilliseconds = limits.ageMilliseconds }: { readonly ageMilliseconds?: number } = {}): Promise<boolean> {
      const more = await take(limit)
      const now = Date.now()
      const due = [...sessions.values()].filter((each) => isDue(each, now, ageMilliseconds))
      await seal([...due, ...overflow(due)], { settled: false })
      await settle({ soon: more })
      return more
    },
    /**
     * For those who wait for the store: reads everything up to the spool position `limit`, seals it whatever its age, and enters it into
     * the ledger at once.
     */
    async round(limit: number): Promise<void> {
      while (await take(limit)) {
        const over = overflow([])
        if (over.length > 0) await seal(over, { settled: false })
      }
      await seal(
        [...sessions.values()].filter((each) => each.pendingStart !== null),
        { settled: false },
      )
      await settle({ soon: false })
    },
    /** Seals everything that was read, whatever its age, and enters it into the ledger as it goes. */
    async flush(): Promise<void> {
      await seal(
        [...sessions.values()].filter((each) => each.pendingStart !== null),
        { settled: true },
      )
      await settle({ soon: false })
    },
    /** Ends the sessions of a process that was killed. */
    closeAll(): void {
      noteAll(recordType.sessionClose, { closed: Date.now(), reason: 'killed', recovered: true } satisfies SessionClose)
    },
    get openSessions(): number {
      return sessions.size + setAside.openSessions
    },
    /** Segments of the sessions that are open. */
    get segments(): number {
      let count = 0
      for (const each of sessions.values()) count += each.segments
      return count
    },
    /** Everything before this spool position is stored and in the ledger. */
    get settledPosition(): number {
      if (owed.length > 0) return settledPosition
      let position = reader.position
      for (const each of sessions.values()) position = Math.min(position, each.pendingStart ?? position)
      settledPosition = position
      return position
    },
    /** When the oldest record that is not settled was written; 0 when all that was read is. */
    get oldestTime(): number {
      let oldest = 0
      for (const each of sessions.values())
        if (each.pendingSince !== 0 && (oldest === 0 || each.pendingSince < oldest)) oldest = each.pendingSince
      return oldest
    },
  }
}
