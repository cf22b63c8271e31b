/**
 * A recorder's ledger: a chain of signed entries that says everything the recorder has stored.
 *
 * Each entry is one object that names the SHA-256 of the entry before, so none can be changed, dropped or put between.
 * What the chain alone cannot show is a cut-off tail; for that the recorder keeps the head (`ledger-head.ts`).
 */
import type { KeyObject } from 'node:crypto'
import { invariant } from '../base/invariant.ts'
import { findLastNumber } from './last-number.ts'
import { checkIndexReference, checkRecordRange, type IndexReference } from './manifest.ts'
import { ledgerKey } from './object-keys.ts'
import type { RecorderKey } from './recorder-key.ts'
import { sessionIdCheck } from './session-id.ts'
import { BadDocument, flag, isObject, list, natural, nullable, object, oneOf, ordinal, sha256Hex, text, time, type Check } from './shape.ts'
import { readSignedDocument, signDocument, type SignedDocument } from './signed-document.ts'
import type { Store } from './stores/store.ts'

/** What control takes at most; a longer object is no entry of a recorder's. */
export const ledgerEntryBytesMax = 4 * 1024 * 1024

export type RecorderStarted = { readonly kind: 'recorder-started'; readonly steno: string; readonly spool: string }
export type SessionOpened = { readonly kind: 'session-opened'; readonly session: string; readonly opened: number }
export type SegmentStored = {
  readonly kind: 'segment-stored'
  readonly session: string
  readonly number: number
  readonly key: string
  readonly sha256: string
  readonly bytes: number
  readonly index: IndexReference
  readonly records: { readonly from: number; readonly to: number }
  readonly last: boolean
}
export type SessionClosed = {
  readonly kind: 'session-closed'
  readonly session: string
  readonly manifest: { readonly key: string; readonly sha256: string }
  /** How many there are. */
  readonly segments: number
}
/** Written when nothing else was for a while, so that silence can be told from a dead recorder. */
export type Heartbeat = { readonly kind: 'heartbeat'; readonly openSessions: number }
export type RecorderStopped = { readonly kind: 'recorder-stopped' }

export type LedgerEvent = RecorderStarted | SessionOpened | SegmentStored | SessionClosed | Heartbeat | RecorderStopped

export type LedgerEntry = {
  readonly type: 'ledger-entry'
  readonly version: 1
  readonly recorder: string
  /** From 1, without a hole. */
  readonly number: number
  /** SHA-256 of the whole file of the entry before; null for the first. */
  readonly previous: string | null
  /** Milliseconds since the epoch at which the recorder signed it. */
  readonly time: number
  readonly events: readonly LedgerEvent[]
}

export type LedgerHead = { readonly number: number; readonly sha256: string }

const eventChecks: { readonly [Kind in LedgerEvent['kind']]: Check<Extract<LedgerEvent, { kind: Kind }>> } = {
  'recorder-started': object<RecorderStarted>({ kind: oneOf('recorder-started'), steno: text, spool: text }),
  'session-opened': object<SessionOpened>({ kind: oneOf('session-opened'), session: sessionIdCheck, opened: time }),
  'segment-stored': object<SegmentStored>({
    kind: oneOf('segment-stored'),
    session: sessionIdCheck,
    number: ordinal,
    key: text,
    sha256: sha256Hex,
    bytes: natural,
    index: checkIndexReference,
    records: checkRecordRange,
    last: flag,
  }),
  'session-closed': object<SessionClosed>({
    kind: oneOf('session-closed'),
    session: sessionIdCheck,
    manifest: object<SessionClosed['manifest']>({ key: text, sha256: sha256Hex }),
    segments: natural,
  }),
  heartbeat: object<Heartbeat>({ kind: oneOf('heartbeat'), openSessions: natural }),
  'recorder-stopped': object<RecorderStopped>({ kind: oneOf('recorder-stopped') }),
}

const checkEvent: Check<LedgerEvent> = (value, where) => {
  const kind = isObject(value) ? value['kind'] : undefined
  if (typeof kind !== 'string' || !Object.hasOwn(eventChecks, kind))
    throw new BadDocument(`${where} is of a kind that this release does not know`)
  return eventChecks[kind as LedgerEvent['kind']](value, where)
}

