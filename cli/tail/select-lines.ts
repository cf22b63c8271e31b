/** From what was followed to the lines that were asked for, and to when enough was seen. Reads nothing and prints nothing. */
import type { EventFormat } from '../../postgres/statement-event.ts'
import type { SessionIdentity } from '../../session/identity.ts'
import { applicationOf, createStatementTest, podOf, sessionPasses, type FilterOptions, type StatementTest } from '../search/filters.ts'
import type { Followed } from './followed.ts'

type Told = Extract<Followed, { readonly identity: SessionIdentity }>

export function selectLines({
  filters,
  format,
  sqlCharacters,
  sessions = false,
  count = Infinity,
  untilIdle = Infinity,
  now = () => performance.now(),
}: {
  readonly filters: FilterOptions
  readonly format: EventFormat
  readonly sqlCharacters: number
  readonly sessions?: boolean
  /** Statements to be shown. */
  readonly count?: number
  /** Milliseconds without anything having been stored. */
  readonly untilIdle?: number
  readonly now?: () => number
}) {
  let shown = 0
  let newsAt = now()
  /** Made once per session, as long as its identity is held. */
  const known = new WeakMap<SessionIdentity, { readonly shared: string; readonly test: StatementTest }>()

  function knownOf(identity: SessionIdentity): { readonly shared: string; readonly test: StatementTest } {
    const before = known.get(identity)
    if (before !== undefined) return before
    const { session, user, database } = identity
    const pod = podOf(identity)
    const shared = format.session({ session, user, database, application: applicationOf(identity), ...(pod === null ? {} : { pod }) })
    const made = { shared, test: createStatementTest(filters, identity, 'statement') }
    known.set(identity, made)
    return made
  }

  return {
    wants: (identity: SessionIdentity): boolean => sessionPasses(filters, identity),
    /** Null for what was not asked for. */
    lineOf(told: Told): string | null {
      const { identity } = told
      if (!sessionPasses(filters, identity) || shown >= count) return null
      const { shared, test } = knownOf(identity)
      switch (told.kind) {
        case 'statement':
          if (!test.passes(told.statement)) return null
          shown++
          return format.statement(shared, told.statement, { sqlCharacters, recovered: false })
        case 'opened': {
          const { client, opened } = identity
          const address = `${client.address}:${client.port}`
          return sessions ? format.sessionEvent(shared, { event: 'session-opened', time: opened, client: address, recovered: false }) : null
        }
        case 'closed': {
          const { closed, reason, recovered } = told.close
          const durationMilliseconds = Math.max(0, Math.round(closed - identity.opened))
          const event = { event: 'session-closed', time: closed, durationMilliseconds, reason, recovered } as const
          return sessions ? format.sessionEvent(shared, event) : null
        }
        default:
          return told satisfies never
      }
    },
    /** Whether enough was shown, or nothing came for long enough. */
    isDone(each: Followed): boolean {
      if (each.kind !== 'pause' || each.news) newsAt = now()
      return shown >= count || (each.kind === 'pause' && now() - newsAt >= untilIdle)
    },
  }
}
