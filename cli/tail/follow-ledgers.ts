/**
 * All sessions of a store as they are stored, by following the ledgers: an entry names what was stored since the one before, so a look
 * at the store asks for one object per recorder, however many sessions there are.
 *
 * The order is that of each ledger, so statements of one session come in the order in which they ended. Entries that a recorder makes
 * again after a crash are given once, as long as their session is among the last `sessionsRememberedMax`. Holds one entry and one line
 * of an index. Proves no signatures; that is `verify`'s.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { KnownError } from '../../base/errors.ts'
import type { SessionIdentity } from '../../session/identity.ts'
import { findLastLedgerNumber, readLedgerEntry, type LedgerEntry, type LedgerEvent } from '../../session/ledger.ts'
import { isRecorderId, ledgerKey, ledgersPrefix } from '../../session/object-keys.ts'
import { readIdentity, readSessionManifest } from '../../session/read-session.ts'
import { BadDocument } from '../../session/shape.ts'
import { StoreUnavailable, type Store } from '../../session/stores/store.ts'
import { restMilliseconds, statementsOfPart, type Followed } from './followed.ts'
import { createRecent } from './recent.ts'

const sessionsRememberedMax = 10_000
/** Of these the identity is kept as well, about a kilobyte each. */
const identitiesMax = 1_000
/** Enough to overlap the waiting for a store across a network. */
const looksAtOnce = 32

export type FollowOptions = {
  /** Milliseconds since the epoch: entries made before are passed over. Null for what is stored from now on. */
  readonly since: number | null
  /** What is not wanted is not read. */
  readonly wants: (identity: SessionIdentity) => boolean
  readonly signal: AbortSignal
}

/** Ends when `signal` is aborted. @throws StoreUnavailable */
export async function* followLedgers(store: Store, { since, wants, signal }: FollowOptions): AsyncGenerator<Followed> {
  /** The number of the entry that each recorder makes next. */
  const nextNumbers = new Map<string, number>()
  const identities = createRecent<SessionIdentity>(identitiesMax)
  const partsGiven = createRecent<number>(sessionsRememberedMax)
  const closedGiven = createRecent<true>(sessionsRememberedMax)

  for (const recorder of await recorders(store))
    nextNumbers.set(recorder, since === null ? (await findLastLedgerNumber(store, recorder)) + 1 : await firstSince(store, recorder, since))

  while (!signal.aborted) {
    const began = performance.now()
    let news = false
    const all = await recorders(store)
    for (let at = 0; at < all.length && !signal.aborted; at += looksAtOnce) {
      const some = all.slice(at, at + looksAtOnce)
      const found = await Promise.all(some.map((recorder) => store.head(ledgerKey(recorder, nextNumbers.get(recorder) ?? 1))))
      for (const [index, recorder] of some.entries()) {
        if (found[index] === null) continue
        for await (const each of entriesOf(recorder)) {
          if (each.kind !== 'problem') news = true
          yield each
          if (signal.aborted) return
        }
      }
    }
    yield { kind: 'pause', news }
    await sleep(restMilliseconds(performance.now() - began), undefined, { signal }).catch(() => undefined)
  }

  /** Everything in the entries that the recorder has made since the last time. */
  async function* entriesOf(recorder: string): AsyncGenerator<Followed> {
    for (let number = nextNumbers.get(recorder) ?? 1; ; number++) {
      const bytes = await store.get(ledgerKey(recorder, number))
      if (bytes === null) return
      nextNumbers.set(recorder, number + 1)
      const entry = yield* unlessDamaged(() => entryOf(bytes, recorder, number))
      for (const event of entry?.events ?? []) yield* eventOf(event)
    }
  }

  async function* eventOf(event: LedgerEvent): AsyncGenerator<Followed> {
    if (event.kind !== 'session-opened' && event.kind !== 'segment-stored' && event.kind !== 'session-closed') return
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

  async function* partOf(identity: SessionIdentity, segment: number): AsyncGenerator<Followed> {
    try {
      for await (const statement of statementsOfPart(store, identity.session, segment)) yield { kind: 'statement', identity, statement }
    } catch (error) {
      yield problemOf(error)
    }
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

function entryOf(bytes: Buffer, recorder: string, number: number): LedgerEntry {
  const { entry } = readLedgerEntry(bytes)
  if (entry.recorder !== recorder || entry.number !== number) throw new BadDocument(`the ledger entry ${number} is not what its name says`)
  return entry
}

/** What `read` gives, or null behind a problem that says why not. One bad object must not hide the others. */
async function* unlessDamaged<Value>(read: () => Value | Promise<Value>): AsyncGenerator<Followed, Value | null> {
  try {
    return await read()
  } catch (error) {
    yield problemOf(error)
    return null
  }
}

function problemOf(error: unknown): Followed {
  if (!(error instanceof KnownError) || error instanceof StoreUnavailable) throw error
  return { kind: 'problem', message: error.message }
}
