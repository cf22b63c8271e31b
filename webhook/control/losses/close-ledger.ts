/**
 * Closes the ledger of a recorder that vanished with its pod: puts `lost/<recorder>.json`, unless the recorder ended by itself.
 *
 * Before that control's chain of attestations names the ledger's last entry, so that whoever removes the statement cannot cut the ledger unseen.
 * Of several replicas the first to put it decides; all say the same, since each takes the newest marks from memory and store. What cannot be read
 * in the store makes the statement poorer, not impossible: the reader finds the damage by itself.
 */
import { messageOf } from '../../../base/errors.ts'
import type { Log } from '../../../base/log.ts'
import { sha256Of } from '../../../session/digest.ts'
import { readHighWaterMark } from '../../../session/high-water-mark.ts'
import { findLastLedgerNumber, readLedgerEntry, type LedgerHead } from '../../../session/ledger.ts'
import { ledgerKey, lossKey } from '../../../session/object-keys.ts'
import { claimsOf, sealRecorderLoss, type LossReason, type LostSession, type RecorderLoss } from '../../../session/recorder-loss.ts'
import { RecordingDamaged } from '../../../session/session-content.ts'
import { BadDocument } from '../../../session/shape.ts'
import type { Store } from '../../../session/stores/store.ts'
import type { ControlKey } from '../control-key.ts'
import type { MarkKeeper } from '../marks/keep-marks.ts'
import type { MarkMemory, RecorderMarks } from '../marks/mark-memory.ts'
import { storedAmount } from './stored-amount.ts'

/** `ended`: the recorder closed its ledger. `stated`: somebody else had stated the loss. */
export type ClosedLedger = { readonly kind: 'ended' } | { readonly kind: 'stated' } | { readonly kind: 'lost'; readonly loss: RecorderLoss }

export type CloseLedgerOptions = {
  readonly storeName: string
  readonly store: Store
  readonly recorder: string
  readonly podUid: string
  readonly why: LossReason
  readonly memory: Pick<MarkMemory, 'get'>
  readonly keeper: Pick<MarkKeeper, 'load' | 'forget'>
  readonly key: Pick<ControlKey, 'publicKey' | 'sign'>
  readonly log: Log
  /** Has control's chain of attestations name the ledger's end. */
  readonly nameInChain: (ledger: LedgerHead) => Promise<void>
  /** Milliseconds since the epoch. */
  readonly wallClock?: () => number
}

/** @throws what the store throws: then nothing was decided, and it is to be tried again */
export async function closeLedger(options: CloseLedgerOptions): Promise<ClosedLedger> {
  const { storeName, store, recorder, podUid, why, memory, keeper, key, log, nameInChain, wallClock = Date.now } = options
  const end = async (closed: ClosedLedger): Promise<ClosedLedger> => {
    await keeper.forget(storeName, recorder)
    return closed
  }
  if ((await store.head(lossKey(recorder))) !== null) return end({ kind: 'stated' })
  const { ledger, isStopped } = await ledgerEnd(store, recorder)
  const marks = newer(memory.get(storeName, recorder) ?? null, await keeper.load(storeName, recorder))
  const read = marks === null ? [] : [...marks.earlier, marks.last].map(({ bytes }) => readHighWaterMark(bytes))
  const sessions: LostSession[] = []
  for (const claimed of claimsOf(read)?.sessions.values() ?? []) {
    const { amount, isWhole } = await amountOf(store, claimed.session, log)
    if (isWhole && amount.records >= claimed.records) continue
    const { session, opened, records, bytes, frontendBytes, backendBytes, statements, lastTime } = claimed
    sessions.push({ session, opened, claimed: { records, bytes, frontendBytes, backendBytes, statements, lastTime }, stored: amount })
  }
  // One that ended and was started again may have vanished before its next entry.
  if (isStopped && sessions.length === 0) return end({ kind: 'ended' })
  const texts = marks === null ? null : { last: textOf(marks.last), earlier: marks.earlier.map(textOf) }
  const fields = {
    recorder,
    time: wallClock(),
    why,
    podUid,
    mark: texts?.last ?? null,
    earlierMarks: texts?.earlier ?? [],
    ledger,
    sessions,
  }
  const bytes = sealRecorderLoss(fields, key)
  if (ledger !== null) await nameInChain(ledger)
  const outcome = await store.putIfAbsent(lossKey(recorder), bytes)
  if (outcome === 'exists') return end({ kind: 'stated' })
  const missing = sessions.reduce((sum, { claimed, stored }) => sum + Math.max(0, claimed.records - stored.records), 0)
  log.warn(
    { store: storeName, recorder, pod: podUid, why, sessions: sessions.length, recordsMissing: missing, marked: marks !== null },
    'a recorder vanished with its pod; its ledger is closed with what is missing',
  )
  const loss = JSON.parse(bytes.toString('utf8', 0, bytes.indexOf(0x0a))) as RecorderLoss
  return end({ kind: 'lost', loss })
}

/** The ledger's last entry as it lies there, sound or not: a reader holds it against what is there later. */
async function ledgerEnd(
  store: Store,
  recorder: string,
): Promise<{ readonly ledger: RecorderLoss['ledger']; readonly isStopped: boolean }> {
  const number = await findLastLedgerNumber(store, recorder)
  const bytes = number === 0 ? null : await store.get(ledgerKey(recorder, number))
  if (bytes === null) return { ledger: null, isStopped: false }
  const ledger = { number, sha256: sha256Of(bytes) }
  try {
    return { ledger, isStopped: readLedgerEntry(bytes).entry.events.at(-1)?.kind === 'recorder-stopped' }
  } catch (error) {
    if (!(error instanceof BadDocument)) throw error
    return { ledger, isStopped: false }
  }
}

async function amountOf(store: Store, session: string, log: Log): ReturnType<typeof storedAmount> {
  try {
    return await storedAmount(store, session)
  } catch (error) {
    if (!(error instanceof RecordingDamaged)) throw error
    log.warn({ session }, `what is stored of a lost session cannot be read: ${messageOf(error)}`)
    return { amount: { segments: 0, records: 0, bytes: null, lastTime: null }, isWhole: false }
  }
}

type Marks = Pick<RecorderMarks, 'last' | 'earlier'>

/** Of what this replica heard and what one of them kept. */
function newer(one: Marks | null, other: Marks | null): Marks | null {
  if (one === null || other === null) return one ?? other
  return one.last.number >= other.last.number ? one : other
}

function textOf({ bytes }: { readonly bytes: Buffer }): string {
  return bytes.toString('utf8')
}
