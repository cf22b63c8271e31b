/**
 * The envelope that the API server sends and takes back: AdmissionReview of admission.k8s.io/v1, for pods.
 *
 * Source: k8s.io/api/admission/v1. Reads only what a review needs; knows nothing of policies or HTTP.
 */
import type { V1Pod } from '@kubernetes/client-node'
import type { PodReview } from '../../injection/review-pod.ts'
import { readPod } from '../../injection/read-pod.ts'

const apiVersion = 'admission.k8s.io/v1'
const kind = 'AdmissionReview'
/** Namespace names and UIDs are shorter (RFC 1123, RFC 9562); names of objects have 253 at most. */
const nameCharactersMax = 253

export type ReadReview =
  | {
      readonly kind: 'request'
      readonly uid: string
      readonly namespace: string
      readonly operation: string
      readonly dryRun: boolean
      /** Null when the operation is none that makes a pod. */
      readonly pod: V1Pod | null
    }
  /** The envelope can be read, and what it says is a pod cannot. */
  | { readonly kind: 'no-pod'; readonly uid: string; readonly namespace: string; readonly problem: string }
  | { readonly kind: 'unreadable'; readonly problem: string }

/** Reads a request's body. Problems name the field and quote nothing. */
export function readAdmissionReview(body: string): ReadReview {
  let review: unknown
  try {
    review = JSON.parse(body)
  } catch {
    // What JSON.parse says quotes the text, and a pod holds credentials.
    return unreadable('the body is no JSON')
  }
  if (!isObject(review)) return unreadable('the body is no object')
  if (review['apiVersion'] !== apiVersion || review['kind'] !== kind) return unreadable(`the body is no ${kind} of ${apiVersion}`)
  const request = review['request']
  if (!isObject(request)) return unreadable('request is no object')
  const { uid, namespace, operation, resource, subResource, object } = request
  if (!isName(uid)) return unreadable('request.uid is no name')
  if (!isName(namespace)) return unreadable('request.namespace is no name')
  if (!isName(operation)) return unreadable('request.operation is no name')
  if (!isObject(resource) || resource['group'] !== '' || resource['version'] !== 'v1' || resource['resource'] !== 'pods')
    return unreadable('request.resource is not pods of v1, the only one that is judged here')
  if (subResource !== undefined && subResource !== '') return unreadable('request.subResource is not empty')
  const common = { kind: 'request', uid, namespace, operation, dryRun: request['dryRun'] === true } as const
  if (operation !== 'CREATE') return { ...common, pod: null }
  const reading = readPod(object)
  return reading.kind === 'pod' ? { ...common, pod: reading.pod } : { kind: 'no-pod', uid, namespace, problem: reading.problem }
}

/** The answer's body. */
export function writeAdmissionReview(uid: string, review: PodReview | PodReviewUnanswered): string {
  return JSON.stringify({ apiVersion, kind, response: { uid, ...responseOf(review) } })
}

/**
 * Not allowed, and not by a rule: the webhook lacks a fact that it has soon (postponed), cannot read the pod, or met a defect of its own.
 * An error of HTTP instead would have the webhook's failurePolicy let the pod pass, with whatever sidecar its author wrote into it.
 */
export type PodReviewUnanswered = {
  readonly allowed: false
  readonly outcome: 'postponed' | 'unreadable' | 'failed'
  readonly message: string
}

const statusOf = {
  refused: { code: 403, reason: 'Forbidden' },
  postponed: { code: 503, reason: 'ServiceUnavailable' },
  unreadable: { code: 400, reason: 'BadRequest' },
  failed: { code: 500, reason: 'InternalError' },
} as const

function responseOf(review: PodReview | PodReviewUnanswered): object {
  if (!review.allowed) {
    const status = statusOf[review.outcome]
    return { allowed: false, status: { ...status, message: review.message } }
  }
  return {
    allowed: true,
    ...(review.patch.length === 0 ? {} : { patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify(review.patch)).toString('base64') }),
    ...(review.warnings.length === 0 ? {} : { warnings: review.warnings }),
  }
}

function isObject(value: unknown): value is { readonly [name: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= nameCharactersMax
}

function unreadable(problem: string): ReadReview {
  return { kind: 'unreadable', problem }
}
