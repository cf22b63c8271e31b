/** What the relay is told at its start. Holds values only; `cli/relay.ts` reads them from options. */
import type { ProcessSettings } from '../cluster/process-settings.ts'

export type RelaySettings = ProcessSettings & {
  /** False where the network shows other addresses than the pods' own. */
  readonly checkSourceAddress: boolean
  /** How long tunnels may go on after that, when the relay stops. */
  readonly drainMilliseconds: number
  /** Null: never. */
  readonly idleMillisecondsMax: number | null
  readonly tunnelsMax: number
  readonly tunnelsPerPodMax: number
  readonly connectMillisecondsMax: number
  /** As sidecars of this installation have them in their configuration. */
  readonly controlUrl: string
  readonly relayEndpoint: string
  /** KUBERNETES_SERVICE_HOST. */
  readonly apiServerHost: string | undefined
}
