/** What a pod's sidecar tells control besides recordings: how far it has come, how recording does, and whether databases can be reached past it. */
import type { Log } from '../../../base/log.ts'
import type { MetricsRegistry } from '../../metrics-registry.ts'
import { openControlPost } from './control-post.ts'
import type { PolicyFacts, RecordingFacts, WayFacts } from '../../../session/pod-facts.ts'
import { createFactSender } from './send-facts.ts'
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
  policy,
  log,
}: {
  readonly recorder: MarkedRecorder & { recordingState(): RecordingFacts | null }
  readonly storeUrl: string
  readonly way: (() => WayFacts | null) | null
  readonly policy: () => PolicyFacts
  readonly log: Log
}): Reports {
  const control = openControlPost(storeUrl)
  if (control === null) return { wayChanged: () => undefined, addMetrics: () => undefined, stop: () => undefined }
  const marks = createMarkSender({ recorder, control, log })
  const facts = way === null ? null : createFactSender({ current: way, recording: () => recorder.recordingState(), policy, control, log })
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
