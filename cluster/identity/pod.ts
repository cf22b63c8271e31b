/** Who asks: the pod that a token is bound to. Types only. */

/** From a TokenReview: what the API server signed into the token, for a pod that it still has. */
export type PodIdentity = {
  readonly podUid: string
  readonly podName: string
  readonly podNamespace: string
  readonly serviceAccount: string
  /** Null when the API server puts no node into tokens (before Kubernetes 1.30). */
  readonly nodeName: string | null
}

/** Whom a sidecar's token is for: a token for the one opens nothing at the other. */
export type TokenAudience = 'steno-control' | 'steno-relay'

/** @throws NotIdentified CLUSTER_UNAVAILABLE when the API server does not answer */
export type ReviewToken = (token: string) => Promise<TokenVerdict>

export type TokenVerdict =
  | { readonly kind: 'pod'; readonly pod: PodIdentity }
  /** `reason` is for the log and the answer; it never quotes the token. */
  | { readonly kind: 'refused'; readonly reason: string }

/** For log lines. */
export function podName({ podNamespace, podName: name }: PodIdentity): string {
  return `${podNamespace}/${name}`
}
