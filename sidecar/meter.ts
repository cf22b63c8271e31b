/**
 * What the proxy counts: Prometheus metrics and a log line for what an operator must notice.
 *
 * Labels come from fixed lists, never from input. Says nothing of statements; the recording does.
 */
import { Counter, Gauge, Registry } from 'prom-client'
import type { Log } from '../base/log.ts'
import type { SpoolPosition } from './spool/spool-position.ts'
import type { SpoolRefusal } from './spool/spool-writer.ts'

export type Meter = ReturnType<typeof createMeter>

/** A gap or a refusal is logged once a session and this often again, however many statements it hits. */
const repeatMilliseconds = 60_000

export function createMeter({ log, position, openSessions }: { readonly log: Log; readonly position: SpoolPosition; readonly openSessions: () => number }) {
  const registry = new Registry()
  const registers = [registry]
  const sessions = new Counter({ name: 'steno_sessions_total', help: 'Sessions that were opened.', registers })
  const refusals = new Counter({ name: 'steno_statements_refused_total', help: 'Batches of statements refused because they could not be recorded.', registers })
  const gaps = new Counter({ name: 'steno_gaps_total', help: 'Times that traffic of a session began to pass unrecorded, as configured.', registers })
  const rejected = new Counter({
    name: 'steno_connections_rejected_total',
    help: 'Connections that ended during start-up, by reason.',
    labelNames: ['reason'] as const,
    registers,
  })
  const stored = new Counter({ name: 'steno_segments_stored_total', help: 'Segments that the store holds and the ledger names.', registers })
  const failures = new Counter({ name: 'steno_store_failures_total', help: 'Attempts to store a recording that failed and are tried again.', registers })
  gauge('steno_sessions_open', 'Sessions that are open now.', openSessions)
  gauge('steno_spool_bytes', 'Bytes in the spool that the store does not hold yet.', () => position.writtenBytes - position.releasedBytes)
  gauge('steno_spool_age_seconds', 'Age of the oldest record that the store does not hold yet.', () =>
    position.oldestTime === 0 ? 0 : (Date.now() - position.oldestTime) / 1000,
  )

  function gauge(name: string, help: string, read: () => number): void {
    const made: Gauge = new Gauge({ name, help, registers, collect: () => made.set(read()) })
  }

  let lastRefusalLogged = 0
  let lastGapLogged = 0
  const gapped = new WeakSet<object>()

  return {
    sessionOpened: () => sessions.inc(),
    connectionRejected(reason: 'authentication' | 'upstream' | 'protocol' | 'policy' | 'limit' | 'recording' | 'gone'): void {
      rejected.inc({ reason })
    },
    refused(session: string, refusal: SpoolRefusal): void {
      refusals.inc()
      if (Date.now() - lastRefusalLogged < repeatMilliseconds) return
      lastRefusalLogged = Date.now()
      log.error({ session, cause: refusal.code }, `statements are refused: ${refusal.message}`)
    },
    /** Called for each piece of an open gap; counts the gap once. */
    gapped(gap: object, session: string, refusal: SpoolRefusal): void {
      if (gapped.has(gap)) return
      gapped.add(gap)
      gaps.inc()
      if (Date.now() - lastGapLogged < repeatMilliseconds) return
      lastGapLogged = Date.now()
      log.error({ session, cause: refusal.code }, `traffic passes unrecorded, as --on-record-failure continue says: ${refusal.message}`)
    },
    segmentStored: (count: number) => stored.inc(count),
    storeFailed: () => failures.inc(),
    /** The metrics in Prometheus' text format. */
    text: (): Promise<string> => registry.metrics(),
    contentType: registry.contentType,
  }
}
