/**
 * What this recorder's own ledger says of the sessions that a process left unfinished: the only word on a store that others can write to.
 *
 * Read back from the last entry, and only as far as is asked for: a session's last segment is named by a young entry as a rule. An entry
 * counts when this recorder's key signed it; one that is missing or damaged says nothing here, and `steno verify` names it. Holds one event
 * for each session of the spool.
 */
import { ledgerEntryBytesMax, readLedgerEntry, type LedgerEntry, type SegmentStored } from '../../session/ledger.ts'
import { ledgerKey } from '../../session/object-keys.ts'
import type { RecorderKey } from '../../session/recorder-key.ts'
import { BadDocument } from '../../session/shape.ts'
import type { Store } from '../../session/stores/store.ts'

/** Enough to overlap the waiting for the network. */
const entriesAtOnce = 16
/** So far a clock may have been set back between a session's opening and the entries that name it. */
const clockMilliseconds = 10 * 60 * 1000

export type OwnLedger = {
  /** The last segment of `session` that the ledger names; null when it names none. @throws StoreUnavailable */
  lastStored(session: string): Promise<SegmentStored | null>
  /** All of them, by their numbers, read anew. @throws StoreUnavailable */
  storedOf(session: string): Promise<ReadonlyMap<number, SegmentStored>>
}

/** `lastNumber` is that of the ledger's last entry. `openedAt` says of each session that may be asked for when it opened, in milliseconds since the epoch. */
export function createOwnLedger({
  store,
  key,
  lastNumber,
  openedAt,
}: {
  readonly store: Store
  readonly key: Pick<RecorderKey, 'id' | 'publicKey'>
  readonly lastNumber: number
  readonly openedAt: ReadonlyMap<string, number>
}): OwnLedger {
  const last = new Map<string, SegmentStored>()
  let next = lastNumber
  let reachedTime = Infinity

  async function entryOf(number: number): Promise<LedgerEntry | null> {
    const bytes = await store.range(ledgerKey(key.id, number), 0, ledgerEntryBytesMax + 1)
    if (bytes === null || bytes.length > ledgerEntryBytesMax) return null
    try {
      const { entry, document } = readLedgerEntry(bytes)
      return entry.recorder === key.id && entry.number === number && document.isSignedBy(key.publicKey) ? entry : null
    } catch (error) {
      if (!(error instanceof BadDocument)) throw error
      return null
    }
  }

  /** The entries that can be believed of the `entriesAtOnce` up to `number`, the youngest first. */
  async function batchTo(number: number): Promise<LedgerEntry[]> {
    const numbers = Array.from({ length: Math.min(entriesAtOnce, number) }, (_, index) => number - index)
    return (await Promise.all(numbers.map((each) => entryOf(each)))).filter((entry) => entry !== null)
  }

  const storedIn = ({ events }: LedgerEntry): SegmentStored[] => events.filter((event) => event.kind === 'segment-stored')

  return {
    async lastStored(session) {
      const opened = openedAt.get(session)
      if (opened === undefined) return null
      while (!last.has(session) && next > 0 && reachedTime >= opened - clockMilliseconds) {
        const entries = await batchTo(next)
        next -= Math.min(entriesAtOnce, next)
        for (const entry of entries) {
          reachedTime = Math.min(reachedTime, entry.time)
          for (const event of storedIn(entry).toReversed())
            if (openedAt.has(event.session) && !last.has(event.session)) last.set(event.session, event)
        }
      }
      return last.get(session) ?? null
    },
    async storedOf(session) {
      const stored = new Map<number, SegmentStored>()
      const opened = openedAt.get(session) ?? Infinity
      let time = Infinity
      for (let number = lastNumber; number > 0 && time >= opened - clockMilliseconds; number -= entriesAtOnce) {
        for (const entry of await batchTo(number)) {
          time = Math.min(time, entry.time)
          for (const event of storedIn(entry)) if (event.session === session) stored.set(event.number, event)
        }
      }
      return stored
    },
  }
}
