/** From what a person types (an id, its beginning, or `last`) to one session; and all sessions in the order of time. */
import { KnownError } from '../base/errors.ts'
import { createLostSessions } from './lost-sessions.ts'
import { sessionPrefix, sessionsPrefix } from './object-keys.ts'
import { isSessionId, sessionTime } from './session-id.ts'
import type { Store } from './stores/store.ts'

export class SessionNotFound extends KnownError {
  readonly code = 'SESSION_NOT_FOUND'
  readonly remedy = 'List what is there with `steno sessions`; is --store, or in a cluster --recording-store, the right one?'
  readonly safeToRetry = true
}

export class SessionAmbiguous extends KnownError {
  readonly code = 'SESSION_AMBIGUOUS'
  readonly remedy = 'Type more of the id; `steno sessions` shows it in full.'
  readonly safeToRetry = true
}

export type SessionOrder = 'newest' | 'oldest'

/** Bounds of the time a session opened, milliseconds since the epoch; `until` is excluded. */
export type SessionSpan = { readonly since?: number; readonly until?: number }

/** The ids of all sessions that have a folder in the store. Holds one day's ids at a time. */
export async function* sessionIds(
  store: Store,
  order: SessionOrder,
  { since = 0, until = Infinity }: SessionSpan = {},
): AsyncGenerator<string> {
  const arrange = (names: readonly string[]): readonly string[] => (order === 'newest' ? names.toReversed() : names)
  for (const day of arrange(await store.folders(sessionsPrefix))) {
    const start = Date.parse(`${day}T00:00:00Z`)
    if (Number.isNaN(start) || start >= until || start + 86_400_000 <= since) continue
    for (const session of arrange(await store.folders(`${sessionsPrefix}${day}/`))) {
      const inPlace = isSessionId(session) && sessionPrefix(session) === `${sessionsPrefix}${day}/${session}/`
      if (inPlace && sessionTime(session) >= since && sessionTime(session) < until) yield session
    }
  }
}

/**
 * The id of the one session that `wanted` names: a whole id, the beginning of one, or `last`, the newest of which something is stored. One
 * that was lost with its recorder is found as well, although nothing of it may be stored.
 * @throws SessionNotFound, SessionAmbiguous, StoreUnavailable
 */
export async function findSession(store: Store, wanted: string): Promise<string> {
  const typed = wanted.trim().toLowerCase()
  if (typed === 'last') {
    for await (const session of sessionIds(store, 'newest')) return session
    throw new SessionNotFound(`there is no session in ${placeOfStore(store.url)}`)
  }
  // Not quoted when it cannot be an id: it is anything that was typed.
  if (!/^[0-9a-f-]{1,36}$/.test(typed)) throw new SessionNotFound("a session is named by its id, the id's beginning, or `last`")
  const found = new Set<string>()
  const add = (session: string): void => {
    if (session.startsWith(typed)) found.add(session)
    if (found.size > 1) throw new SessionAmbiguous(`more than one session starts with ${typed}: ${[...found].join(', ')}, …`)
  }
  for await (const session of sessionIds(store, 'oldest', spanOf(typed))) add(session)
  // A whole id that is there is nobody else's; else the statements of loss are read for it.
  if (!found.has(typed)) for (const session of (await createLostSessions(store).named()).keys()) add(session)
  const [session] = found
  if (session === undefined) throw new SessionNotFound(`no session in ${placeOfStore(store.url)} starts with ${typed}`)
  return session
}

/** Where a store is, for people: what is read from control may come through a port that kubectl forwards, which says nothing. */
export function placeOfStore(url: string): string {
  return url.replace(/^control\+http:.*\/([^/]+)$/, 'RecordingStore $1')
}

/** The times that ids starting so can have, so that few days have to be listed. */
function spanOf(beginning: string): SessionSpan {
  const digits = beginning.replaceAll('-', '').slice(0, 12)
  return { since: Number.parseInt(digits.padEnd(12, '0'), 16), until: Number.parseInt(digits.padEnd(12, 'f'), 16) + 1 }
}
