/** Starts the traces in the sealing thread. Loads OpenTelemetry's packages only when this is called; without them there are no traces. */
import { messageOf } from '../../base/errors.ts'
import type { Traces } from './traces.ts'
import type { TraceOutcome } from './traces-queue.ts'
import type { TraceSettings } from './traces-settings.ts'

export type TracesStart = {
  readonly settings: TraceSettings
  readonly stenoVersion: string
  readonly onOutcome: (outcome: TraceOutcome) => void
  /** Told why there are none, for the log. */
  readonly onImpossible: (text: string) => void
}

/** Null when the packages are missing or refuse what the environment says: recording goes on without traces. */
export async function startTraces({ settings, stenoVersion, onOutcome, onImpossible }: TracesStart): Promise<Traces | null> {
  try {
    const { createTraces } = await import('./traces.ts')
    return createTraces({ settings, stenoVersion, onOutcome })
  } catch (error) {
    // Only a missing module is named: what else goes wrong may quote a header.
    const isMissing = error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND'
    onImpossible(
      `statements are recorded but not traced: ${isMissing ? messageOf(error) : 'the exporter does not start with the OTEL_ variables as they are'}`,
    )
    return null
  }
}
