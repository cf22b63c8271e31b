/**
 * How far a recorder has come: a signed statement of what lies in its spool, given to control while the recorder lives.
 *
 * When a pod is lost with its spool, the last mark says how much was recorded, so that what is missing from the store has a stated size. Counts
 * only: no SQL, no names. Marks name the sessions that are open or not wholly stored, at most `markedSessionsMax`; the others are one sum.
 * A mark says nothing of what was recorded after it; a recorder gives one at most each 500 ms, so that much of the end stays unknown.
 */
import { createPublicKey, type KeyObject } from 'node:crypto'
import { isRecorderId } from './object-keys.ts'
import { recorderIdOf, type RecorderKey } from './recorder-key.ts'
import { sessionIdCheck } from './session-id.ts'
import { BadDocument, flag, list, matching, natural, object, oneOf, ordinal, text, time, type Check } from './shape.ts'
import { readSignedDocument, signDocument } from './signed-document.ts'

export const markedSessionsMax = 512
/** The longest that this release writes has about 150 KiB. */
export const markBytesMax = 256 * 1024

/** What the spool holds of something, stored or not. */
export type RecordedAmount = {
  /** Records, each as it stands in segments: sessions' openings, ends and gaps are among them. */
  readonly records: number
  /** Of these records with their headers, as `rawBytes` of a segment counts. */
  readonly bytes: number
  /** Of what the agent sent and of what the database answered, as it was recorded. */
  readonly frontendBytes: number
  readonly backendBytes: number
  /** Query, Bind and FunctionCall messages that the agent began, also those that were refused or passed in a gap; a Query of several statements counts once. */
  readonly statements: number
}

export type MarkedSession = RecordedAmount & {
  readonly session: string
  /** Milliseconds since the epoch. */
  readonly opened: number
  /** Of its last record, in milliseconds since the epoch. */
  readonly lastTime: number
  /** True when the record that ends it is among the records. */
  readonly closed: boolean
}

export type UnnamedSessions = RecordedAmount & { readonly sessions: number }

export type HighWaterMark = {
  readonly type: 'high-water-mark'
  readonly version: 1
  readonly recorder: string
  /** Base64 of the DER (SPKI) form: a mark is checked without a store. */
  readonly publicKey: string
  /** When the recorder's process began, in milliseconds since the epoch: the counts are this process's. */
  readonly process: number
  /** Higher than that of every mark before, also over restarts of the process. */
  readonly number: number
  /** Milliseconds since the epoch. */
  readonly time: number
  /** Bytes in the spool without a receipt of the store, those of `earlierBytes` included. */
  readonly waitingBytes: number
  /** Of these, what earlier processes left behind and this one has not recovered; the last mark of the process before names their sessions. */
  readonly earlierBytes: number
  readonly sessions: readonly MarkedSession[]
  readonly rest: UnnamedSessions
}

const amount = { records: natural, bytes: natural, frontendBytes: natural, backendBytes: natural, statements: natural }

const checkMark: Check<HighWaterMark> = object<HighWaterMark>({
  type: oneOf('high-water-mark'),
  version: oneOf(1),
  recorder: matching(/^[0-9a-f]{32}$/, 'a recorder id'),
  publicKey: text,
  process: natural,
  number: ordinal,
  time,
  waitingBytes: natural,
  earlierBytes: natural,
  sessions: list(object<MarkedSession>({ session: sessionIdCheck, opened: time, ...amount, lastTime: time, closed: flag })),
  rest: object<UnnamedSessions>({ sessions: natural, ...amount }),
})

export function sealHighWaterMark(fields: Omit<HighWaterMark, 'type' | 'version' | 'recorder' | 'publicKey'>, key: RecorderKey): Buffer {
  const publicKey = key.publicKey.export({ type: 'spki', format: 'der' }).toString('base64')
  const mark: HighWaterMark = { type: 'high-water-mark', version: 1, recorder: key.id, publicKey, ...fields }
  return signDocument(mark, key).bytes
}

/**
 * A mark of the recorder that it names: signed by the key whose fingerprint that is. Whose recorder it is, and whether the mark is the latest,
 * is the caller's to say.
 * @throws BadDocument
 */
export function readHighWaterMark(bytes: Buffer): HighWaterMark {
  if (bytes.length > markBytesMax) throw new BadDocument(`the high-water mark is ${bytes.length} bytes long`)
  const signed = readSignedDocument(bytes, 'high-water-mark')
  const mark = checkMark(signed.value, 'the high-water mark')
  if (mark.sessions.length > markedSessionsMax) throw new BadDocument(`the high-water mark names ${mark.sessions.length} sessions`)
  if (new Set(mark.sessions.map(({ session }) => session)).size !== mark.sessions.length)
    throw new BadDocument('the high-water mark names a session twice')
  const publicKey = publicKeyIn(mark.publicKey)
  if (!isRecorderId(mark.recorder) || recorderIdOf(publicKey) !== mark.recorder)
    throw new BadDocument('the high-water mark holds the key of another recorder')
  if (!signed.isSignedBy(publicKey)) throw new BadDocument('the high-water mark is not signed by its recorder')
  return mark
}

function publicKeyIn(base64: string): KeyObject {
  let key: KeyObject
  try {
    key = createPublicKey({ key: Buffer.from(base64, 'base64'), format: 'der', type: 'spki' })
  } catch (cause) {
    throw new BadDocument('the high-water mark holds no public key', { cause })
  }
  if (key.asymmetricKeyType !== 'ed25519') throw new BadDocument('the high-water mark holds no Ed25519 key')
  return key
}
