/**
 * The metrics of the process: what it is, what it uses, whether it records, how many it serves, and the bounds that it was started with.
 *
 * The bounds are here so that an alert can be written as a share of them. Where Prometheus has a name for it, that is used.
 */
import type { Counts } from './meter.ts'
import type { MetricsRegistry } from './metrics-registry.ts'
import type { SpoolLimits } from './spool/spool-writer.ts'

export type ProcessFacts = {
  readonly versions: { readonly steno: string; readonly node: string }
  /** Connections that are in their start-up or have a session. */
  readonly openConnections: () => number
  readonly connectionsMax: number
  readonly spoolLimits: Pick<SpoolLimits, 'unshippedBytesMax' | 'unshippedMillisecondsMax'>
  readonly isRecording: () => boolean
}

export function addProcessMetrics(metrics: MetricsRegistry, facts: ProcessFacts & { readonly counts: Readonly<Counts> }): void {
  const { versions, counts, spoolLimits } = facts
  const { gauge, counter } = metrics
  gauge('steno_recording', '1 while the spool takes what passes; 0 while it refuses, and traffic waits, fails or passes unrecorded.', () =>
    facts.isRecording() ? 1 : 0,
  )
  counter('steno_connections_total', 'Connections that were accepted.', () => counts.connections)
  gauge('steno_connections_open', 'Connections that are in their start-up or have a session.', facts.openConnections)
  gauge('steno_connections_limit', 'Connections that are served at a time, as --connections-max says.', () => facts.connectionsMax)
  gauge('steno_spool_limit_bytes', 'What may wait for the store before traffic waits, as --spool-bytes-max says.', () => {
    return spoolLimits.unshippedBytesMax
  })
  gauge('steno_spool_age_limit_seconds', 'How old it may grow before traffic waits, as --spool-age-milliseconds-max says.', () => {
    return spoolLimits.unshippedMillisecondsMax / 1000
  })
  metrics.information('steno_build_info', 'Always 1; the labels say which versions run.', { version: versions.steno, node: versions.node })
  // Taken once: the clock that counts from it may be set later, and a start that moves looks like a restart.
  const startedSeconds = Math.round(Date.now() - process.uptime() * 1000) / 1000
  gauge('process_start_time_seconds', 'When the process began, in seconds since 1970.', () => startedSeconds)
  counter('process_cpu_seconds_total', 'Processor time of all threads, by user and system together.', () => {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1e6
  })
  gauge('process_resident_memory_bytes', 'Memory that is resident, with what is shared with other processes.', () =>
    process.memoryUsage.rss(),
  )
}
