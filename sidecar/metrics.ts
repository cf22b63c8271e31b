/**
 * The proxy's counts in Prometheus' text format. Labels come from fixed lists, never from input.
 *
 * Loaded only where metrics are served: the library takes 8 MB.
 */
import { Counter, Gauge, Registry } from 'prom-client'
import { rejectionReasons, type Meter } from './meter.ts'
import type { SpoolPosition } from './spool/spool-position.ts'

export function createMetrics({
  meter,
  position,
  openSessions,
}: {
  readonly meter: Meter
  readonly position: SpoolPosition
  readonly openSessions: () => number
}): { readonly contentType: string; text(): Promise<string> } {
  const { counts } = meter
  const registry = new Registry()
  const registers = [registry]
  const counter = (name: string, help: string, read: () => number): void => {
    const made: Counter = new Counter({
      name,
      help,
      registers,
      collect() {
        made.reset()
        made.inc(read())
      },
    })
  }
  const gauge = (name: string, help: string, read: () => number): void => {
    const made: Gauge = new Gauge({ name, help, registers, collect: () => made.set(read()) })
  }
  counter('steno_sessions_total', 'Sessions that were opened.', () => counts.sessions)
  counter(
    'steno_statements_refused_total',
    'Batches of statements refused because they could not be recorded.',
    () => counts.statementsRefused,
  )
  counter('steno_gaps_total', 'Times that traffic of a session began to pass unrecorded, as configured.', () => counts.gaps)
  counter('steno_segments_stored_total', 'Segments that the store holds and the ledger names.', () => counts.segmentsStored)
  counter('steno_store_failures_total', 'Attempts to store a recording that failed and are tried again.', () => counts.storeFailures)
  const rejected: Counter<'reason'> = new Counter({
    name: 'steno_connections_rejected_total',
    help: 'Connections that ended during start-up, by reason.',
    labelNames: ['reason'],
    registers,
    collect() {
      rejected.reset()
      for (const reason of rejectionReasons) rejected.inc({ reason }, counts.connectionsRejected[reason])
    },
  })
  gauge('steno_sessions_open', 'Sessions that are open now.', openSessions)
  gauge('steno_spool_bytes', 'Bytes in the spool that the store does not hold yet.', () => position.writtenBytes - position.releasedBytes)
  gauge('steno_spool_age_seconds', 'Age of the oldest record that the store does not hold yet.', () =>
    position.oldestTime === 0 ? 0 : (Date.now() - position.oldestTime) / 1000,
  )
  return { contentType: registry.contentType, text: () => registry.metrics() }
}
