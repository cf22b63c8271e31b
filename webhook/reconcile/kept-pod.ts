/** Of a pod, what reconcile needs: about 500 bytes instead of the 5 to 20 KiB that the API server sends. */
import type { V1Pod } from '@kubernetes/client-node'
import { egressCondition, followedHashOf, policyCondition, recordingCondition } from '../../cluster/pod-watch.ts'
import type { Labels } from '../../crds/label-selector.ts'
import { enforcementLabel, policyHashAnnotation } from '../../injection/inject-pod.ts'
import { sidecarName } from '../../injection/sidecar-container.ts'

/**
 * What is known of the ways past a pod's sidecar, from the condition that control writes. `CredentialsOnly`: its network is left alone;
 * `NotReported`: nobody says anything.
 */
export type Egress = 'Closed' | 'Open' | 'NotMeasured' | 'NotReported' | 'CredentialsOnly'

/**
 * Whether what a pod's sidecar records reaches the store, from the condition that control writes. `NothingYet`: no session has begun, or
 * the first one's records are on their way. `NotTold`: the sidecar is of a release that does not say, or was made this moment.
 */
export type Recorded = 'Stored' | 'NothingYet' | 'NotStored' | 'SpoolFull' | 'NotReported' | 'NotTold'

export type KeptPod = {
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly labels: Labels
  readonly serviceAccount: string
  /**
   * The hash of the policy that the pod's sidecar goes by wholly: of the one that it took from control, or says nothing, of that which it was made by.
   * Empty where part of it waits until the pod is made again; null when there is no sidecar.
   */
  readonly policyHash: string | null
  /** Null when there is no sidecar. */
  readonly egress: Egress | null
  /** Null when there is no sidecar. */
  readonly recorded: Recorded | null
  /** Who makes it again, as `ReplicaSet/shop-6d5`; null for a pod that nobody makes again. */
  readonly owner: string | null
}

/** Null for a pod that has ended: it speaks to nobody. */
export function keptPod(object: unknown): KeptPod | null {
  const { metadata, spec, status } = object as V1Pod
  if (status?.phase === 'Succeeded' || status?.phase === 'Failed') return null
  // A native sidecar, not merely something of that name.
  const sidecar = (spec?.initContainers ?? []).find(({ name, restartPolicy }) => name === sidecarName && restartPolicy === 'Always')
  const owner = (metadata?.ownerReferences ?? []).find(({ controller }) => controller === true)
  return {
    namespace: metadata?.namespace ?? '',
    name: metadata?.name ?? '',
    uid: metadata?.uid ?? '',
    labels: metadata?.labels ?? {},
    serviceAccount: spec?.serviceAccountName ?? 'default',
    policyHash: sidecar === undefined ? null : hashOf(metadata?.annotations?.[policyHashAnnotation] ?? '', status?.conditions),
    egress: sidecar === undefined ? null : egressOf(metadata?.labels?.[enforcementLabel], status?.conditions),
    recorded: sidecar === undefined ? null : recordedOf(status?.conditions),
    owner: owner === undefined ? null : `${owner.kind}/${owner.name}`,
  }
}

type Conditions = NonNullable<V1Pod['status']>['conditions']

function hashOf(made: string, conditions: Conditions): string {
  const found = conditionOf(conditions, policyCondition)
  if (found?.status === 'True') return followedHashOf({ message: found.message ?? '' }) ?? made
  return found?.status === 'False' ? '' : made
}

function recordedOf(conditions: Conditions): Recorded {
  const found = conditionOf(conditions, recordingCondition)
  if (found === undefined) return 'NotTold'
  if (found.status === 'True') return 'Stored'
  if (found.status !== 'False') return found.reason === 'NotReported' ? 'NotReported' : 'NothingYet'
  return found.reason === 'SpoolFull' ? 'SpoolFull' : 'NotStored'
}

function conditionOf(conditions: Conditions, wanted: string) {
  return (conditions ?? []).find(({ type }) => type === wanted)
}

function egressOf(mode: string | undefined, conditions: Conditions): Egress {
  // Pods of a release without a relay have no label, and nothing closes their network.
  if (mode !== 'Relay') return 'CredentialsOnly'
  const found = conditionOf(conditions, egressCondition)
  if (found?.status === 'True') return 'Closed'
  if (found?.status === 'False') return 'Open'
  return found?.reason === 'NotMeasured' ? 'NotMeasured' : 'NotReported'
}
