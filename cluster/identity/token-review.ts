/**
 * Asks the API server whose a token is (authentication.k8s.io/v1 TokenReview), for one audience.
 *
 * Only tokens that are bound to a pod count: the API server refuses them as soon as that pod is gone, and says which pod it is.
 */
import type { ClusterClient } from '../client.ts'
import { ClusterRefused } from '../errors.ts'
import { pathOf, resources } from '../resources.ts'
import type { ReviewToken, TokenAudience, TokenVerdict } from './pod.ts'
import { NotIdentified } from './not-identified.ts'

const reviewMillisecondsMax = 5_000

/** The fields of a TokenReview's status that are read here. */
type TokenReviewStatus = {
  readonly authenticated?: boolean
  readonly audiences?: readonly string[]
  readonly user?: { readonly username?: string; readonly extra?: Readonly<Record<string, readonly string[] | undefined>> }
}

export function createTokenReview(cluster: Pick<ClusterClient, 'request'>, audience: TokenAudience): ReviewToken {
  return async (token) => {
    let status: TokenReviewStatus
    try {
      const review = await cluster.request<{ readonly status?: TokenReviewStatus }>({
        method: 'POST',
        path: pathOf(resources.tokenReviews),
        body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token, audiences: [audience] } },
        timeoutMilliseconds: reviewMillisecondsMax,
      })
      status = review.status ?? {}
    } catch (error) {
      // The message of an answer may quote what was asked, which is the token.
      const why = error instanceof ClusterRefused ? `${error.status} ${error.reason}` : 'the API server does not answer'
      throw new NotIdentified('CLUSTER_UNAVAILABLE', `the token could not be reviewed: ${why}`)
    }
    return verdictOf(status, audience)
  }
}

/** The API server's own `error` is left out: it may quote the token. */
export function verdictOf({ authenticated, audiences, user }: TokenReviewStatus, audience: TokenAudience): TokenVerdict {
  if (authenticated !== true)
    return { kind: 'refused', reason: 'the API server does not accept it (expired, of a pod that is gone, or foreign)' }
  // A server that knows nothing of audiences accepts any token and names none.
  if (audiences?.includes(audience) !== true) return { kind: 'refused', reason: `it is not for the audience ${audience}` }
  const [, podNamespace, serviceAccount] = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(user?.username ?? '') ?? []
  if (podNamespace === undefined || serviceAccount === undefined) return { kind: 'refused', reason: 'it is of no ServiceAccount' }
  const extra = (name: string): string | undefined => user?.extra?.[`authentication.kubernetes.io/${name}`]?.[0]
  const [podName, podUid] = [extra('pod-name'), extra('pod-uid')]
  if (podName === undefined || podUid === undefined) return { kind: 'refused', reason: 'it is not bound to a pod' }
  return { kind: 'pod', pod: { podUid, podName, podNamespace, serviceAccount, nodeName: extra('node-name') ?? null } }
}
