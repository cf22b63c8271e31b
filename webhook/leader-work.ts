/**
 * What only the replica that leads does: statuses, parameters and network policies are kept, control's reports are watched, and the
 * installation's own authority is rotated. It ends with the term; who leads is decided elsewhere.
 */
import type { Log } from '../base/log.ts'
import type { ClusterClient } from '../cluster/client.ts'
import type { PolicyWorld } from '../cluster/policy-world.ts'
import { rotateAuthority } from './certificates/rotate-authority.ts'
import type { WebhookTrust } from './certificates/webhook-trust.ts'
import { watchReports } from './control-reports.ts'
import { standardNetworkSettings } from './reconcile/network-policies/settings.ts'
import { startReconcile, type Reconcile } from './reconcile/reconcile.ts'
import type { WebhookSettings } from './settings.ts'

export type LeaderWorkOptions = {
  readonly cluster: ClusterClient
  readonly world: PolicyWorld
  readonly settings: WebhookSettings
  readonly log: Log
  /** PEM; null while it is not known. */
  readonly controlPublicKey: () => string | null
  readonly controlCa: () => string | null
}

export type LeaderWork = {
  /** Begins a term, which ends with `signal`; its promise settles when its work has. */
  begin(trust: WebhookTrust, signal: AbortSignal): Pick<Reconcile, 'stopped'>
  /** Null while another replica leads. */
  reconcile(): Reconcile | null
}

export function createLeaderWork({ cluster, world, settings, log, controlPublicKey, controlCa }: LeaderWorkOptions): LeaderWork {
  const { namespace, watchTiming, certificate } = settings
  let reconcile: Reconcile | null = null
  return {
    begin(trust, signal) {
      const { parametersName, instance, statusMilliseconds, rightsMilliseconds } = settings
      const network = settings.network ?? standardNetworkSettings(namespace)
      const reconcileSettings = { parametersName, instance, statusMilliseconds, rightsMilliseconds, network }
      const reports = watchReports({
        ...{ cluster, namespace, log, signal, onChange: () => reconcile?.refreshStores() },
        ...(settings.reportTiming === undefined ? {} : { timing: settings.reportTiming }),
      })
      const running = startReconcile({
        ...{ cluster, world, controlPublicKey, controlCa, isControlSilent: reports.isSilent, log, signal },
        settings: watchTiming === undefined ? reconcileSettings : { ...reconcileSettings, watchTiming },
      })
      reconcile = running
      signal.addEventListener('abort', () => {
        if (reconcile === running) reconcile = null
      })
      trust.refresh()
      if (certificate.kind === 'own')
        void rotateAuthority({
          ...{ cluster, namespace, log, signal },
          secret: certificate.secret,
          intervals: certificate.authority,
          isDistributed: (cert) => trust.has(cert),
        })
      return running
    },
    reconcile: () => reconcile,
  }
}
