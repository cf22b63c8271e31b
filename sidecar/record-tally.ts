/**
 * Counts what has gone into the spool, session by session, for high-water marks: records and bytes, told from the records' own headers.
 *
 * Stands between the turns and the spool, so that it counts what the kernel has and nothing else. Costs some 20 ns a record. Remembers a session
 * until it has ended and the store has all of it; beyond `sessionsMax` those that ended first are one sum, until all of them are stored.
 */
import type { MarkedSession, RecordedAmount, UnnamedSessions } from '../session/high-water-mark.ts'
import { recordHeaderBytes, recordType } from '../session/records.ts'
import type { SpoolPosition } from './spool/spool-position.ts'
import type { SpoolRefusal, SpoolWriter } from './spool/spool-writer.ts'

/** Besides those that are open, whose number the recorder bounds. */
const endedMax = 4_096

/** What the tally must know of a session that the records do not say. */
export type TalliedSession = { readonly identity: { readonly session: string; readonly opened: number }; readonly statements: number }

type Entry = {
  readonly session: TalliedSession
  records: number
  bytes: number
  frontendBytes: number
  backendBytes: number
  lastTime: number
  /** Spool position behind its last record. */
  end: number
  closed: boolean
}

export type RecordTally = ReturnType<typeof createRecordTally>

export function createRecordTally({ position }: { readonly position: Pick<SpoolPosition, 'writtenBytes' | 'releasedBytes'> }) {
  const open = new Map<number, Entry>()
  /** In the order in which they ended. */
  let ended: Entry[] = []
  let rest: UnnamedSessions = emptyRest()
  let restEnd = 0
  let appends = 0

  function count(bytes: Buffer): void {
    appends++
    let entry: Entry | undefined
    let number = -1
    for (let at = 0; at < bytes.length;) {
      const payloadBytes = bytes.readUInt32LE(at + 4)
      const session = bytes.readUInt32LE(at + 12)
      if (session !== number) {
        number = session
        entry = open.get(session)
      }
      if (entry !== undefined) {
        const type = bytes[at + 8]
        entry.records++
        entry.bytes += recordHeaderBytes + payloadBytes
        entry.lastTime = bytes.readDoubleLE(at + 16)
        entry.end = position.writtenBytes
        if (type === recordType.backend) entry.backendBytes += payloadBytes
        else if (type === recordType.frontend) entry.frontendBytes += payloadBytes
        else if (type === recordType.sessionClose) entry.closed = true
      }
      at += recordHeaderBytes + payloadBytes
    }
  }

  /** Forgets what ended and is stored, and sums up what is too much to name. */
  function tidy(): void {
    const { releasedBytes } = position
    ended = ended.filter(({ end }) => end > releasedBytes)
    for (const entry of ended.splice(0, Math.max(0, ended.length - endedMax))) {
      rest = added(rest, amountOf(entry))
      restEnd = Math.max(restEnd, entry.end)
    }
    if (rest.sessions > 0 && restEnd <= releasedBytes) rest = emptyRest()
  }

  return {
    /** The same spool, counting what it took. */
    over(spool: SpoolWriter): SpoolWriter {
      const counting =
        (append: (bytes: Buffer) => SpoolRefusal | null) =>
        (bytes: Buffer): SpoolRefusal | null => {
          const refusal = append(bytes)
          if (refusal === null) count(bytes)
          return refusal
        }
      return { ...spool, append: counting(spool.append), appendFromReserve: counting(spool.appendFromReserve) }
    },
    /** Before its first record is gathered. */
    opened(number: number, session: TalliedSession): void {
      const { opened } = session.identity
      open.set(number, { session, records: 0, bytes: 0, frontendBytes: 0, backendBytes: 0, lastTime: opened, end: 0, closed: false })
    },
    /** After its last record is in the spool, or was given up. */
    ended(number: number): void {
      const entry = open.get(number)
      if (entry === undefined) return
      open.delete(number)
      // The session itself is let go of: it holds scanners and sockets.
      if (entry.records > 0) ended.push({ ...entry, session: { identity: entry.session.identity, statements: entry.session.statements } })
      if (ended.length > 2 * endedMax) tidy()
    },
    /** Rises with each write. */
    get appends(): number {
      return appends
    },
    /** At most `sessionsMax` sessions, first those with something that is not stored and of these the latest; the others as a sum. */
    read(sessionsMax: number): { readonly sessions: readonly MarkedSession[]; readonly rest: UnnamedSessions } {
      tidy()
      const { releasedBytes } = position
      const entries = [...open.values()].filter(({ records }) => records > 0).concat(ended)
      if (entries.length > sessionsMax)
        entries.sort((one, other) => Number(other.end > releasedBytes) - Number(one.end > releasedBytes) || other.lastTime - one.lastTime)
      const unnamed = entries.slice(sessionsMax).reduce((sum, entry) => added(sum, amountOf(entry)), rest)
      return { sessions: entries.slice(0, sessionsMax).map(markedOf), rest: unnamed }
    },
  }
}

function amountOf({ records, bytes, frontendBytes, backendBytes, session }: Entry): RecordedAmount {
  return { records, bytes, frontendBytes, backendBytes, statements: session.statements }
}

function markedOf(entry: Entry): MarkedSession {
  const { session, opened } = entry.session.identity
  return { session, opened, ...amountOf(entry), lastTime: entry.lastTime, closed: entry.closed }
}

function emptyRest(): UnnamedSessions {
  return { sessions: 0, records: 0, bytes: 0, frontendBytes: 0, backendBytes: 0, statements: 0 }
}

function added(sum: UnnamedSessions, amount: RecordedAmount): UnnamedSessions {
  return {
    sessions: sum.sessions + 1,
    records: sum.records + amount.records,
    bytes: sum.bytes + amount.bytes,
    frontendBytes: sum.frontendBytes + amount.frontendBytes,
    backendBytes: sum.backendBytes + amount.backendBytes,
    statements: sum.statements + amount.statements,
  }
}
