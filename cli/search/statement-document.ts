/**
 * A statement as one JSON document with its session's identity: what `search --json` and `export --format jsonl` print.
 *
 * The fields of the index line as they stand, and `identity` without what only a reader of values needs (the server's parameters).
 * Fields are added by later versions, never renamed. Escaped so that a terminal is safe with it.
 */
import type { SessionIdentity } from '../../session/identity.ts'
import type { Match } from './scan.ts'

export type SearchIdentity = Omit<SessionIdentity, 'version' | 'session' | 'serverParameters' | 'versions'>

export function searchIdentity(identity: SessionIdentity): SearchIdentity {
  const { engine, mode, opened, recorder, client, upstream, user, database, protocol, policy, level, attested, asserted, startup, trace } =
    identity
  const leveled = level === undefined ? {} : { level }
  const started = startup === undefined ? {} : { startup }
  return {
    engine,
    mode,
    opened,
    recorder,
    client,
    upstream,
    user,
    database,
    protocol,
    policy,
    ...leveled,
    attested,
    asserted,
    ...started,
    trace,
  }
}

export function statementDocument({ identity, line }: Match): string {
  return safeJson({ type: 'statement', ...line, identity: searchIdentity(identity) })
}

/** JSON in which control characters and what reorders text are escapes, which JSON allows anywhere in a text. */
export function safeJson(document: object): string {
  return JSON.stringify(document).replace(
    /[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
