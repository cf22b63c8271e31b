/**
 * All sessions of a store as they are stored, by following the ledgers: an entry names what was stored since the one before, so a look
 * at the store asks for one object per recorder, however many sessions there are.
 *
 * What one look finds comes in the order of time, whoever recorded it. A look that finds much is read in rounds, in the order of the
 * ledgers' entries: then what was stored more than `lateMilliseconds` after it ended may come behind what ended later. Statements of one
 * session always come in the order in which they ended. Entries that a recorder makes again after a crash are given once, as long as their
 * session is among the last `sessionsRememberedMax`. Holds statements of `indexBytesAtOnce`, and of each recorder one entry. Proves no
 * signatures; that is `verify`'s.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { KnownError } from '../../base/errors.ts'
import { invariant } from '../../base/invariant.ts'
import type { SessionIdentity } from '../../session/identity.ts'
import { findLastLedgerNumber, readLedgerEntry, type LedgerEvent } from '../../session/ledger.ts'
import { isRecorderId, ledgerKey, ledgersPrefix } from '../../session/object-keys.ts'
import { readIdentity, readSessionManifest } from '../../session/read-session.ts'
import { BadDocument } from '../../session/shape.ts'
import { StoreUnavailable, type Store } from '../../session/stores/store.ts'
import { restMilliseconds, statementsOfPart, type Followed } from './followed.ts'
import { createRecent } from './recent.ts'
import { createTimeOrder } from './time-order.ts'

const sessionsRememberedMax = 10_000
/** Of these the identity is kept as well, about a kilobyte each. */
const identitiesMax = 1_000
/** Enough to overlap the waiting for a store across a network. */
const looksAtOnce = 32
/** Of indexes as they are stored; a statement that is held takes about three times as much. */
const indexBytesAtOnce = 8 * 1024 * 1024
/** A part is stored five seconds after its first record, unless its recorder was told otherwise, and a little for its way. */
const lateMilliseconds = 15_000

export type FollowOptions = {
  /** Milliseconds since the epoch: entries made before are passed over. Null for what is stored from now on. */
  readonly since: number | null
  /** What is not wanted is not read. */
  readonly wants: (identity: SessionIdentity) => boolean
  readonly signal: AbortSignal
  /** For tests. */
  readonly indexBytesMax?: number
}

type Told = Exclude<Followed, { readonly kind: 'pause' }>
type SessionEvent = Extract<LedgerEvent, { readonly kind: 'session-opened' | 'segment-stored' | 'session-closed' }>
/** A ledger entry that is to be given; `time` in milliseconds since the epoch. */
type DueEntry = {
  readonly number: number
  readonly time: number
  readonly events: readonly SessionEvent[]
  readonly problem: string | null
}
type Round = {
  readonly entries: readonly (DueEntry & { readonly recorder: string })[]
  /** Whether there is more, made at this time or later. */
  readonly more: { readonly from: number } | null
}

/** Ends when `signal` is aborted. @throws StoreUnavailable */
export async function* followLedgers(
  store: Store,
  { since, wants, signal, indexBytesMax = indexBytesAtOnce }: FollowOptions,
): AsyncGenerator<Followed> {
  /** The number of the entry that each recorder makes next. */
  const nextNumbers = new Map<string, number>()
  const identities = createRecent<SessionIdentity>(identitiesMax)
  const partsGiven = createRecent<number>(sessionsRememberedMax)
  const closedGiven = createRecent<true>(sessionsRememberedMax)
  const order = createTimeOrder<Told>()

  for (const recorder of await recorders(store))
    nextNumbers.set(recorder, since === null ? (await findLastLedgerNumber(store, recorder)) + 1 : await firstSince(store, recorder, since))

  while (!signal.aborted) {
    const began = performance.now()
    let news = false
    for (let isMore = true; isMore && !signal.aborted;) {
      const { entries, more } = await nextRound()
      isMore = more !== null
      for (const { recorder, time, events, problem } of entries) {
        if (problem !== null) order.add({ kind: 'problem', message: problem }, { time, within: recorder })
        for (const event of events) for await (const told of eventOf(event)) order.add(told, placeOf(told, event, time))
      }
      for (const each of order.take(more === null ? Infinity : more.from - lateMilliseconds)) {
        if (each.kind !== 'problem') news = true
        yield each
        if (signal.aborted) return
      }
    }
    yield { kind: 'pause', news }
    await sleep(restMilliseconds(performance.now() - began), undefined, { signal }).catch(() => undefined)
  }

  /** What the recorders have entered since the last time, the earliest first, as much of it as may be held. */
  async function nextRound(): Promise<Round> {
    const pending = new Map<string, DueEntry>()
    const all = await recorders(store)
    for (let at = 0; at < all.length && !signal.aborted; at += looksAtOnce)
      await Promise.all(all.slice(at, at + looksAtOnce).map((recorder) => look(recorder, pending)))
    const entries: Round['entries'][number][] = []
    for (let bytes = 0; pending.size > 0 && !signal.aborted;) {
      const [recorder, entry] = earliestOf(pending)
      if (bytes >= indexBytesMax) return { entries, more: { from: entry.time } }
      entries.push({ recorder, ...entry })
      for (const event of entry.events) if (event.kind === 'segment-stored') bytes += event.index.bytes
      nextNumbers.set(recorder, entry.number + 1)
      pending.delete(recorder)
      await look(recorder, pending)
    }
    return { entries, more: null }
  }

  async function look(recorder: string, pending: Map<string, DueEntry>): Promise<void> {
    const number = nextNumbers.get(recorder) ?? 1
    const key = ledgerKey(recorder, number)
    const bytes = (await store.head(key)) === null ? null : await store.get(key)
    if (bytes !== null) pending.set(recorder, dueEntry(bytes, recorder, number))
  }

  async function* eventOf(event: SessionEvent): AsyncGenerator<Told> {
    const { session } = event
    const given = partsGiven.get(session) ?? 0
    if (event.kind === 'segment-stored' && event.number <= given) return
    if (event.kind === 'session-opened' && (given > 0 || closedGiven.get(session) === true)) return
    if (event.kind === 'session-closed' && closedGiven.get(session) === true) return
    const identity = identities.get(session) ?? (yield* unlessDamaged(() => readIdentity(store, session)))
    if (identity === null) return
    identities.set(session, identity)
    if (event.kind === 'segment-stored') partsGiven.set(session, event.number)
    if (event.kind === 'session-closed') closedGiven.set(session, true)
    if (!wants(identity)) return
    if (event.kind === 'session-opened') yield { kind: 'opened', identity }
    else if (event.kind === 'segment-stored') yield* partOf(identity, event.number)
    else {
      const manifest = yield* unlessDamaged(() => readSessionManifest(store, session))
      if (manifest !== null) yield { kind: 'closed', identity, close: manifest.close }
    }
  }

  async function* partOf(identity: SessionIdentity, segment: number): AsyncGenerator<Told> {
    try {
      for await (const statement of statementsOfPart(store, identity.session, segment)) yield { kind: 'statement', identity, statement }
    } catch (error) {
      yield problemOf(error)
    }
  }
}

