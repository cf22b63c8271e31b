/** What the cluster knows of a pod that hands over recordings. Types only. */
import type { PodIdentity } from '../../cluster/identity/pod.ts'

/** What is asked of a pod once, when its recorder comes first. @throws Refusal CLUSTER_UNAVAILABLE */
export type DescribePod = (pod: PodIdentity) => Promise<PodDescription>

export type PodDescription =
  | {
      readonly kind: 'fit'
      /** `ReplicaSet/shop-7d4`; null for a bare pod. */
      readonly owner: string | null
      /** Of the sidecar, by digest when the kubelet has said it. */
      readonly image: string | null
      readonly nodeName: string | null
      /** The one RecordingStore that the pod's sidecar was told to use at admission. */
      readonly store: string
    }
  | { readonly kind: 'unfit'; readonly reason: string }
