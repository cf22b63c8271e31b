/**
 * What the ServiceAccount of an agent could do to get at credentials: asked of the API server, never derived from roles.
 *
 * Source: SubjectAccessReview (authorization.k8s.io/v1), so RBAC and every other authorizer of the cluster count. Judges the account's
 * rights in its own namespace; rights in other namespaces alone are not looked for. An agent without a token still counts: its
 * specification could be given one by whoever makes its pods.
 */
import type { ClusterClient } from '../../cluster/client.ts'
import { isRefusal } from '../../cluster/errors.ts'
import { apiVersionOf, pathOf, resources } from '../../cluster/resources.ts'

export type Rights =
  /** Nothing was found. */
  | { readonly kind: 'isolated' }
  /** `reason` is the first kind of what was found, `found` says all of it, each like `create pods/exec`. */
  | {
      readonly kind: 'open'
      readonly reason: 'ReadsSecrets' | 'MakesPods' | 'MakesTokens' | 'EntersPods' | 'CloudIdentity'
      readonly found: readonly string[]
    }

type Question = {
  readonly reason: Extract<Rights, { kind: 'open' }>['reason']
  readonly verb: string
  readonly group?: string
  readonly resource: string
  readonly subresource?: string
}

const workloads: readonly (readonly [string, string])[] = [
  ['apps', 'deployments'],
  ['apps', 'statefulsets'],
  ['apps', 'daemonsets'],
  ['apps', 'replicasets'],
  ['batch', 'jobs'],
  ['batch', 'cronjobs'],
]

/** So many reviews cost one account. */
const questions: readonly Question[] = [
  ...['get', 'list', 'watch'].map((verb): Question => ({ reason: 'ReadsSecrets', verb, resource: 'secrets' })),
  { reason: 'MakesTokens', verb: 'create', resource: 'serviceaccounts', subresource: 'token' },
  { reason: 'MakesPods', verb: 'create', resource: 'pods' },
  // Each makes pods by its controller.
  ...workloads.map(([group, resource]): Question => ({ reason: 'MakesPods', verb: 'create', group, resource })),
  { reason: 'EntersPods', verb: 'create', resource: 'pods', subresource: 'exec' },
  // A WebSocket begins with a GET, which some releases of Kubernetes judge by that verb.
  { reason: 'EntersPods', verb: 'get', resource: 'pods', subresource: 'exec' },
  { reason: 'EntersPods', verb: 'patch', resource: 'pods', subresource: 'ephemeralcontainers' },
]

/** Annotations by which clouds give an account rights beyond the cluster, often to databases and their secrets. */
const identityAnnotations = ['eks.amazonaws.com/role-arn', 'iam.gke.io/gcp-service-account', 'azure.workload.identity/client-id']

/** @throws ClusterRefused, ClusterUnreachable */
export async function rightsOf(
  cluster: Pick<ClusterClient, 'request'>,
  namespace: string,
  name: string,
  signal?: AbortSignal,
): Promise<Rights> {
  const ended = signal === undefined ? {} : { signal }
  const found: { reason: Question['reason']; what: string }[] = []
  for (const question of questions) {
    const { reason, verb, group = '', resource, subresource } = question
    const review = await cluster.request<{ status?: { allowed?: boolean } }>({
      method: 'POST',
      path: pathOf(resources.subjectAccessReviews),
      body: {
        apiVersion: apiVersionOf(resources.subjectAccessReviews),
        kind: resources.subjectAccessReviews.kind,
        spec: {
          user: `system:serviceaccount:${namespace}:${name}`,
          groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
          resourceAttributes: { namespace, verb, group, resource, ...(subresource === undefined ? {} : { subresource }) },
        },
      },
      ...ended,
    })
    if (review.status?.allowed === true)
      found.push({ reason, what: `${verb} ${resource}${subresource === undefined ? '' : `/${subresource}`}` })
  }
  for (const annotation of await annotationsOf(cluster, namespace, name, ended))
    if (identityAnnotations.includes(annotation)) found.push({ reason: 'CloudIdentity', what: `annotation ${annotation}` })
  const [first] = found
  return first === undefined ? { kind: 'isolated' } : { kind: 'open', reason: first.reason, found: found.map(({ what }) => what) }
}

async function annotationsOf(
  cluster: Pick<ClusterClient, 'request'>,
  namespace: string,
  name: string,
  ended: { readonly signal?: AbortSignal },
): Promise<string[]> {
  try {
    const account = await cluster.request<{ metadata?: { annotations?: Record<string, string> } }>({
      method: 'GET',
      path: pathOf(resources.serviceAccounts, { namespace, name }),
      ...ended,
    })
    return Object.keys(account.metadata?.annotations ?? {})
  } catch (error) {
    if (isRefusal(error, 'NotFound')) return [] // Its pods outlive an account.
    throw error
  }
}