function earliestOf(pending: ReadonlyMap<string, DueEntry>): [string, DueEntry] {
  let earliest: [string, DueEntry] | null = null
  for (const each of pending) if (earliest === null || each[1].time < earliest[1].time) earliest = each
  invariant(earliest !== null, 'there is an entry to choose')
  return earliest
}

/** What cannot be read of a session stands where it was entered. */
function placeOf(told: Told, { session }: SessionEvent, entered: number): { readonly time: number; readonly within: string } {
  switch (told.kind) {
    case 'statement':
      return { time: told.statement.finished, within: session }
    case 'opened':
      return { time: told.identity.opened, within: session }
    case 'closed':
      return { time: told.close.closed, within: session }
    case 'problem':
      return { time: entered, within: session }
    default:
      return told satisfies never
  }
}

async function recorders(store: Store): Promise<readonly string[]> {
  return (await store.folders(ledgersPrefix)).filter(isRecorderId)
}

/** The first entry that was made at or after `since`. Entries are made in the order of their times, so few are read. */
async function firstSince(store: Store, recorder: string, since: number): Promise<number> {
  let from = 1
  for (let to = (await findLastLedgerNumber(store, recorder)) + 1; from < to;) {
    const middle = Math.floor((from + to) / 2)
    const bytes = await store.get(ledgerKey(recorder, middle))
    const isBefore = bytes === null || isEntryBefore(bytes, since)
    if (isBefore) from = middle + 1
    else to = middle
  }
  return from
}

function isEntryBefore(bytes: Buffer, since: number): boolean {
  try {
    return readLedgerEntry(bytes).entry.time < since
  } catch (error) {
    if (!(error instanceof KnownError)) throw error
    return false // It is met again, and told, when it is followed.
  }
}

function dueEntry(bytes: Buffer, recorder: string, number: number): DueEntry {
  try {
    const { entry } = readLedgerEntry(bytes)
    if (entry.recorder !== recorder || entry.number !== number)
      throw new BadDocument(`the ledger entry ${number} is not what its name says`)
    return { number, time: entry.time, events: entry.events.filter(isOfSession), problem: null }
  } catch (error) {
    return { number, time: 0, events: [], problem: problemOf(error).message }
  }
}

function isOfSession(event: LedgerEvent): event is SessionEvent {
  return event.kind === 'session-opened' || event.kind === 'segment-stored' || event.kind === 'session-closed'
}

/** What `read` gives, or null behind a problem that says why not. One bad object must not hide the others. */
async function* unlessDamaged<Value>(read: () => Value | Promise<Value>): AsyncGenerator<Told, Value | null> {
  try {
    return await read()
  } catch (error) {
    yield problemOf(error)
    return null
  }
}

function problemOf(error: unknown): Extract<Told, { readonly kind: 'problem' }> {
  if (!(error instanceof KnownError) || error instanceof StoreUnavailable) throw error
  return { kind: 'problem', message: error.message }
}
