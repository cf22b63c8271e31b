/**
 * Turns one process's spool into segments in the store: reads records, parts them by session, seals what is due, enters it into
 * the ledger, and only then lets go of the spool.
 *
 * Holds at most `pendingBytesMax` of records over all sessions, and about what `scarce-memory.ts` allows of texts and requests that wait for their answers. While the store fails it reads no further: the spool on disk
 * grows up to its cap and then traffic waits. Runs in a thread of its own; tests run it in theirs.
 */
import { KnownError } from '../../base/errors.ts'
import type { SessionIdentity } from '../../session/identity.ts'
import type { LedgerEvent } from '../../session/ledger.ts'
import type { RecorderKey } from '../../session/recorder-key.ts'
import { BadRecord, RecordCursor, recordType } from '../../session/records.ts'
import type { Store } from '../../session/stores/store.ts'
import type { SegmentLimits } from '../settings.ts'
import type { StatementObserver } from '../statements/observer.ts'
import type { LedgerWriter } from './ledger-writer.ts'
import { createOwnLedger } from './own-ledger.ts'
import { damageGap, killedClose, type OwnRecord } from './own-records.ts'
import type { Persist } from './persist.ts'
import { createScarceMemory } from './scarce-memory.ts'
import { createSetAside } from './set-aside.ts'
import { createSessionSealer, segmentsUnenteredMax, type SessionSealer } from './session-sealer.ts'
import { sessionsInSpool } from './sessions-in-spool.ts'
import type { SpoolDamage, SpoolReader } from './spool-reader.ts'
import { StoredPartForged } from './stored-part.ts'

