/**
 * Do the recordings hold every statement that the server says it ran, in its order, and nothing else?
 *
 * Server processes and sessions are paired by their whole sequence of statements: neither side names the other.
 */
import { splitStatements } from '../../postgres/sql-statements.ts'
import { checkStatementLine, type StatementLine } from '../../cli/statement-line.ts'
import type { SessionIdentity } from '../../session/identity.ts'
import { listSessions, readStatements } from '../../session/read-session.ts'
import { openStore } from '../../session/stores/open-store.ts'
import type { LoggedBackend, LoggedStatement } from './server-log.ts'

export type RecordedSession = {
  readonly id: string
  readonly identity: SessionIdentity
  readonly state: string
  /** It ended in good order, also when a later start stored the rest of it. */
  readonly isClosed: boolean
  readonly gaps: number
  readonly statements: readonly StatementLine[]
}

/** All sessions of a store, oldest first, with their statements. */
export async function readRecordedSessions(storeUrl: string): Promise<RecordedSession[]> {
  const store = await openStore(storeUrl)
  const sessions: RecordedSession[] = []
  for await (const { session: id, identity, state, close, gaps, problem } of listSessions(store)) {
    if (identity === null || problem !== undefined) throw new Error(`session ${id} cannot be read: ${problem}`)
    const statements: StatementLine[] = []
    for await (const line of readStatements(store, id)) statements.push(checkStatementLine(line))
    sessions.push({ id, identity, state, isClosed: close?.recovered === false, gaps: gaps ?? 0, statements })
  }
  return sessions.toReversed()
}

/** Pairs each backend with a session of its database. Throws with the best attempt when one has none. */
export function assertEveryStatementRecorded(backends: readonly LoggedBackend[], sessions: readonly RecordedSession[]): void {
  const free = new Set(sessions.filter(({ statements }) => statements.length > 0))
  for (const backend of backends) {
    let best = { matched: -1, problem: 'there is no session of this database' }
    let found: RecordedSession | null = null
    for (const session of free) {
      if (session.identity.database !== backend.database) continue
      const outcome = matchSequence(backend.statements, session.statements)
      if (outcome === null) {
        found = session
        break
      }
      if (outcome.matched > best.matched) best = { ...outcome, problem: `${outcome.problem} (session ${session.id})` }
    }
    if (found === null) {
      const { processId, database, statements } = backend
      throw new Error(`no session recorded what backend ${processId} of ${database} ran (${statements.length} statements): ${best.problem}`)
    }
    free.delete(found)
  }
  // Nothing may be recorded as run that the server does not know of.
  const [extra] = free
  if (extra !== undefined)
    throw new Error(`the server knows nothing of session ${extra.id}, which begins with ${excerpt(extra.statements[0]?.sql)}`)
}

type Mismatch = { readonly matched: number; readonly problem: string }

/** Null when the session holds exactly what the backend ran. */
function matchSequence(logged: readonly LoggedStatement[], recorded: readonly StatementLine[]): Mismatch | null {
  let next = 0
  for (const [matched, entry] of logged.entries()) {
    const mismatch = (what: string): Mismatch => ({
      matched,
      problem: `logged ${entry.kind} ${matched + 1} is ${excerpt(entry.text)}, ${what}; recorded is ${excerpt(recorded[next]?.sql)} (${recorded[next]?.kind}, ${recorded[next]?.outcome})`,
    })
    // What the server dropped behind an error it does not log.
    if (entry.kind !== 'query') while (recorded[next]?.outcome === 'skipped') next++
    const statement = recorded[next]
    if (entry.kind === 'query') {
      for (const piece of statementsOf(entry.text)) {
        while (recorded[next]?.outcome === 'skipped' && !isText(recorded[next]!, piece.text)) next++
        const found = recorded[next]
        if (found === undefined || found.kind !== 'query' || !isText(found, piece.text))
          return mismatch(`of which ${excerpt(piece.text)} is not there`)
        next++
      }
      continue
    }
    if (statement === undefined) return mismatch('which is not there')
    if (entry.kind === 'refused') {
      if (statement.error === null) return mismatch('which failed')
      const pieces = statement.kind === 'query' ? statementsOf(entry.text) : [{ text: entry.text }]
      for (const piece of pieces) {
        const found = recorded[next]
        if (found === undefined || !isText(found, piece.text)) return mismatch(`of which ${excerpt(piece.text)} is not there`)
        next++
      }
      continue
    }
    if (statement.kind !== entry.kind) return mismatch('which is of another kind')
    if (entry.kind === 'execute' && !isText(statement, entry.text)) return mismatch('which is another text')
    if (entry.kind === 'function' && !entry.text.includes(/OID (\d+)/.exec(statement.sql)?.[0] ?? '?'))
      return mismatch('which is another function')
    next++
  }
  while (recorded[next]?.outcome === 'skipped') next++
  if (next < recorded.length) {
    return {
      matched: logged.length,
      problem: `recorded besides is ${excerpt(recorded[next]!.sql)} (${recorded[next]!.kind}, ${recorded[next]!.outcome})`,
    }
  }
  return null
}

/** A query without a statement, of a semicolon alone, is answered as such and recorded whole. */
function statementsOf(text: string): readonly { readonly text: string }[] {
  const pieces = splitStatements(text)
  return pieces.length === 0 ? [{ text }] : pieces
}

/** The server logs an extended statement as it came; recordings cut very long ones and say how long they were. */
function isText(statement: StatementLine, text: string): boolean {
  if (statement.sqlTruncated !== true) return statement.sql.trim() === text.trim()
  return text.trim().startsWith(statement.sql.trim().slice(0, -1)) && Math.abs(statement.sqlBytes - Buffer.byteLength(text)) <= 8
}

function excerpt(text: string | undefined): string {
  if (text === undefined) return '(nothing)'
  return JSON.stringify(text.length > 160 ? `${text.slice(0, 160)}…` : text)
}
