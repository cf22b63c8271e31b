/**
 * Goes through the sessions of a store and gives the statements that fit, in the order of the sessions.
 *
 * Reads manifests and statement indexes only, of several sessions at once. Held are, per session under way, one line of its index and
 * one batch of what fitted, so memory does not grow with the store, the sessions or what is found. A session is passed over unread when
 * its id says that it opened after the span, and without its indexes when its manifest says that it ended before, or that another spoke.
 * A damaged recording is named and does not stop the others; a store that does not answer does.
 */
import { KnownError } from '../../base/errors.ts'
import { sessionIds } from '../../session/read-session.ts'
import { readHeader, readSessionManifest, readStatements } from '../../session/session-content.ts'
import type { SessionIdentity } from '../../session/identity.ts'
import type { SessionOrder } from '../../session/find-session.ts'
import { StoreUnavailable, type Store } from '../../session/stores/store.ts'
import { sessionTime } from '../../session/session-id.ts'
import { checkStatementLine, type StatementLine } from '../statement-line.ts'
import { createStatementTest, sessionPasses, type FilterOptions } from './filters.ts'
import { inOrder } from '../../session/in-order.ts'
import { readingOnce } from './reading-once.ts'

/** Reads of a disk overlap well up to here; more would only hold more. */
const sessionsAtOnce = 8
const batchLinesMax = 1_000
const batchCharactersMax = 1024 * 1024

export type Match = { readonly identity: SessionIdentity; readonly line: StatementLine }

/** What a scan has done so far; it counts on while it runs. */
export type ScanCounts = {
  sessions: number
  matches: number
  /** Statements longer than what the index holds of them, which no filter on the text found. */
  cutShort: number
  /** Sessions that could not be read to their end. */
  damaged: number
  /** When the session that was finished last had opened, milliseconds since the epoch; null before the first. */
  reached: number | null
}

export type ScanOptions = {
  readonly filters: FilterOptions
  /** Only these, in this order; all of the store when left out. */
  readonly sessions?: readonly string[]
  readonly order?: SessionOrder
  /** Told of each session that cannot be read to its end. */
  readonly onDamage: (session: string, error: KnownError) => void
  readonly onProgress?: (counts: Readonly<ScanCounts>) => void
  readonly counts?: ScanCounts
}

export function emptyCounts(): ScanCounts {
  return { sessions: 0, matches: 0, cutShort: 0, damaged: 0, reached: null }
}

/** Batches of matches, each of one session. @throws StoreUnavailable */
export async function* scanStatements(store: Store, options: ScanOptions): AsyncGenerator<readonly Match[]> {
  const { filters, sessions, order = 'newest', onDamage, onProgress, counts = emptyCounts() } = options
  // Nothing is said in a session before it opened; one that opened before `since` may have gone on.
  const span = filters.until === undefined ? {} : { until: filters.until }
  const ids = sessions ?? sessionIds(store, order, span)
  async function* matchesIn(session: string): AsyncGenerator<readonly Match[], void> {
    const found = statementsOf(readingOnce(store), session, filters, (cut) => (counts.cutShort += cut))
    try {
      yield* found
    } catch (error) {
      if (!(error instanceof KnownError) || error instanceof StoreUnavailable) throw error
      counts.damaged += 1
      onDamage(session, error)
    }
    counts.sessions += 1
    counts.reached = sessionTime(session)
    onProgress?.(counts)
  }
  for await (const batch of inOrder(ids, sessionsAtOnce, matchesIn)) {
    counts.matches += batch.length
    yield batch
  }
}

async function* statementsOf(
  store: Store,
  session: string,
  filters: FilterOptions,
  onCutShort: (count: number) => void,
): AsyncGenerator<readonly Match[], void> {
  const identity = await wantedIdentity(store, session, filters)
  if (identity === null) return
  const test = createStatementTest(filters, identity, 'statement')
  let batch: Match[] = []
  let characters = 0
  try {
    for await (const line of readStatements(store, session, checkStatementLine)) {
      if (!test.passes(line)) continue
      batch.push({ identity, line })
      characters += line.sql.length + line.parameters.length * parameterCharacters
      if (batch.length < batchLinesMax && characters < batchCharactersMax) continue
      yield batch
      batch = []
      characters = 0
    }
  } finally {
    onCutShort(test.cutShort)
  }
  if (batch.length > 0) yield batch
}

/** What the index holds of one at most, about. */
const parameterCharacters = 1_024

/** Null when nothing of the session can fit, or it has no object yet. @throws RecordingDamaged */
export async function wantedIdentity(store: Store, session: string, filters: FilterOptions): Promise<SessionIdentity | null> {
  const manifest = await readSessionManifest(store, session)
  if (manifest !== null && filters.since !== undefined && manifest.closed < filters.since) return null
  const identity = manifest?.identity ?? (await readHeader(store, session, 1))?.identity ?? null
  return identity !== null && sessionPasses(filters, identity) ? identity : null
}
