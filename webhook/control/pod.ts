/** Who asks: the pod that a token is bound to, and what the cluster knows of it besides. Types only. */

/** From a TokenReview: what the API server signed into the token, for a pod that it still has. */
export type PodIdentity = {
  readonly podUid: string
  readonly podName: string
  readonly podNamespace: string
  readonly serviceAccount: string
  /** Null when the API server puts no node into tokens (before Kubernetes 1.30). */
  readonly nodeName: string | null
}

/** @throws Refusal CLUSTER_UNAVAILABLE when the API server does not answer */
export type ReviewToken = (token: string) => Promise<TokenVerdict>

export type TokenVerdict =
  | { readonly kind: 'pod'; readonly pod: PodIdentity }
  /** `reason` is for the log and the answer; it never quotes the token. */
  | { readonly kind: 'refused'; readonly reason: string }

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

/** For log lines. */
export function podName({ podNamespace, podName: name }: PodIdentity): string {
  return `${podNamespace}/${name}`
}
