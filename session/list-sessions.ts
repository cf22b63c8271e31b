/**
 * What a list of sessions shows of each: from its manifest, or, while it has none, from its first segment's header.
 *
 * Reads one small object per closed session and three per open one, of `sessionsAtOnce` sessions at a time: a store across a network answers each
 * late. A damaged session is listed as such: one bad object must not hide the others. One that was lost as a whole is listed by what its recorder's
 * statement of loss says of it, for which every such statement is read first.
 */
import { sessionIds, type SessionOrder, type SessionSpan } from './find-session.ts'
import { KnownError } from '../base/errors.ts'
import type { SessionClose, SessionIdentity } from './identity.ts'
import { inOrder } from './in-order.ts'
import { findLedgerHead, readLedgerEntry } from './ledger.ts'
import { createLostSessions, type LostPart, type LostSessions } from './lost-sessions.ts'
import { ledgerKey } from './object-keys.ts'
import { readHeader, readSessionManifest, readStatements, segmentsOf } from './session-content.ts'
import { sessionTime } from './session-id.ts'
import { StoreUnavailable, type Store } from './stores/store.ts'

/**
 * A recorder says something at least every five minutes, if only a heartbeat. One that was silent for longer than this is
 * gone, and what it had open was killed with it until its next start recovers it.
 */
const silentMilliseconds = 15 * 60 * 1000
/** Of each at most one manifest or one line of an index is held. */
export const sessionsAtOnce = 8

export type SessionState =
  /** Its recorder lives. */
  | 'open'
  | 'closed'
  /** It has no end, and its recorder is gone. */
  | 'killed'
  /** It has no end, and control states that its recorder vanished with its pod: what is missing is gone. */
  | 'lost'
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
  /** Of a lost one: how much of it. */
  readonly lost?: LostPart
  readonly problem?: string
}

export type ListOptions = SessionSpan & {
  readonly order?: SessionOrder
  /** Milliseconds since the epoch, for telling a dead recorder from a living one. */
  readonly now?: number
}

/** In order, so that a caller may stop at any: no more than `sessionsAtOnce` are read ahead. @throws StoreUnavailable */
export async function* listSessions(
  store: Store,
  { order = 'newest', now = Date.now(), ...span }: ListOptions = {},
): AsyncGenerator<SessionSummary> {
  const living = new Map<string, Promise<boolean>>()
  const isLiving = (recorder: string): Promise<boolean> => {
    const known = living.get(recorder) ?? speaksStill(store, recorder, now)
    living.set(recorder, known)
    return known
  }
  const losses = createLostSessions(store)
  const named = await losses.named()
  async function* read(session: string): AsyncGenerator<SessionSummary, void> {
    try {
      const summary = (await summaryOf(store, session, isLiving, losses)) ?? (await lostAsAWhole(session, named, losses))
      if (summary !== null) yield summary
    } catch (error) {
      if (!(error instanceof KnownError) || error instanceof StoreUnavailable) throw error
      const unknown = { closed: null, identity: null, close: null, statements: null, segments: null, gaps: null }
      yield { session, state: 'damaged', opened: sessionTime(session), ...unknown, problem: error.message }
    }
  }
  yield* inOrder(withLost(sessionIds(store, order, span), [...named.keys()], order, span), sessionsAtOnce, read)
}

/** The stored sessions' ids and the lost ones', each once and in the order of time. */
async function* withLost(
  stored: AsyncIterable<string>,
  lost: readonly string[],
  order: SessionOrder,
  { since = 0, until = Infinity }: SessionSpan,
): AsyncGenerator<string> {
  const comesFirst = (one: string, other: string): boolean => (order === 'newest' ? one > other : one < other)
  const left = lost
    .filter((session) => sessionTime(session) >= since && sessionTime(session) < until)
    .sort((one, other) => (one === other ? 0 : comesFirst(one, other) ? -1 : 1))
  for await (const session of stored) {
    while (left.length > 0 && comesFirst(left[0]!, session)) yield left.shift()!
    if (left[0] === session) left.shift()
    yield session
  }
  yield* left
}

async function lostAsAWhole(
  session: string,
  named: Awaited<ReturnType<LostSessions['named']>>,
  losses: LostSessions,
): Promise<SessionSummary | null> {
  const found = named.get(session)
  if (found === undefined) return null
  const lost = await losses.part(found.recorder, session, { records: 0, statements: 0 })
  if (lost === null) return null
  const nothing = { closed: null, identity: null, close: null, statements: 0, segments: 0, gaps: null }
  return { session, state: 'lost', opened: found.claimed.opened, ...nothing, lost }
}

/** Null when the session has no object yet. */
async function summaryOf(
  store: Store,
  session: string,
  isLiving: (recorder: string) => Promise<boolean>,
  losses: LostSessions,
): Promise<SessionSummary | null> {
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
  let records = 0
  for await (const { to } of segmentsOf(store, session)) records = to
  const lost = await losses.part(header.recorder, session, { records, statements })
  const state = lost !== null ? 'lost' : (await isLiving(header.recorder)) ? 'open' : 'killed'
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
    ...(lost === null ? {} : { lost }),
  }
}

/** Whether a session that has no end is still recorded, or its recorder was killed. @throws StoreUnavailable */
export async function stateWithoutEnd(store: Store, recorder: string, now = Date.now()): Promise<'open' | 'killed'> {
  return (await speaksStill(store, recorder, now)) ? 'open' : 'killed'
}

async function speaksStill(store: Store, recorder: string, now: number): Promise<boolean> {
  try {
    // Unproven, as all that a list says.
    const head = await findLedgerHead(store, recorder, { publicKey: null })
    const bytes = head === null ? null : await store.get(ledgerKey(recorder, head.number))
    if (bytes === null) return false
    const { entry } = readLedgerEntry(bytes)
    return entry.events.at(-1)?.kind !== 'recorder-stopped' && now - entry.time < silentMilliseconds
  } catch (error) {
    if (error instanceof KnownError && !(error instanceof StoreUnavailable)) return false
    throw error
  }
}
