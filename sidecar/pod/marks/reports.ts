/** What a pod's sidecar tells control besides recordings: how far it has come, and whether the databases can be reached past it. */
import type { Log } from '../../../base/log.ts'
import type { MetricsRegistry } from '../../metrics-registry.ts'
import { openControlPost } from './control-post.ts'
import { createFactSender, type WayFacts } from './send-facts.ts'
import { createMarkSender, type MarkedRecorder } from './send-marks.ts'

export type Reports = {
  /** The way has changed: told at once. */
  wayChanged(): void
  addMetrics(metrics: MetricsRegistry): void
  stop(): void
}

/** `way` null: nothing is measured. Does nothing where the store is not control's. */
export function startReports({
  recorder,
  storeUrl,
  way,
  log,
}: {
  readonly recorder: MarkedRecorder
  readonly storeUrl: string
  readonly way: (() => WayFacts | null) | null
  readonly log: Log
}): Reports {
  const control = openControlPost(storeUrl)
  if (control === null) return { wayChanged: () => undefined, addMetrics: () => undefined, stop: () => undefined }
  const marks = createMarkSender({ recorder, control, log })
  const facts = way === null ? null : createFactSender({ current: way, control, log })
  marks.start()
  facts?.start()
  return {
    wayChanged: () => void facts?.tick(),
    addMetrics(metrics) {
      metrics.counter('steno_high_water_marks_total', 'High-water marks that control took.', () => marks.counts.sent)
      metrics.counter('steno_high_water_marks_failed_total', 'High-water marks that control did not take.', () => marks.counts.failed)
    },
    stop() {
      marks.stop()
      facts?.stop()
      control.close()
    },
  }
}
