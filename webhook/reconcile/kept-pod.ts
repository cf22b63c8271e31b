/** Of a pod, what reconcile needs: about 500 bytes instead of the 5 to 20 KiB that the API server sends. */
import type { V1Pod } from '@kubernetes/client-node'
import type { Labels } from '../../crds/label-selector.ts'
import { policyHashAnnotation } from '../../injection/inject-pod.ts'
import { sidecarName } from '../../injection/sidecar-container.ts'

export type KeptPod = {
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly labels: Labels
  readonly serviceAccount: string
  /** The hash of the policy that the pod's sidecar was made by; null when there is no sidecar. */
  readonly policyHash: string | null
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
    policyHash: sidecar === undefined ? null : (metadata?.annotations?.[policyHashAnnotation] ?? ''),
    owner: owner === undefined ? null : `${owner.kind}/${owner.name}`,
  }
}