const pendingBytesMax = 12 * 1024 * 1024
/** Held for comparing with segments that no ledger names: as much as whoever sealed those held, and a few of the largest records. */
const awaitingBytesMax = 64 * 1024 * 1024
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
  /** Control does not let the ledger say which records of the session were set aside. */
  readonly onUnclaimed?: (session: string) => void
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
  const ownLedger = options.resuming
    ? createOwnLedger({
        ...{ store, key: options.key, lastNumber: ledger.number },
        openedAt: sessionsInSpool(options.spoolFolder, options.epoch),
      })
    : null
  /** What the ledger is to say of sessions that were set aside. */
  const claims: { readonly session: string; readonly events: readonly LedgerEvent[] }[] = []
  const memory = createScarceMemory(options.spoolFolder, options.epoch)
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
    const make = (): SessionSealer =>
      createSessionSealer({
        ...{ identity, number, store },
        ...{ epoch: options.epoch, key: options.key, memory, recovered: options.recovered },
        ...{ onStatement: options.observer.statement, onSession: options.observer.session },
      })
    if (ownLedger === null) {
      const made = make()
      sessions.set(number, made)
      return made
    }
    if (setAside.isKnown(identity.session)) {
      setAside.begin(number, identity.session)
      events.onUnstorable?.(number)
      return null
    }
    try {
      const { made, spoolEnd, known } = await persist(async () => {
        const fresh = make() // A try that failed has followed records already.
        const taken = await fresh.takeOver(ownLedger)
        return { made: fresh, spoolEnd: taken.spoolEnd, known: taken.events }
      })
      storedTo.set(number, spoolEnd)
      owed.push(...known)
      if (made.isClosed) return null
      sessions.set(number, made)
      return made
    } catch (error) {
      beginSetAside(number, identity.session, error)
      return null
    }
  }

  /** @throws the error itself when it is no fault of the session's objects */
  function beginSetAside(number: number, session: string, error: unknown): void {
    if (!(error instanceof KnownError)) throw error
    events.onSetAside({ session, error, path: setAside.begin(number, session) })
    events.onUnstorable?.(number)
  }

  /** Sets aside a session of which records are pending. @throws as `beginSetAside` */
  function giveUp(each: SessionSealer, error: unknown): void {
    const { number, session } = each
    beginSetAside(number, session, error)
    setAside.add(number, each.pendingRecords())
    if (each.isClosed) setAside.ended(number)
    const claimed = each.claim()
    if (claimed.length > 0) claims.push({ session, events: claimed })
    sessions.delete(number)
  }

  /** What the ledger must say, or null when the session was set aside. */
  async function sealOne(each: SessionSealer): Promise<LedgerEvent[] | null> {
    try {
      return await persist(() => each.seal())
    } catch (error) {
      giveUp(each, error)
      return null
    }
  }

  /** Compares what the store has of a session, and no ledger names, with what was read of it. `isAll`: no more of it will be read. */
  async function adopt(each: SessionSealer, { isAll }: { readonly isAll: boolean }): Promise<void> {
    try {
      const adopted = await persist(() => each.adopt({ isAll }))
      if (adopted === null) return
      owed.push(...adopted)
      if (each.isEnded) sessions.delete(each.number)
      else await persist(() => each.lookFurther())
    } catch (error) {
      giveUp(each, error)
    }
  }

  async function adoptAll({ isAll }: { readonly isAll: boolean }): Promise<void> {
    for (const each of [...sessions.values()]) if (each.isAwaiting && each.pendingStart !== null) await adopt(each, { isAll })
  }

  /** Segments that claim to go on for long would have everything held; nobody who sealed them can have done so. */
  function boundAwaiting(): void {
    const awaiting = [...sessions.values()].filter((each) => each.isAwaiting).sort((a, b) => b.pendingBytes - a.pendingBytes)
    let heldBytes = awaiting.reduce((sum, each) => sum + each.pendingBytes, 0)
    for (const each of awaiting) {
      if (heldBytes <= awaitingBytesMax) return
      heldBytes -= each.pendingBytes
      giveUp(
        each,
        new StoredPartForged(`the next segment of session ${each.session} claims more than was ever held, and no ledger names it`),
      )
    }
  }

  /** Called behind each read, which adds little to what is tracked. */
  function weighTracked(): void {
    let trackedBytes = 0
    for (const each of sessions.values()) trackedBytes += each.trackedBytes
    memory.weigh(trackedBytes)
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

  const pendingSessions = (): SessionSealer[] => [...sessions.values()].filter((each) => each.pendingStart !== null && !each.isAwaiting)

  /** Enters what was stored into the ledger; the receipt that lets go of the spool. */
  async function settle({ soon }: { readonly soon: boolean }): Promise<void> {
    const now = performance.now()
    const mayWait = soon && segmentsOwed < segmentsUnenteredMax && now - settledAt < settleMilliseconds
    if (claims.length === 0 && (owed.length === 0 || mayWait)) return
    if (owed.length > 0) {
      settledAt = now
      const entered = owed
      owed = []
      await persist(() => ledger.enter(entered), 'known')
      events.onStored(segmentsOwed)
      segmentsOwed = 0
    }
    await enterClaims()
  }

  /** Each by itself: control may refuse it, which must not hold up what is stored. */
  async function enterClaims(): Promise<void> {
    for (let claim = claims.at(0); claim !== undefined; claim = claims.at(0)) {
      const { session, events: claimed } = claim
      if (!(await persist(() => ledger.enterUnlessRefused(claimed), 'known'))) events.onUnclaimed?.(session)
      claims.shift()
    }
  }

  /** A clock that was set back makes records that seem to come: they are as due as old ones. */
  function isDue(each: SessionSealer, now: number, ageMilliseconds: number): boolean {
    if (each.isAwaiting) return false
    return (
      each.pendingBytes >= limits.bytesMax ||
      each.isClosed ||
      (each.pendingSince !== 0 && Math.abs(now - each.pendingSince) >= ageMilliseconds)
    )
  }

  /** The largest of the sessions that are not due, as many as it takes to hold half of what may be held. */
  function overflow(due: readonly SessionSealer[]): SessionSealer[] {
    let heldBytes = 0
    for (const each of sessions.values()) heldBytes += each.isAwaiting ? 0 : each.pendingBytes
    if (heldBytes <= pendingBytesMax) return []
    const rest = [...sessions.values()]
      .filter((each) => !due.includes(each) && !each.isAwaiting)
      .sort((a, b) => b.pendingBytes - a.pendingBytes)
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
      return await skip(error)
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
        if (session.isAwaiting) await adopt(session, { isAll: false })
      }
    } catch (error) {
      // Anything else would have this record left out without a word: the cursor already stands behind it.
      if (!(error instanceof BadRecord)) throw error
      damage = error
    }
    boundAwaiting()
    weighTracked()
    await persist(() => setAside.write())
    reader.advance(cursor.end)
    if (cursor.end > 0) return true // What lies before damage is taken first; the next call meets it again.
    return await (damage === null ? skip(new BadRecord(base, 'the spool ends inside a record'), { torn: true }) : skip(damage))
  }

  /**
   * Goes on behind damage, which is stated as a gap in every session that may have lost something. Only the end of the last file
   * that is too short for its record is none: a kill in the middle of a write leaves it, and nothing of it had been forwarded.
   */
  async function skip(error: unknown, { torn = false }: { readonly torn?: boolean } = {}): Promise<boolean> {
    if (!(error instanceof BadRecord)) throw error
    const skipped = reader.skipDamage(error.message)
    const damage = { ...skipped, isTail: skipped.isTail && torn }
    if (damage.lostBytes === 0) return true
    events.onDamage(damage)
    if (!damage.isTail) {
      noteAll(damageGap(damage.what, Date.now()))
      await adoptAll({ isAll: false })
    }
    return true
  }

  /** Adds a record of steno's own to every session that is under way, unless what is stored of it goes beyond this place. */
  function noteAll(record: OwnRecord): void {
    for (const [number, session] of sessions) if ((storedTo.get(number) ?? 0) < reader.position) session.note(record, reader.position)
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
      await adoptAll({ isAll: true })
      await seal(pendingSessions(), { settled: false })
      await settle({ soon: false })
    },
    /** Seals everything that was read, whatever its age, and enters it into the ledger as it goes. */
    async flush(): Promise<void> {
      await adoptAll({ isAll: true })
      await seal(pendingSessions(), { settled: true })
      await settle({ soon: false })
    },
    /** Ends the sessions of a process that was killed. */
    closeAll(): void {
      for (const session of sessions.values()) session.note(killedClose(Date.now()), reader.position)
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
