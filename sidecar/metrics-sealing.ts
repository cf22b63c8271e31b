/**
 * The metrics that the sealing thread adds up: statements as they ended, and how the store does.
 *
 * Under load without end it may be seconds behind the statements; see `sealing/deferral.ts`.
 */
import type { MetricsRegistry } from './metrics-registry.ts'
import type { StoreState } from './metrics-store.ts'
import { durationBucketsSeconds, sqlStateClasses, statementKinds, statementOutcomes, type StatementCounts } from './statements/counts.ts'

export function addSealingMetrics(
  metrics: MetricsRegistry,
  { statements, store }: { readonly statements: StatementCounts; readonly store: StoreState },
): void {
  metrics.counters(
    'steno_statements_total',
    'Statements that ended, by the way they were sent and how they ended.',
    ['kind', 'outcome'],
    statementKinds.flatMap((kind) =>
      statementOutcomes.map((outcome) => ({ labels: [kind, outcome], read: () => statements.ended(kind, outcome) })),
    ),
  )
  metrics.histogram(
    'steno_statement_duration_seconds',
    'From the first message of a statement that completed or failed to its completion.',
    durationBucketsSeconds,
    () => {
      const { atMost, count, sumSeconds } = statements.durations()
      return { atMost, count, sum: sumSeconds }
    },
  )
  metrics.counters(
    'steno_statement_failures_total',
    'Statements that failed, by the class (the first two characters) of their SQLSTATE.',
    ['sqlstate_class'],
    sqlStateClasses.map((name) => ({ labels: [name], read: () => statements.failed(name) })),
  )
  metrics.counter('steno_statement_rows_total', 'Rows that statements returned.', () => statements.rows)
  metrics.counters(
    'steno_statement_bytes_total',
    'Bytes of statements: text, parameters and COPY data to the database; rows, COPY data and function results from it.',
    ['direction'],
    [
      { labels: ['to_database'], read: () => statements.bytesToDatabase },
      { labels: ['from_database'], read: () => statements.bytesFromDatabase },
    ],
  )
  metrics.gauge('steno_segments_waiting', 'Segments that are made and that the store has not taken yet.', store.segmentsWaiting)
  metrics.counter(
    'steno_stored_bytes_total',
    'Bytes of segments, indexes, manifests and ledger entries that the store took.',
    store.storedBytes,
  )
  metrics.gauge(
    'steno_store_failing_seconds',
    'For how long the store has refused what has to be stored; 0 while it takes it.',
    () => store.failingMilliseconds() / 1000,
  )
  metrics.gauge(
    'steno_store_last_success_timestamp_seconds',
    'When the store last said that it has an object, in seconds since 1970.',
    () => store.lastStored() / 1000,
  )
}
