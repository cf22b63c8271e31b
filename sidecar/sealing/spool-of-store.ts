/**
 * That a spool goes on with the store that it began with: a ledger that goes on in another store begins there amid its numbers, and
 * nobody could tell that from a ledger whose beginning was deleted.
 */
import { KnownError } from '../../base/errors.ts'
import { sha256Of } from '../../session/digest.ts'
import { loadLedgerHead } from '../../session/ledger-head.ts'
import { ledgerKey } from '../../session/object-keys.ts'
import type { Store } from '../../session/stores/store.ts'

/** The spool's recorder has its ledger in a store other than the one given. */
export class SpoolOfOtherStore extends KnownError {
  readonly code = 'SPOOL_OF_OTHER_STORE'
  readonly remedy = 'Give the store of before with --store, or another folder with --spool.'
  readonly safeToRetry = true
}

/**
 * Passes when the head kept in `spoolFolder` is of `store`, also under another URL, as of a folder that was moved or copied whole.
 * A head that names no store passes; the next ledger entry names it.
 * @throws SpoolOfOtherStore, BadDocument for a damaged head, StoreUnavailable
 */
export async function checkSpoolOfStore(store: Store, spoolFolder: string, recorder: string): Promise<void> {
  const head = await loadLedgerHead(spoolFolder)
  if (head === null || head.recorder !== recorder || head.store === undefined || head.store === store.url) return
  const entry = await store.get(ledgerKey(recorder, head.number))
  if (entry !== null && sha256Of(entry) === head.sha256) return
  throw new SpoolOfOtherStore(`the spool ${spoolFolder} belongs to the store ${head.store}, and ${store.url} is another`)
}
