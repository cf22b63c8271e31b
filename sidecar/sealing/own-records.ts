/**
 * The records that sealing itself adds to sessions: a gap where the spool was damaged, and the end of a session whose process was killed.
 *
 * No spool holds them. A start that finds them in a stored segment must tell them from what somebody else put there: their payloads have one
 * spelling, and say nothing but when, and what of the spool could not be read.
 */
import type { Gap, SessionClose } from '../../session/identity.ts'
import { recordType, type RecordType, type SessionRecord } from '../../session/records.ts'

export type OwnRecord = { readonly type: RecordType; readonly payload: Buffer }

const damageReason = 'the spool was damaged: '
/** A sentence and a time. */
const payloadBytesMax = 4096

/** `what` of the spool could not be read, found at `now` (milliseconds since the epoch). */
export function damageGap(what: string, now: number): OwnRecord {
  return gapOf(`${damageReason}${what}`, now)
}

/** A killed process's session ends at `now`, when that is found. */
export function killedClose(now: number): OwnRecord {
  const close: SessionClose = { closed: now, reason: 'killed', recovered: true }
  return { type: recordType.sessionClose, payload: Buffer.from(JSON.stringify(close)) }
}

/** True when sealing could have added the record to the session of that number in the spool. */
export function isOwnRecord({ type, flags, session, payload }: SessionRecord, number: number): boolean {
  if (
    (type !== recordType.gap && type !== recordType.sessionClose) ||
    flags !== 0 ||
    session !== number ||
    payload.length > payloadBytesMax
  )
    return false
  const again = remade(type, payload)
  return again !== null && again.payload.equals(payload)
}

/** True when `found` says the same as `wanted`, perhaps of another time. Both are sealing's own. */
export function isSameBut(found: SessionRecord, wanted: OwnRecord): boolean {
  return found.type === wanted.type && (found.type !== recordType.gap || reasonOf(found.payload) === reasonOf(wanted.payload))
}

function gapOf(reason: string, now: number): OwnRecord {
  const gap: Gap = { from: now, to: now, frontendBytes: 0, backendBytes: 0, reason }
  return { type: recordType.gap, payload: Buffer.from(JSON.stringify(gap)) }
}

/** What sealing would write in the place of such a payload; null when it writes nothing like it. */
function remade(type: number, payload: Buffer): OwnRecord | null {
  const said = parsed(payload)
  if (type === recordType.sessionClose) return typeof said['closed'] === 'number' ? killedClose(said['closed']) : null
  const { from, reason } = said
  return typeof from === 'number' && typeof reason === 'string' && reason.startsWith(damageReason) ? gapOf(reason, from) : null
}

const reasonOf = (payload: Buffer): unknown => parsed(payload)['reason']

function parsed(payload: Buffer): Readonly<Record<string, unknown>> {
  try {
    return Object(JSON.parse(payload.toString('utf8'))) as Readonly<Record<string, unknown>>
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    return {} // No record of sealing's own, then.
  }
}
