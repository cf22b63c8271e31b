/**
 * Who is told of each statement once it has ended: the live view, the counts, the traces.
 *
 * Told in the sealing thread, behind the spool, so that nobody's slowness is on the way of a statement. Under load without end that
 * may be seconds later. A process tells a statement once. What a killed one had not stored
 * is told by the next, so around a kill a statement may be told twice, never not at all.
 */
import type { StatementSummary } from '../../postgres/statement.ts'
import type { SessionClose, SessionIdentity } from '../../session/identity.ts'

export type SessionTurn = { readonly kind: 'opened' } | { readonly kind: 'closed'; readonly close: SessionClose }

export type StatementObserver = {
  /** Must not throw and must not wait. */
  statement(identity: SessionIdentity, statement: StatementSummary): void
  /** The same for a session's beginning, before its first statement, and its end, behind its last. */
  session?(identity: SessionIdentity, what: SessionTurn): void
  /** Called before the thread ends: hands on what is held, within a bounded time. */
  end(): Promise<void>
}

export function allObservers(observers: readonly StatementObserver[]): Required<StatementObserver> {
  return {
    statement(identity, statement) {
      for (const observer of observers) observer.statement(identity, statement)
    },
    session(identity, what) {
      for (const observer of observers) observer.session?.(identity, what)
    },
    async end() {
      await Promise.all(observers.map((observer) => observer.end()))
    },
  }
}
