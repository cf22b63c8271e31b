/** Which of the listed sessions fit the filters: by who spoke, and when it is asked, by whether one of their statements fits. */
import { KnownError } from '../../base/errors.ts'
import { readStatements, type SessionSummary } from '../../session/read-session.ts'
import { StoreUnavailable, type Store } from '../../session/stores/store.ts'
import { checkStatementLine } from '../statement-line.ts'
import { asksOfStatements, createStatementTest, sessionPasses, type FilterOptions } from './filters.ts'
import { inOrder } from '../../session/in-order.ts'
import { readingOnce } from './reading-once.ts'
import type { ScanCounts } from './scan.ts'

const sessionsAtOnce = 8

export type Watch = {
  readonly counts: ScanCounts
  readonly onProgress: (counts: Readonly<ScanCounts>) => void
  readonly onDamage: (session: string, error: KnownError) => void
}

/** In the order given. One that is damaged passes: what cannot be read cannot be ruled out. @throws StoreUnavailable */
export async function* filterSessions(
  store: Store,
  listed: AsyncIterable<SessionSummary>,
  filters: FilterOptions,
  { counts, onProgress, onDamage }: Watch,
): AsyncGenerator<SessionSummary> {
  const deep = asksOfStatements(filters)
  async function hasStatement({ session, identity }: SessionSummary): Promise<boolean> {
    const test = createStatementTest(filters, identity, 'session')
    try {
      for await (const line of readStatements(readingOnce(store), session, checkStatementLine)) if (test.passes(line)) return true
    } catch (error) {
      if (!(error instanceof KnownError) || error instanceof StoreUnavailable) throw error
      onDamage(session, error)
      return true
    }
    counts.cutShort += test.cutShort
    return false
  }
  async function* judge(summary: SessionSummary): AsyncGenerator<SessionSummary, void> {
    const { identity } = summary
    const passes = identity === null || (sessionPasses(filters, identity) && (!deep || (await hasStatement(summary))))
    counts.sessions += 1
    counts.reached = summary.opened
    if (passes) {
      counts.matches += 1
      yield summary
    }
    onProgress(counts)
  }
  yield* inOrder(listed, sessionsAtOnce, judge)
}
