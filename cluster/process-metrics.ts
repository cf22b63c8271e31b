/** The metrics of a process as such: version, memory, processor time. */
import { Counter, Gauge, type Registry } from 'prom-client'
import { stenoVersion } from '../base/version.ts'

/** What every process of steno in a cluster says of itself. */
export function addProcessMetrics(registry: Registry): void {
  const registers = [registry]
  new Gauge({
    ...{ name: 'steno_build_info', help: 'Always 1; the labels say which versions run.', labelNames: ['version', 'node'], registers },
  })
    .labels(stenoVersion, process.version)
    .set(1)
  const resident: Gauge = new Gauge({
    ...{ name: 'process_resident_memory_bytes', help: 'Memory that is resident.', registers },
    collect: () => resident.set(process.memoryUsage.rss()),
  })
  const processor: Counter = new Counter({
    ...{ name: 'process_cpu_seconds_total', help: 'Processor time of all threads, by user and system together.', registers },
    collect() {
      const { user, system } = process.cpuUsage()
      processor.reset()
      processor.inc((user + system) / 1e6)
    },
  })
}
