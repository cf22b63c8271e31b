/**
 * Recorders that vanished: what their last high-water marks claim against what is stored, session by session.
 *
 * A statement of loss counts only when the control signed it that attests the recorder, or one that the reader trusts: then what is missing is a
 * stated gap with its size. A mark that claims more than is stored, of a recorder that is silent and whose loss nobody states, is a fault.
 * Marks are the recorder's own word. Holds about 200 bytes for each session that a mark names.
 */
import type { KeyObject } from 'node:crypto'
import { sha256Of } from '../digest.ts'
import { markBytesMax, readHighWaterMark, type HighWaterMark, type MarkedSession, type RecordedAmount } from '../high-water-mark.ts'
import { ledgerKey, lossKey, markKey, marksOfRecorderPrefix, nameOf } from '../object-keys.ts'
import { recorderIdOf } from '../recorder-key.ts'
import { claimsOf, lossBytesMax, readRecorderLoss, type Claims, type ReadLoss, type RecorderLoss } from '../recorder-loss.ts'
import { BadDocument } from '../shape.ts'
import type { Store } from '../stores/store.ts'
import type { createAttestations } from './attestations.ts'
import { finding, type Finding } from './finding.ts'
import type { Book } from './ledger-books.ts'

/** A recorder that entered nothing into its ledger and gave no mark for so long is gone; it says something every five minutes. */
const silentMilliseconds = 15 * 60 * 1000

type Lost = {
  /** Null without a statement of loss, and when the one that is there does not count. */
  readonly loss: RecorderLoss | null
  readonly claims: Claims | null
  /** Time of the last mark, milliseconds since the epoch; 0 without any. */
  readonly markTime: number
}

/** What of a session is stored, as the verifier found it. */
export type StoredSession = Omit<RecordedAmount, 'statements'> & { readonly statements: number; readonly lastTime: number | null }

const nothingStored: StoredSession = { records: 0, bytes: 0, frontendBytes: 0, backendBytes: 0, statements: 0, lastTime: null }

