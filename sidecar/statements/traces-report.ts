/**
 * Says in the log what became of spans: that some were dropped, at most once a minute, and in the end how many.
 *
 * Lives in the connection thread, so that its counts outlive sealing threads. Knows classes of reasons, never what an endpoint wrote.
 */
import type { Log } from '../../base/log.ts'
import type { TraceOutcome } from './traces-queue.ts'

const pauseMilliseconds = 60_000

export type TraceReport = {
  add(outcome: TraceOutcome): void
  /** Says what was dropped and not yet said. */
  end(): void
}

export function createTraceReport({ log, now = Date.now }: { readonly log: Log; readonly now?: () => number }): TraceReport {
  let saidAt = -Infinity
  const unsaid = { withoutRoom: 0, notTaken: 0 }
  const total = { sent: 0, dropped: 0 }
  let reason: string | null = null

  function say(): void {
    if (unsaid.withoutRoom + unsaid.notTaken === 0) return
    saidAt = now()
    log.warn(
      { ...unsaid, ...(reason === null ? {} : { reason }), sentInAll: total.sent, droppedInAll: total.dropped },
      'spans of statements were dropped, which are recorded all the same: the OTLP endpoint does not take them, or not as fast as they come',
    )
    unsaid.withoutRoom = unsaid.notTaken = 0
    reason = null
  }

  return {
    add(outcome) {
      total.sent += outcome.sent
      total.dropped += outcome.withoutRoom + outcome.notTaken
      unsaid.withoutRoom += outcome.withoutRoom
      unsaid.notTaken += outcome.notTaken
      reason = outcome.reason ?? reason
      if (now() - saidAt >= pauseMilliseconds) say()
    },
    end: say,
  }
}
