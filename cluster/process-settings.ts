/** What every process of steno in a cluster is told at its start. Holds values only; commands read them from options. */
import type { AuthorityIntervals } from './certificates/authority-state.ts'
import type { LeafIntervals } from './certificates/own-certificates.ts'
import type { WatchTiming } from './watch-resource.ts'

export { standardAuthorityIntervals } from './certificates/authority-state.ts'
export { standardLeafIntervals } from './certificates/own-certificates.ts'

export type Address = { readonly host: string; readonly port: number }

export type CertificateSettings = {
  /** `own`: an authority in the Secret, made when there is none. `given`: a Secret of type kubernetes.io/tls that somebody else makes. */
  readonly kind: 'own' | 'given'
  /** Its name, in steno's namespace. */
  readonly secret: string
  /** DNS names and addresses by which clients reach the server; of no use for `given`. */
  readonly names: readonly string[]
  readonly authority: AuthorityIntervals
  readonly leaf: LeafIntervals
}

export type ProcessSettings = {
  /** A file; null: KUBECONFIG, else the pod's ServiceAccount. */
  readonly kubeconfig: string | null
  /** Steno's own. */
  readonly namespace: string
  /** This replica's name among others: the pod's. */
  readonly instance: string
  readonly listen: Address
  /** Serves /metrics, /healthz and /readyz in plain HTTP. */
  readonly metricsListen: Address
  readonly certificate: CertificateSettings
  /** How long requests are still taken after readiness has ended, until endpoints have forgotten the pod. */
  readonly drainDelayMilliseconds: number
  readonly watchTiming?: Partial<WatchTiming>
}
