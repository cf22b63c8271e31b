/**
 * Loaded into a measured Node process (`NODE_OPTIONS=--import`): writes one line per garbage collection of its main thread, with the time and the kind.
 *
 * Only the main thread's, which moves the bytes: collections of workers stop nobody's query. A file per process, in BENCH_COLLECTIONS.
 */
import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { constants, PerformanceObserver } from 'node:perf_hooks'
import { isMainThread } from 'node:worker_threads'

const folder = process.env['BENCH_COLLECTIONS']
if (isMainThread && folder !== undefined) {
  const file = join(folder, `collections-${process.pid}`)
  new PerformanceObserver((list) => {
    const lines = list.getEntries().map((entry) => {
      const kind = (entry as { detail?: { kind?: number } }).detail?.kind
      const name = kind === constants.NODE_PERFORMANCE_GC_MAJOR ? 'mark-compact' : 'other'
      return `${(performance.timeOrigin + entry.startTime).toFixed(0)} ${name}\n`
    })
    appendFileSync(file, lines.join(''))
  }).observe({ entryTypes: ['gc'] })
}