const checkEntry: Check<LedgerEntry> = object<LedgerEntry>({
  type: oneOf('ledger-entry'),
  version: oneOf(1),
  recorder: text,
  number: ordinal,
  previous: nullable(sha256Hex),
  time,
  events: list(checkEvent),
})

export type SealedLedgerEntry = { readonly objectKey: string; readonly bytes: Buffer; readonly head: LedgerHead }

/**
 * Makes entries one after the other. Each must be stored (with `putOnce`) before the next is made: an entry that is
 * given up leaves a hole that `verify` reports.
 */
export function createLedger({ key, head }: { readonly key: RecorderKey; readonly head: LedgerHead | null }) {
  let current = head
  return {
    /** `time` in milliseconds since the epoch. One entry may carry many events. */
    entry(events: readonly LedgerEvent[], entryTime: number): SealedLedgerEntry {
      invariant(events.length > 0, 'a ledger entry says something')
      const number = (current?.number ?? 0) + 1
      const entry: LedgerEntry = {
        type: 'ledger-entry',
        version: 1,
        recorder: key.id,
        number,
        previous: current?.sha256 ?? null,
        time: entryTime,
        events,
      }
      const { bytes, sha256 } = signDocument(entry, key)
      current = { number, sha256 }
      return { objectKey: ledgerKey(key.id, number), bytes, head: current }
    },
    /** Takes back the entry that was made last, of which no store has anything; the next one gets its number. */
    withdraw(previous: LedgerHead | null): void {
      current = previous
    },
    head: (): LedgerHead | null => current,
  }
}

/** @throws BadDocument; signature and place in the chain are the caller's to check */
export function readLedgerEntry(bytes: Buffer): { readonly entry: LedgerEntry; readonly document: SignedDocument } {
  const document = readSignedDocument(bytes, 'ledger-entry')
  const entry = checkEntry(document.value, 'the ledger entry')
  if ((entry.number === 1) !== (entry.previous === null)) throw new BadDocument('the ledger entry does not fit its number')
  return { entry, document }
}

/**
 * The number of the last entry that the store has of `recorder`; 0 when it has none. Looks from `from` on, where the entry is
 * known to exist (the local head), and asks for about twice the logarithm of what came since. @throws StoreUnavailable
 */
export function findLastLedgerNumber(store: Store, recorder: string, from = 0): Promise<number> {
  return findLastNumber(async (number) => (await store.head(ledgerKey(recorder, number))) !== null, from)
}

/**
 * The last entry that the store has of `recorder`, or null when it has none; see `findLastLedgerNumber`. Whoever goes on behind it gives the
 * recorder's `publicKey`: an entry that names a forged one as the one before would vouch for it. Null takes whatever lies there, for those who only
 * tell people what a store says; what of it is true `verify` finds.
 * @throws StoreUnavailable, BadDocument when the last entry is damaged, not the recorder's, or not signed by `publicKey`
 */
export async function findLedgerHead(
  store: Store,
  recorder: string,
  { publicKey, from = 0 }: { readonly publicKey: KeyObject | null; readonly from?: number },
): Promise<LedgerHead | null> {
  const known = await findLastLedgerNumber(store, recorder, from)
  if (known === 0) return null
  const bytes = await store.range(ledgerKey(recorder, known), 0, ledgerEntryBytesMax + 1)
  if (bytes === null) throw new BadDocument(`the ledger entry ${known} vanished while it was read`)
  if (bytes.length > ledgerEntryBytesMax) throw new BadDocument(`the ledger entry ${known} is longer than any`)
  const { entry, document } = readLedgerEntry(bytes)
  if (entry.recorder !== recorder || entry.number !== known) throw new BadDocument(`the ledger entry ${known} is not what its name says`)
  if (publicKey !== null && !document.isSignedBy(publicKey))
    throw new BadDocument(`the ledger entry ${known} is not signed by its recorder`)
  return { number: known, sha256: document.sha256 }
}
