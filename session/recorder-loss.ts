/**
 * What control states of a recorder that vanished with its pod: `lost/<recorder>.json`, put once and signed by control's key.
 *
 * It closes a ledger that its recorder cannot close any more: the last high-water mark as the recorder signed it, and beside it what the store had
 * at that time. A recorder that comes back may still store more; what is really missing is the reader's to compute, from the mark and the store.
 * Whether the key that signed it is *yours* is for the reader to say, as with attestations.
 */
import type { KeyObject } from 'node:crypto'
import { readHighWaterMark, type HighWaterMark, type MarkedSession, type UnnamedSessions } from './high-water-mark.ts'
import { lossKey } from './object-keys.ts'
import type { RecorderKey } from './recorder-key.ts'
import { sessionIdCheck } from './session-id.ts'
import { BadDocument, list, matching, natural, nullable, object, oneOf, ordinal, sha256Hex, text, time, type Check } from './shape.ts'
import { keyThatSigned, readSignedDocument, signDocument } from './signed-document.ts'
import type { Store } from './stores/store.ts'

/** Of processes before the last. */
export const earlierMarksMax = 4
/** So many marks and one more, and some 300 bytes for each session that they name. */
export const lossBytesMax = 4 * 1024 * 1024

/**
 * `pod-deleted`: the API server had deleted the pod. `pod-ended`: it is there and none of its containers runs again. `pod-not-found`: it was found to
 * be gone when control looked for the pods of recorders that had not ended.
 */
export const lossReasons = ['pod-deleted', 'pod-ended', 'pod-not-found'] as const
export type LossReason = (typeof lossReasons)[number]

/** What the store had of a session when the loss was stated. */
export type StoredAmount = {
  readonly segments: number
  readonly records: number
  /** As `rawBytes` of segments counts; null when there were too many segments to ask. */
  readonly bytes: number | null
  /** Of the last record, in milliseconds since the epoch; null when nothing is stored. */
  readonly lastTime: number | null
}

export type LostSession = {
  readonly session: string
  readonly opened: number
  readonly claimed: Pick<MarkedSession, 'records' | 'bytes' | 'frontendBytes' | 'backendBytes' | 'statements' | 'lastTime'>
  readonly stored: StoredAmount
}

export type RecorderLoss = {
  readonly type: 'recorder-loss'
  readonly version: 1
  readonly recorder: string
  /** Milliseconds since the epoch. */
  readonly time: number
  readonly why: LossReason
  readonly podUid: string
  /** The last high-water mark, whole with its signature; null when control never heard one. */
  readonly mark: string | null
  /** The last marks of processes before, while the last one says that something of them waited still; the oldest first. */
  readonly earlierMarks: readonly string[]
  /** The ledger's last entry that the store had; null when it had none. */
  readonly ledger: { readonly number: number; readonly sha256: string } | null
  /** The sessions that the marks name and that were not wholly stored. */
  readonly sessions: readonly LostSession[]
  /** Of control: base64 of the DER (SPKI) form. */
  readonly publicKey: string
}

/** `publicKey` is the key that signed it; the marks are the recorder's, signatures checked. */
export type ReadLoss = {
  readonly loss: RecorderLoss
  readonly publicKey: KeyObject
  readonly mark: HighWaterMark | null
  readonly earlierMarks: readonly HighWaterMark[]
}

const checkLoss: Check<RecorderLoss> = object<RecorderLoss>({
  type: oneOf('recorder-loss'),
  version: oneOf(1),
  recorder: matching(/^[0-9a-f]{32}$/, 'a recorder id'),
  time,
  why: oneOf(...lossReasons),
  podUid: text,
  mark: nullable(text),
  earlierMarks: list(text),
  ledger: nullable(object<NonNullable<RecorderLoss['ledger']>>({ number: ordinal, sha256: sha256Hex })),
  sessions: list(
    object<LostSession>({
      session: sessionIdCheck,
      opened: time,
      claimed: object<LostSession['claimed']>({
        ...{ records: natural, bytes: natural, frontendBytes: natural, backendBytes: natural, statements: natural, lastTime: time },
      }),
      stored: object<StoredAmount>({ segments: natural, records: natural, bytes: nullable(natural), lastTime: nullable(time) }),
    }),
  ),
  publicKey: text,
})

export function sealRecorderLoss(
  fields: Omit<RecorderLoss, 'type' | 'version' | 'publicKey'>,
  key: Pick<RecorderKey, 'publicKey' | 'sign'>,
): Buffer {
  const publicKey = key.publicKey.export({ type: 'spki', format: 'der' }).toString('base64')
  const loss: RecorderLoss = { type: 'recorder-loss', version: 1, ...fields, publicKey }
  return signDocument(loss, key).bytes
}

/**
 * What `bytes` state of `recorder`: signed by the key that they name, which is the caller's to trust.
 * @throws BadDocument
 */
export function readRecorderLoss(bytes: Buffer, recorder: string): ReadLoss {
  if (bytes.length > lossBytesMax) throw new BadDocument(`the statement of loss is ${bytes.length} bytes long`)
  const signed = readSignedDocument(bytes, 'recorder-loss')
  const loss = checkLoss(signed.value, 'the statement of loss')
  if (loss.recorder !== recorder) throw new BadDocument(`this is the statement of loss of recorder ${loss.recorder}`)
  const publicKey = keyThatSigned(signed, loss.publicKey, 'the statement of loss')
  const mark = loss.mark === null ? null : markOf(loss.mark, recorder)
  return { loss, publicKey, mark, earlierMarks: loss.earlierMarks.map((textOfMark) => markOf(textOfMark, recorder)) }
}

function markOf(textOfMark: string, recorder: string): HighWaterMark {
  const mark = readHighWaterMark(Buffer.from(textOfMark, 'utf8'))
  if (mark.recorder !== recorder) throw new BadDocument(`the statement of loss holds a mark of recorder ${mark.recorder}`)
  return mark
}

export type Claims = {
  readonly sessions: ReadonlyMap<string, MarkedSession>
  /** Sessions that the marks count and do not name. */
  readonly rest: UnnamedSessions
  /** Time of the last mark, milliseconds since the epoch. */
  readonly time: number
}

/** What the marks claim was recorded, session by session. A session of which two marks speak is as the later one says. Null without any. */
export function claimsOf(marks: readonly (HighWaterMark | null)[]): Claims | null {
  const given = marks.filter((mark) => mark !== null).sort((one, other) => one.number - other.number)
  const last = given.at(-1)
  if (last === undefined) return null
  const sessions = new Map<string, MarkedSession>()
  for (const mark of given) for (const claimed of mark.sessions) sessions.set(claimed.session, claimed)
  const rest = { sessions: 0, records: 0, bytes: 0, frontendBytes: 0, backendBytes: 0, statements: 0 }
  for (const mark of given) for (const name of Object.keys(rest) as (keyof typeof rest)[]) rest[name] += mark.rest[name]
  return { sessions, rest, time: last.time }
}

/** What the store holds of `recorder`'s loss, or null. @throws BadDocument, StoreUnavailable */
export async function findRecorderLoss(store: Store, recorder: string): Promise<ReadLoss | null> {
  const key = lossKey(recorder)
  const head = await store.head(key)
  if (head === null) return null
  if (head.bytes > lossBytesMax) throw new BadDocument(`the statement of loss is ${head.bytes} bytes long`)
  const bytes = await store.get(key)
  return bytes === null ? null : readRecorderLoss(bytes, recorder)
}
