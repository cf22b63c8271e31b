/**
 * What a run recorded, for people and programs: read from the store when everything is in it.
 *
 * Counts come from manifests and statement indexes. Of a run with very many statements, failures and rows are counted only for the first.
 */
import { readStatements } from '../../session/read-session.ts'
import { listSessions, type SessionState } from '../../session/list-sessions.ts'
import type { Store } from '../../session/stores/store.ts'
import { checkStatementLine } from '../statement-line.ts'
import { counted, printableLine } from '../text.ts'
import { shownDuration } from '../times.ts'

export type SessionOfRun = {
  readonly session: string
  readonly state: SessionState
  /** The variables that led to its database. */
  readonly variables: readonly string[]
  readonly user: string
  readonly database: string
  readonly application: string | null
  /** Milliseconds since the epoch. */
  readonly opened: number
  readonly closed: number | null
  readonly statements: number | null
  /** Null when there were too many statements to count. */
  readonly failures: number | null
  readonly rows: number | null
  readonly gaps: number | null
}

export type RunSummary = {
  readonly exitCode: number
  readonly store: string
  /** False when the spool still holds some of it, for the next start to store. */
  readonly everythingStored: boolean
  readonly totals: Pick<SessionOfRun, 'failures' | 'rows'> & { readonly sessions: number; readonly statements: number }
  /** The oldest first, and no more than a thousand; the totals have all. */
  readonly sessions: readonly SessionOfRun[]
}

export type RunFacts = Pick<RunSummary, 'exitCode' | 'everythingStored'> & {
  /** Milliseconds since the epoch: nothing of the run is older. */
  readonly started: number
  /** By recorder id, the variables that led to it. No other process had these recorders meanwhile. */
  readonly recorders: ReadonlyMap<string, readonly string[]>
}

/** Reading an index takes about 10 µs a statement. */
const statementsReadMax = 200_000
const sessionsKeptMax = 1_000
const sessionsPrintedMax = 10

/** @throws KnownError when the store cannot be read */
export async function summarise(store: Store, { started, recorders, exitCode, everythingStored }: RunFacts): Promise<RunSummary> {
  let sessions = 0
  let statements = 0
  let failures: number | null = 0
  let rows: number | null = 0
  let toRead = statementsReadMax
  const listing: SessionOfRun[] = []
  for await (const { identity, ...listed } of listSessions(store, { order: 'oldest', since: started })) {
    const variables = identity === null ? undefined : recorders.get(identity.recorder)
    if (identity === null || variables === undefined) continue
    sessions += 1
    statements += listed.statements ?? 0
    toRead -= listed.statements ?? 0
    const read = toRead < 0 ? null : await countIn(store, listed.session)
    failures = failures === null || read === null ? null : failures + read.failures
    rows = rows === null || read === null ? null : rows + read.rows
    if (listing.length >= sessionsKeptMax) continue
    listing.push({
      ...{ session: listed.session, state: listed.state, variables },
      ...{ user: identity.user, database: identity.database, application: identity.asserted['application_name'] || null },
      ...{ opened: listed.opened, closed: listed.closed, statements: listed.statements, gaps: listed.gaps },
      ...{ failures: read?.failures ?? null, rows: read?.rows ?? null },
    })
  }
  return { exitCode, store: store.url, everythingStored, totals: { sessions, statements, failures, rows }, sessions: listing }
}

async function countIn(store: Store, session: string): Promise<{ failures: number; rows: number }> {
  const counts = { failures: 0, rows: 0 }
  for await (const { outcome, rows } of readStatements(store, session, checkStatementLine)) {
    if (outcome === 'failed') counts.failures += 1
    counts.rows += rows
  }
  return counts
}

/** @param storeOption what has to be added to a command so that it reads this store; empty for the default */
export function summaryLines(summary: RunSummary, storeOption: string): string[] {
  const { totals, sessions, everythingStored } = summary
  const left = everythingStored ? [] : ['steno: not everything is stored: the spool keeps the rest, and the next `steno run` stores it']
  if (totals.sessions === 0) {
    return ['steno: nothing was recorded: the command opened no session through the variables that steno gave it', ...left]
  }
  const shown = sessions.slice(0, sessionsPrintedMax)
  const more = totals.sessions - shown.length
  return [
    `steno: recorded ${counted(totals.sessions, 'session')}, ${countsOf(totals)}`,
    ...shown.map(sessionLine),
    ...(more === 0 ? [] : [`  and ${counted(more, 'session')} more: steno sessions${storeOption}`]),
    `  more: steno show ${totals.sessions === 1 ? sessions[0]!.session : 'ID'}${storeOption}`,
    ...left,
  ]
}

function countsOf({ statements, failures, rows }: Pick<SessionOfRun, 'statements' | 'failures' | 'rows'>): string {
  const failed = failures === null ? ['failures not counted'] : failures === 0 ? [] : [`${failures} failed`]
  return [
    statements === null ? 'statements unknown' : counted(statements, 'statement'),
    ...failed,
    ...(rows === null ? [] : [counted(rows, 'row')]),
  ].join(', ')
}

function sessionLine(session: SessionOfRun): string {
  const { opened, closed, state, gaps } = session
  const lasted = closed === null ? state : shownDuration(Math.max(0, closed - opened))
  const missing = gaps ? `, ${counted(gaps, 'gap')}` : ''
  return printableLine(
    `  ${session.session}  ${session.user}@${session.database} (${session.variables.join(', ')}): ${countsOf(session)}, ${lasted}${missing}`,
  )
}