/** `bookOf` gives what is known of a recorder's ledger by then. */
export function createLosses(
  store: Store,
  {
    attestations,
    attesters,
    bookOf,
  }: {
    readonly attestations: ReturnType<typeof createAttestations>
    readonly attesters: readonly KeyObject[]
    readonly bookOf: (recorder: string) => Book | undefined
  },
) {
  const trusted = new Set(attesters.map(recorderIdOf))
  const known = new Map<string, Lost>()
  const compared = new Set<string>()

  async function* read(recorder: string): AsyncGenerator<Finding, Lost> {
    const found = yield* readLoss(recorder)
    const mark = yield* lastMarkOf(recorder)
    const claims = claimsOf([...(found?.earlierMarks ?? []), found?.mark ?? null, mark])
    const markTime = Math.max(mark?.time ?? 0, found?.mark?.time ?? 0)
    if (found === null) return { loss: null, claims, markTime }
    yield* checkHead(recorder, found.loss)
    yield finding('RECORDER_LOST', lostText(found.loss, claims), { key: lossKey(recorder) })
    return { loss: found.loss, claims, markTime }
  }

  /** The statement of loss, when there is one that counts. */
  async function* readLoss(recorder: string): AsyncGenerator<Finding, ReadLoss | null> {
    const key = lossKey(recorder)
    let given: ReadLoss
    try {
      const head = await store.head(key)
      if (head === null) return null
      if (head.bytes > lossBytesMax) throw new BadDocument(`the statement of loss is ${head.bytes} bytes long`)
      const bytes = await store.get(key)
      if (bytes === null) return null
      given = readRecorderLoss(bytes, recorder)
    } catch (error) {
      if (!(error instanceof BadDocument)) throw error
      yield finding('LOSS_DAMAGED', error.message, { key })
      return null
    }
    const by = recorderIdOf(given.publicKey)
    const attested = yield* attestations.of(recorder)
    if (trusted.has(by) || (attested.kind === 'attested' && attested.by === by)) return given
    const who = attested.kind === 'attested' ? `, and key ${attested.by} attests the recorder` : ', and nobody attests the recorder'
    yield finding('LOSS_SIGNATURE', `key ${by} states the loss of recorder ${recorder}${who}`, { key })
    return null
  }

  async function* lastMarkOf(recorder: string): AsyncGenerator<Finding, HighWaterMark | null> {
    let last: HighWaterMark | null = null
    for await (const { key, bytes } of store.list(marksOfRecorderPrefix(recorder))) {
      const name = nameOf(key)
      if (name.kind !== 'mark') continue
      try {
        if (bytes > markBytesMax) throw new BadDocument(`the high-water mark is ${bytes} bytes long`)
        const found = await store.get(key)
        if (found === null) continue // Control has put a later one, and removed this.
        const mark = readHighWaterMark(found)
        if (mark.recorder !== recorder || markKey(recorder, mark.number) !== key)
          throw new BadDocument(`this is mark ${mark.number} of recorder ${mark.recorder}`)
        last = mark
      } catch (error) {
        if (!(error instanceof BadDocument)) throw error
        yield finding('MARK_DAMAGED', error.message, { key })
      }
    }
    return last
  }

  /** Control saw the ledger's last entry: one that ends before it was cut since. */
  async function* checkHead(recorder: string, { ledger }: RecorderLoss): AsyncGenerator<Finding> {
    if (ledger === null) return
    const key = ledgerKey(recorder, ledger.number)
    const bytes = await store.get(key)
    if (bytes === null)
      yield finding(
        'LEDGER_TAIL_MISSING',
        `entry ${ledger.number} of recorder ${recorder} is missing; control saw it when it stated the recorder's loss`,
        { key },
      )
    else if (sha256Of(bytes) !== ledger.sha256)
      yield finding('LEDGER_FORKED', `entry ${ledger.number} of recorder ${recorder} is not the one that control saw`, { key })
  }

  function mayLive(recorder: string, { markTime }: Lost): boolean {
    const book = bookOf(recorder)
    // A mark behind its end is of its next start.
    const isStopped = book?.stopped === true && markTime <= book.lastTime
    return !isStopped && Date.now() - Math.max(book?.lastTime ?? 0, markTime) < silentMilliseconds
  }

  async function* of(recorder: string): AsyncGenerator<Finding, Lost> {
    const before = known.get(recorder)
    if (before !== undefined) return before
    const lost = yield* read(recorder)
    known.set(recorder, lost)
    return lost
  }

  async function* compare(recorder: string, session: string, closed: boolean, stored: StoredSession): AsyncGenerator<Finding> {
    compared.add(session)
    const lost = yield* of(recorder)
    const { loss, claims } = lost
    const seen = loss?.sessions.find((each) => each.session === session)
    if (seen !== undefined && seen.stored.records > stored.records)
      yield finding(
        'LOSS_CONTRADICTED',
        `control saw ${seen.stored.records} records of this session stored when it stated the loss, and there are ${stored.records}`,
        { session, key: lossKey(recorder) },
      )
    const claimed = claims?.sessions.get(session)
    if (claimed !== undefined && claimed.records > stored.records) {
      const missing = missingOf(claimed, stored)
      if (loss !== null && !closed)
        yield finding('SESSION_LOST', `${missingText(missing, claimed, stored)} were lost with the recorder`, { session, missing })
      else if (loss !== null || closed || !mayLive(recorder, lost))
        yield finding('MARK_UNMET', `${missingText(missing, claimed, stored)} are not stored, and no loss is stated`, { session, missing })
    } else if (claimed === undefined && loss !== null && !closed) {
      const why =
        claims === null
          ? 'control never heard a high-water mark'
          : claims.rest.sessions > 0
            ? `it is none of those that the last mark names, and may be one of the ${claims.rest.sessions} that it sums up`
            : 'the last mark does not name it'
      yield finding('SESSION_LOST', `how much of this session was lost with the recorder is not known: ${why}`, { session })
    }
  }

  return {
    /** At the first time with what is wrong with it. */
    of,
    /** What of one session is missing; `closed`: its ledger says that it ended. */
    compare,
    /** Sessions that marks name and that were not compared: nothing of them is stored. */
    async *unseen(isWanted: (session: string) => boolean): AsyncGenerator<Finding> {
      for (const [recorder, { claims }] of known)
        for (const session of claims?.sessions.keys() ?? []) {
          if (isWanted(session) && !compared.has(session)) yield* compare(recorder, session, false, nothingStored)
        }
    },
  }
}

export function missingOf(claimed: RecordedAmount, stored: Omit<StoredSession, 'lastTime'>): RecordedAmount {
  const less = (name: keyof RecordedAmount): number => Math.max(0, claimed[name] - stored[name])
  return {
    records: less('records'),
    bytes: less('bytes'),
    frontendBytes: less('frontendBytes'),
    backendBytes: less('backendBytes'),
    statements: less('statements'),
  }
}

function missingText(missing: RecordedAmount, claimed: MarkedSession, stored: StoredSession): string {
  const { records, frontendBytes, backendBytes, statements } = missing
  const from = new Date(Math.trunc(stored.lastTime ?? claimed.opened)).toISOString()
  const to = new Date(Math.trunc(claimed.lastTime)).toISOString()
  return (
    `${records} records (${frontendBytes} bytes from the client, ${backendBytes} from the database, ${statements} statements begun) ` +
    `of ${from} to ${to}`
  )
}

const reasons: Readonly<Record<RecorderLoss['why'], string>> = {
  'pod-deleted': 'its pod was deleted',
  'pod-ended': 'its pod ended',
  'pod-not-found': 'its pod is gone',
}

function lostText({ recorder, why, podUid }: RecorderLoss, claims: Claims | null): string {
  const heard =
    claims === null
      ? 'control never heard a high-water mark of it'
      : `its last high-water mark is of ${new Date(Math.trunc(claims.time)).toISOString()}`
  return `recorder ${recorder} ended without closing its ledger: ${reasons[why]} (UID ${podUid}), and ${heard}`
}
