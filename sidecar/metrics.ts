/**
 * The proxy's counts in Prometheus' text format. Labels come from fixed lists, never from input.
 *
 * Here is what the connection thread knows of recording; `metrics-sealing.ts` has what the sealing thread adds up, `metrics-process.ts`
 * the process and its bounds. Loaded only where metrics are served: the library takes 8 MB.
 */
import { rejectionReasons, type Meter } from './meter.ts'
import { addProcessMetrics, type ProcessFacts } from './metrics-process.ts'
import { createMetricsRegistry, type MetricsRegistry } from './metrics-registry.ts'
import { addSealingMetrics } from './metrics-sealing.ts'
import type { StoreState } from './metrics-store.ts'
import type { SpoolPosition } from './spool/spool-position.ts'
import type { StatementCounts } from './statements/counts.ts'

export function createMetrics({
  meter,
  position,
  openSessions,
  statements,
  store,
  oldestTime,
  process,
  addMetrics,
}: {
  readonly meter: Meter
  readonly position: SpoolPosition
  readonly openSessions: () => number
  readonly statements: StatementCounts
  readonly store: StoreState
  /** When the oldest bytes were written that the store does not hold yet, in milliseconds since the epoch; 0 when there are none. */
  readonly oldestTime: () => number
  readonly process: ProcessFacts
  readonly addMetrics: (metrics: MetricsRegistry) => void
}): { readonly contentType: string; text(): Promise<string> } {
  const { counts } = meter
  const metrics = createMetricsRegistry()
  const { counter, gauge } = metrics
  counter('steno_sessions_total', 'Sessions that were opened.', () => counts.sessions)
  gauge('steno_sessions_open', 'Sessions that are open now.', openSessions)
  metrics.counters(
    'steno_connections_rejected_total',
    'Connections that ended during start-up, by reason.',
    ['reason'],
    rejectionReasons.map((reason) => ({ labels: [reason], read: () => counts.connectionsRejected[reason] })),
  )
  counter(
    'steno_statements_refused_total',
    'Batches of statements refused because they could not be recorded.',
    () => counts.statementsRefused,
  )
  counter('steno_gaps_total', 'Times that traffic of a session began to pass unrecorded, as configured.', () => counts.gaps)
  gauge('steno_spool_bytes', 'Bytes in the spool that the store does not hold yet.', () => position.waitingBytes)
  gauge('steno_spool_age_seconds', 'Age of the oldest record that the store does not hold yet.', () => {
    const oldest = oldestTime()
    return oldest === 0 ? 0 : Math.max(0, Date.now() - oldest) / 1000
  })
  counter('steno_segments_stored_total', 'Segments that the store holds and the ledger names.', () => counts.segmentsStored)
  counter('steno_store_failures_total', 'Attempts to store a recording that failed and are tried again.', () => counts.storeFailures)
  addSealingMetrics(metrics, { statements, store })
  addProcessMetrics(metrics, { ...process, counts })
  addMetrics(metrics)
  return { contentType: metrics.contentType, text: metrics.text }
}
