/**
 * How the recording does, in one word for whoever looks at the pod from outside: a pure function of what recorder, spool and sealing thread say.
 *
 * A refusal that lasts less than half a minute is none: control is replaced, a store sheds load, and a cluster's pods must not all cry at once.
 */
import type { RecordingFacts, ShippingShown } from '../session/pod-facts.ts'

/** So long a store may refuse before it is said. */
export const refusedMillisecondsMin = 30_000
/** Records are sealed when they are seconds old; so long one has waited only when nothing is stored, whatever the reason. */
export const waitedMillisecondsMin = 120_000

export type RecordingSigns = {
  /** Why the spool refused last; null while it takes what comes. */
  readonly spoolRefusal: { readonly code: string } | null
  /** For how long the store has refused again and again; 0 while it takes everything. */
  readonly storeFailingMilliseconds: number
  /** Of the store's last refusal; empty when it never refused. */
  readonly storeFailureCode: string
  /** Sessions whose rest will never be stored. */
  readonly sessionsSetAside: number
  /** Bytes of records since the process began. */
  readonly writtenBytes: number
  readonly segmentsStored: number
  readonly unshippedBytes: number
  readonly unshippedBytesMax: number
  readonly unshippedMillisecondsMax: number
  /** When the oldest of these bytes was recorded, and when the process began; milliseconds since the epoch, 0 for none. */
  readonly oldestUnshipped: number
  readonly startedAt: number
  readonly now: number
}

/** What the caps themselves refuse. They are judged as they are now: a spool that nobody writes to would stay full by its last refusal. */
const caps: readonly string[] = ['SPOOL_FULL', 'SPOOL_OLD']

export function recordingState(signs: RecordingSigns): RecordingFacts {
  const { unshippedBytes, unshippedBytesMax, oldestUnshipped, startedAt, now } = signs
  const age = oldestUnshipped === 0 ? 0 : Math.max(0, now - oldestUnshipped)
  return {
    ...wordFor(signs, age, Math.min(age, Math.max(0, now - startedAt))),
    shown: shownBy(signs),
    ...{ unshippedBytes: Math.max(0, Math.trunc(unshippedBytes)), unshippedBytesMax: Math.trunc(unshippedBytesMax) },
    oldestUnshippedSeconds: Math.floor(age / 1000),
  }
}

/** That nothing is refused proves a store only when it has taken something. */
function shownBy({ segmentsStored, writtenBytes, unshippedBytes }: RecordingSigns): ShippingShown {
  if (segmentsStored > 0) return 'Stored'
  return writtenBytes > 0 || unshippedBytes > 0 ? 'NothingStored' : 'NothingRecorded'
}

/** `waited`: since this process could have stored it; what an earlier one left is recovered first. */
function wordFor(signs: RecordingSigns, age: number, waited: number): Pick<RecordingFacts, 'state' | 'code'> {
  const { spoolRefusal, storeFailingMilliseconds, storeFailureCode, sessionsSetAside } = signs
  if (signs.unshippedBytes > signs.unshippedBytesMax) return { state: 'Full', code: 'SPOOL_FULL' }
  if (age > signs.unshippedMillisecondsMax) return { state: 'Full', code: 'SPOOL_OLD' }
  if (spoolRefusal !== null && !caps.includes(spoolRefusal.code)) return { state: 'Full', code: asCode(spoolRefusal.code) }
  if (storeFailingMilliseconds >= refusedMillisecondsMin) return { state: 'Failing', code: asCode(storeFailureCode) }
  if (waited >= waitedMillisecondsMin) return { state: 'Failing', code: 'NOTHING_STORED' }
  if (sessionsSetAside > 0) return { state: 'SetAside', code: 'SESSION_SET_ASIDE' }
  return { state: 'Shipping', code: '' }
}

function asCode(code: string): string {
  return /^[A-Z0-9_]{1,64}$/.test(code) ? code : 'UNKNOWN'
}
