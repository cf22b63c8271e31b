/**
 * What a list of sessions shows of each: from its manifest, or, while it has none, from its first segment's header.
 *
 * Reads one small object per closed session and three per open one. A damaged session is listed as such: one bad object
 * must not hide the others.
 */
import { sessionIds, type SessionOrder, type SessionSpan } from './find-session.ts'
import { KnownError } from '../base/errors.ts'
import type { SessionClose, SessionIdentity } from './identity.ts'
import { findLedgerHead, readLedgerEntry } from './ledger.ts'
import { ledgerKey } from './object-keys.ts'
import { readHeader, readSessionManifest, readStatements } from './session-content.ts'
import { sessionTime } from './session-id.ts'
import { StoreUnavailable, type Store } from './stores/store.ts'

/**
 * A recorder says something at least every five minutes, if only a heartbeat. One that was silent for longer than this is
 * gone, and what it had open was killed with it until its next start recovers it.
 */
const silentMilliseconds = 15 * 60 * 1000

export type SessionState =
  /** Its recorder lives. */
  | 'open'
  | 'closed'
  /** It has no end, and its recorder is gone. */
  | 'killed'
  /** It was killed, and a later start of its recorder ended the recording. */
  | 'recovered'
  /** What tells its state cannot be read; `problem` says why. */
  | 'damaged'

export type SessionSummary = {
  readonly session: string
  readonly state: SessionState
  /** Milliseconds since the epoch. */
  readonly opened: number
  readonly closed: number | null
  readonly identity: SessionIdentity | null
  readonly close: SessionClose | null
  /** Statements that are stored; null when that cannot be told. */
  readonly statements: number | null
  readonly segments: number | null
  readonly gaps: number | null
  readonly problem?: string
}

export type ListOptions = SessionSpan & {
  readonly order?: SessionOrder
  /** Milliseconds since the epoch, for telling a dead recorder from a living one. */
  readonly now?: number
}

/** One session after the other, so that a caller may stop at any. @throws StoreUnavailable */
export async function* listSessions(
  store: Store,
  { order = 'newest', now = Date.now(), ...span }: ListOptions = {},
): AsyncGenerator<SessionSummary> {
  const living = new Map<string, boolean>()
  const isLiving = async (recorder: string): Promise<boolean> => {
    const known = living.get(recorder)
    if (known !== undefined) return known
    const lives = await speaksStill(store, recorder, now)
    living.set(recorder, lives)
    return lives
  }
  for await (const session of sessionIds(store, order, span)) {
    try {
      const summary = await summaryOf(store, session, isLiving)
      if (summary !== null) yield summary
    } catch (error) {
      if (!(error instanceof KnownError) || error instanceof StoreUnavailable) throw error
      const unknown = { closed: null, identity: null, close: null, statements: null, segments: null, gaps: null }
      yield { session, state: 'damaged', opened: sessionTime(session), ...unknown, problem: error.message }
    }
  }
}

/** Null when the session has no object yet. */
async function summaryOf(store: Store, session: string, isLiving: (recorder: string) => Promise<boolean>): Promise<SessionSummary | null> {
  const manifest = await readSessionManifest(store, session)
  if (manifest !== null) {
    const { identity, opened, closed, close, statements, segments, gaps } = manifest
    const state = manifest.recovered || close.recovered ? 'recovered' : 'closed'
    return { session, state, opened, closed, identity, close, statements, segments: segments.length, gaps: gaps.length }
  }
  const header = await readHeader(store, session, 1)
  if (header === null) return null
  let statements = 0
  for await (const _ of readStatements(store, session)) statements += 1
  const state = (await isLiving(header.recorder)) ? 'open' : 'killed'
  return {
    session,
    state,
    opened: header.identity.opened,
    closed: null,
    identity: header.identity,
    close: null,
    statements,
    segments: null,
    gaps: null,
  }
}

async function speaksStill(store: Store, recorder: string, now: number): Promise<boolean> {
  try {
    const head = await findLedgerHead(store, recorder)
    const bytes = head === null ? null : await store.get(ledgerKey(recorder, head.number))
    if (bytes === null) return false
    const { entry } = readLedgerEntry(bytes)
    return entry.events.at(-1)?.kind !== 'recorder-stopped' && now - entry.time < silentMilliseconds
  } catch (error) {
    if (error instanceof KnownError && !(error instanceof StoreUnavailable)) return false
    throw error
  }
}
