/**
 * Turns one process's spool into segments in the store: reads records, parts them by session, seals what is due, enters it into
 * the ledger, and only then lets go of the spool.
 *
 * Holds at most `pendingBytesMax` of records over all sessions. While the store fails it reads no further: the spool on disk
 * grows up to its cap and then traffic waits. Runs in a thread of its own; tests run it in theirs.
 */
import type { SessionClose, SessionIdentity } from '../../session/identity.ts'
import type { LedgerEvent } from '../../session/ledger.ts'
import type { RecorderKey } from '../../session/recorder-key.ts'
import { BadRecord, encodeRecord, recordType, type RecordType, type SessionRecord } from '../../session/records.ts'
import type { Store } from '../../session/stores/store.ts'
import type { SegmentLimits } from '../settings.ts'
import type { LedgerWriter } from './ledger-writer.ts'
import type { Persist } from './persist.ts'
import { createSessionSealer, type SessionSealer } from './session-sealer.ts'
import type { SpoolDamage, SpoolReader } from './spool-reader.ts'

const pendingBytesMax = 24 * 1024 * 1024
/** Enough to overlap the waiting for the disk or the network, few enough to bound memory. */
const sealsAtOnce = 16

export type SealerEvents = {
  readonly onStored: (segments: number) => void
  readonly onDamage: (damage: SpoolDamage) => void
}

export type Sealer = ReturnType<typeof createSealer>

export function createSealer(options: {
  readonly reader: SpoolReader
  readonly epoch: number
  readonly store: Store
  readonly key: RecorderKey
  readonly ledger: LedgerWriter
  readonly limits: SegmentLimits
  /** True when the spool was left by a process that is gone, so that its sessions may be in the store in part. */
  readonly resuming: boolean
  readonly recovered: boolean
  readonly events: SealerEvents
  readonly persist: Persist
}) {
  const { reader, store, ledger, limits, events, persist } = options
  const sessions = new Map<number, SessionSealer>()
  /** Records of a resumed session up to here are stored already. */
  const storedTo = new Map<number, number>()
  let owed: LedgerEvent[] = []
  let segmentsOwed = 0

  async function sessionFor(record: SessionRecord): Promise<SessionSealer | null> {
    const known = sessions.get(record.session)
    if (known !== undefined || record.type !== recordType.sessionOpen) return known ?? null
    if (storedTo.has(record.session)) return null // Closed and stored; a later file's preamble repeats its opening.
    const identity = JSON.parse(record.payload.toString('utf8')) as SessionIdentity
    const made = createSessionSealer({ identity, epoch: options.epoch, store, key: options.key, recovered: options.recovered })
    if (options.resuming) {
      const { spoolEnd, events: known } = await persist(() => made.takeOver())
      storedTo.set(record.session, spoolEnd)
      owed.push(...known)
      if (made.isClosed) return null
    }
    sessions.set(record.session, made)
    return made
  }

  async function seal(due: readonly SessionSealer[]): Promise<void> {
    for (let at = 0; at < due.length; at += sealsAtOnce) {
      const batch = due.slice(at, at + sealsAtOnce)
      const results = await Promise.all(batch.map((each) => persist(() => each.seal())))
      for (const result of results) owed.push(...result)
      segmentsOwed += batch.length
    }
    for (const [number, each] of sessions) if (each.isEnded) sessions.delete(number)
  }

  /** Enters what was stored into the ledger; the receipt that lets go of the spool. */
  async function settle(): Promise<void> {
    if (owed.length === 0) return
    const entered = owed
    owed = []
    await persist(() => ledger.enter(entered))
    events.onStored(segmentsOwed)
    segmentsOwed = 0
  }

  function isDue(each: SessionSealer, now: number): boolean {
    return each.pendingBytes >= limits.bytesMax || each.isClosed || (each.pendingSince !== 0 && now - each.pendingSince >= limits.ageMilliseconds)
  }

  async function take(limit: number): Promise<boolean> {
    let records
    try {
      records = reader.next(limit)
    } catch (error) {
      if (!(error instanceof BadRecord)) throw error
      const damage = reader.skipDamage(error.message)
      if (damage.lostBytes > 0) {
        events.onDamage(damage)
        if (!damage.isTail) noteAll(recordType.gap, { from: Date.now(), to: Date.now(), frontendBytes: 0, backendBytes: 0, reason: `the spool was damaged: ${damage.what}` })
      }
      return true
    }
    for (const { record, bytes, start, end } of records) {
      const isNew = record.type === recordType.sessionOpen && !sessions.has(record.session)
      const session = await sessionFor(record)
      if (session === null || end <= (storedTo.get(record.session) ?? 0)) continue
      if (record.type === recordType.sessionOpen && !isNew) continue // Repeated at the head of a spool file.
      session.add(record, bytes, start, end)
    }
    return records.length > 0
  }

  /** Adds a record of steno's own to every session that is under way. */
  function noteAll(type: RecordType, payload: object): void {
    for (const [number, session] of sessions) {
      const record = { type, flags: 0, session: number, time: Math.max(Date.now(), session.lastTime), payload: Buffer.from(JSON.stringify(payload)) }
      session.add(record, encodeRecord(record), reader.position, reader.position)
    }
  }

  return {
    /** Reads and seals what is due, up to the spool position `limit`. True when there may be more to read at once. */
    async step(limit: number): Promise<boolean> {
      const more = await take(limit)
      const now = Date.now()
      const due = [...sessions.values()].filter((each) => isDue(each, now))
      let heldBytes = 0
      for (const each of sessions.values()) heldBytes += each.pendingBytes
      if (heldBytes > pendingBytesMax) due.push(...[...sessions.values()].filter((each) => !due.includes(each)))
      await seal(due)
      await settle()
      return more
    },
    /** Seals everything that was read, whatever its age. */
    async flush(): Promise<void> {
      await seal([...sessions.values()])
      await settle()
    },
    /** Ends the sessions of a process that was killed. */
    closeAll(): void {
      noteAll(recordType.sessionClose, { closed: Date.now(), reason: 'killed', recovered: true } satisfies SessionClose)
    },
    get openSessions(): number {
      return sessions.size
    },
    /** Everything before this spool position is stored and in the ledger. */
    get settledPosition(): number {
      let position = reader.position
      for (const each of sessions.values()) position = Math.min(position, each.pendingStart ?? position)
      return position
    },
    /** When the oldest record that is not settled was written; 0 when all that was read is. */
    get oldestTime(): number {
      let oldest = 0
      for (const each of sessions.values()) if (each.pendingSince !== 0 && (oldest === 0 || each.pendingSince < oldest)) oldest = each.pendingSince
      return oldest
    },
  }
}
