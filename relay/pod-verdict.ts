/** What the relay must know of a pod that asks. Types only. */
import type { PodIdentity } from '../cluster/identity/pod.ts'
import type { TargetRules } from './target.ts'

export type PodVerdict =
  | ({
      readonly kind: 'fit'
      /** PodStatus.podIPs; empty until the kubelet has said them. */
      readonly podIPs: readonly string[]
    } & TargetRules)
  | { readonly kind: 'unfit'; readonly reason: string }

/** @throws NotIdentified (from the result) CLUSTER_UNAVAILABLE, BUSY */
export type JudgePod = (identity: PodIdentity) => Promise<PodVerdict>
