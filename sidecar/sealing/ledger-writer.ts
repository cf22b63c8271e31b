/**
 * Enters events into the recorder's ledger: one object in the store an entry, and the head of the chain on the spool's disk.
 *
 * An entry whose storing failed is tried again as it is: another with the same number would break the chain.
 */
import { KnownError, messageOf, systemCodeOf } from '../../base/errors.ts'
import { saveLedgerHead, loadLedgerHead } from '../../session/ledger-head.ts'
import {
  createLedger,
  findLastLedgerNumber,
  findLedgerHead,
  type LedgerEvent,
  type LedgerHead,
  type SealedLedgerEntry,
} from '../../session/ledger.ts'
import { putOnce } from '../../session/put-once.ts'
import type { RecorderKey } from '../../session/recorder-key.ts'
import { BadDocument } from '../../session/shape.ts'
import type { Store } from '../../session/stores/store.ts'

export type LedgerWriter = Awaited<ReturnType<typeof openLedgerWriter>>

/** The store's last entry is damaged or forged, and the spool does not know what stood in it: no entry can name it as the one before. */
export class LedgerHeadDamaged extends KnownError {
  readonly code = 'LEDGER_HEAD_DAMAGED'
  readonly remedy =
    'Restore the entry from a copy of the store; delete it if `steno verify --all` says that it has no signature of the recorder and no copy has another. Recording goes on into the spool until then.'
  readonly safeToRetry = true
}

/**
 * Goes on behind the last entry. `onTailMissing` is told when the store lacks entries that this recorder is known to have stored,
 * `onHeadDamaged` when the last entry is damaged or forged and the chain goes on from what the spool knows of it.
 * @throws LedgerHeadDamaged, StoreUnavailable, BadDocument
 */
export async function openLedgerWriter(options: {
  readonly store: Store
  readonly key: RecorderKey
  readonly spoolFolder: string
  readonly onTailMissing: (kept: LedgerHead, found: LedgerHead | null) => void
  readonly onHeadDamaged: (kept: LedgerHead, error: Error) => void
  /** When an earlier thread of this process made the last entry, in milliseconds since the epoch. */
  readonly lastTime?: number
}) {
  const { store, key, spoolFolder } = options
  const anchored = await loadLedgerHead(spoolFolder)
  const kept = anchored?.recorder === key.id ? anchored : null
  const found = await findHead(kept)
  const isCut = kept !== null && (found === null || found.number < kept.number)
  if (isCut) options.onTailMissing(kept, found)
  const ledger = createLedger({ key, head: isCut ? kept : found })
  let unstored: SealedLedgerEntry | null = null
  /** What the unstored entry goes on from. */
  let beforeUnstored: LedgerHead | null = null
  let lastTime = options.lastTime ?? Date.now()

  async function findHead(known: LedgerHead | null): Promise<LedgerHead | null> {
    try {
      return await findLedgerHead(store, key.id, { publicKey: key.publicKey, from: known?.number ?? 0 })
    } catch (error) {
      if (!(error instanceof BadDocument)) throw error
      const last = await findLastLedgerNumber(store, key.id, known?.number ?? 0)
      if (known === null || known.number < last) {
        throw new LedgerHeadDamaged(`the last ledger entry in ${store.url}, number ${last}, is damaged: ${messageOf(error)}`, {
          cause: error,
        })
      }
      options.onHeadDamaged(known, error)
      return known
    }
  }

  async function keep(entry: SealedLedgerEntry): Promise<void> {
    await putOnce(store, entry.objectKey, entry.bytes)
    await saveLedgerHead(spoolFolder, { recorder: key.id, ...entry.head, store: store.url }).catch(unlessFull)
    unstored = null
    lastTime = Date.now()
  }

  return {
    /** Resolves once the events are in the store's ledger. Call it again with the same events when it threw. */
    async enter(events: readonly LedgerEvent[]): Promise<void> {
      unstored ??= ledger.entry(events, Date.now())
      await keep(unstored)
    },
    /**
     * The same for what the ledger can go on without: false when control does not take it, and the next entry gets its number. Call it again
     * with the same events when it threw.
     */
    async enterUnlessRefused(events: readonly LedgerEvent[]): Promise<boolean> {
      if (unstored === null) beforeUnstored = ledger.head()
      unstored ??= ledger.entry(events, Date.now())
      try {
        await keep(unstored)
        return true
      } catch (error) {
        const isRefused = error instanceof KnownError && error.code === 'CONTROL_REFUSED'
        if (!isRefused || (await store.head(unstored.objectKey)) !== null) throw error
        ledger.withdraw(beforeUnstored)
        unstored = null
        return false
      }
    },
    /** Of the last entry; 0 when there is none. */
    get number(): number {
      return ledger.head()?.number ?? 0
    },
    /** When the last entry was made, in milliseconds since the epoch. */
    get lastTime(): number {
      return lastTime
    },
  }
}

/**
 * An older head is as true, and is gone on from: it only finds less of a cut. Waiting for room would never end, because it is the
 * receipt that lets go of the spool which fills the disk.
 */
function unlessFull(error: unknown): void {
  if (!['ENOSPC', 'EDQUOT'].includes(systemCodeOf(error) ?? '')) throw error
}
