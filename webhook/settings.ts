/** What webhook and control are told at their start. Holds values only; `cli/webhook.ts` and `cli/control.ts` read them from options. */
import type { LeaseTiming } from '../cluster/lease.ts'
import type { Address, ProcessSettings } from '../cluster/process-settings.ts'
import type { NetworkSettings } from './reconcile/network-policies/settings.ts'
import type { ReportTiming } from './control-reports.ts'

export { standardLeaseTiming } from '../cluster/lease.ts'
export { standardNetworkSettings, type NetworkSettings } from './reconcile/network-policies/settings.ts'
export { standardReconcileIntervals } from './reconcile/reconcile.ts'

export type WebhookSettings = ProcessSettings & {
  readonly reportTiming?: ReportTiming
  readonly sidecarImage: string
  /** Where sidecars find control. */
  readonly controlUrl: string
  /** Where they find the relay: `host:port`. */
  readonly relayEndpoint: string
  /** Names of the objects that it keeps. */
  readonly webhookConfiguration: string
  readonly parametersName: string
  readonly leaseName: string
  readonly leaseTiming: LeaseTiming
  readonly statusMilliseconds: number
  readonly rightsMilliseconds: number
  /** Where agents may go in any case; absent: `standardNetworkSettings`. */
  readonly network?: NetworkSettings
}

export type ControlSettings = ProcessSettings & {
  readonly reportTiming?: ReportTiming
  /** Where sidecars were told to find control and the relay; a pod that was told otherwise is not one of steno's. */
  readonly controlUrl: string
  readonly relayEndpoint: string
  /** Whether an address is one pod, so that its connections are bounded; false for networks that rewrite the addresses of pods. Absent: true. */
  readonly limitAddresses?: boolean
  /** On a loopback address: who reaches it reads every recording. Null: no reader. */
  readonly readerListen: Address | null
}
