/**
 * What reviews are judged by, out of what the webhook watches: policies and namespaces, control's key and authority, its own settings.
 *
 * Remade when something of it has changed, not for each review. Null, with the reasons, until every part is known; it opens no watch itself.
 */
import type { Log } from '../../base/log.ts'
import { stenoVersion } from '../../base/version.ts'
import type { PolicyWorld } from '../../cluster/policy-world.ts'
import type { Labels } from '../../crds/label-selector.ts'
import type { SealKey } from '../../injection/admission-seal.ts'
import type { AdmissionWorld } from '../../injection/inject-pod.ts'
import { controlKeySecretName } from '../control/control-key-secret.ts'
import { readable } from '../reconcile/reconcile.ts'
import type { WebhookSettings } from '../settings.ts'

export type AdmissionWorldSource = {
  /** Null while a part of it is missing: then no review can be answered. */
  current(): AdmissionWorld | null
  /** What is missing, one sentence each. */
  missing(): string[]
}

export function createAdmissionWorld(options: {
  readonly world: PolicyWorld
  readonly settings: Pick<WebhookSettings, 'sidecarImage' | 'controlUrl' | 'relayEndpoint'>
  readonly log: Log
  readonly controlPublicKey: () => string | null
  readonly sealKey: () => SealKey | undefined
  readonly controlCa: () => string | null
}): AdmissionWorldSource {
  const { world, settings, log, controlPublicKey, sealKey, controlCa } = options
  let policies: Pick<AdmissionWorld, 'policies' | 'clusterPolicies' | 'namespaceLabels' | 'unreadable'> | null = null
  world.subscribe(({ kind }) => {
    if (kind !== 'RecordingStore') policies = null
  })

  function read(): NonNullable<typeof policies> {
    const unreadable = [...world.sessionPolicies.values(), ...world.clusterPolicies.values()].filter(({ problem }) => problem !== null)
    for (const { namespace, name, problem } of unreadable)
      log.error({ namespace, name, problem }, 'a policy cannot be read; pods that it may be for are postponed')
    const blocking = (namespace: string) => unreadable.find((kept) => kept.namespace === undefined || kept.namespace === namespace)
    const namespaceLabels = new Map<string, Labels>()
    const problems = new Map<string, string>()
    for (const { name, labels } of world.namespaces.values()) {
      namespaceLabels.set(name, labels)
      const kept = blocking(name)
      if (kept !== undefined) problems.set(name, problemOf(kept))
    }
    return {
      policies: readable(world.sessionPolicies.values()),
      clusterPolicies: readable(world.clusterPolicies.values()),
      namespaceLabels,
      unreadable: problems,
    }
  }

  return {
    current() {
      const [ca, publicKey] = [controlCa(), controlPublicKey()]
      if (!world.isSynced() || ca === null || publicKey === null) return null
      policies ??= read()
      const { sidecarImage, controlUrl, relayEndpoint } = settings
      const [of, key] = [{ sidecarImage, controlUrl, relayEndpoint, version: stenoVersion }, sealKey()]
      return { ...policies, ...of, controlCa: ca, controlPublicKey: publicKey, ...(key === undefined ? {} : { sealKey: key }) }
    },
    missing() {
      return [
        ...(world.isSynced() ? [] : ['the policies of the cluster are not read yet']),
        ...(controlCa() === null ? ['the authority of control is not known yet; a given Secret needs ca.crt'] : []),
        ...((controlPublicKey() ?? '') === ''
          ? [`the Secret ${controlKeySecretName} is not there yet; control makes it when it starts`]
          : []),
      ]
    },
  }
}

function problemOf({ namespace, name, problem }: { namespace: string | undefined; name: string; problem: string | null }): string {
  const policy = namespace === undefined ? `ClusterSessionPolicy ${name}` : `SessionPolicy ${namespace}/${name}`
  return `steno cannot read ${policy}, which may be for this pod: ${problem}. Correct it, or apply the CustomResourceDefinitions of the release that runs; pods of the namespace are admitted then.`
}
