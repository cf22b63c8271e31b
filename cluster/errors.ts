/** What goes wrong between steno and the API server, each with what can be done about it. */
import { KnownError } from '../base/errors.ts'

/** Nobody says where the API server is, or what says so cannot be read. */
export class NoCluster extends KnownError {
  readonly code = 'NO_CLUSTER'
  readonly remedy = 'Set KUBECONFIG, name a file with --kubeconfig, or run this in a pod that mounts its ServiceAccount token.'
  readonly safeToRetry = true
}

/** No answer: name, network, TLS or time. */
export class ClusterUnreachable extends KnownError {
  readonly code = 'CLUSTER_UNREACHABLE'
  readonly remedy = 'Check that the API server runs and that this address and certificate are its own; steno tries again by itself.'
  readonly safeToRetry = true
}

/** The answer is larger than may be held. */
export class AnswerTooLarge extends ClusterUnreachable {}

/**
 * The API server said no. `status` is the HTTP status, `reason` the machine-readable word of `metav1.Status`, such as `Conflict`, and `causes` the
 * reasons of its details.
 */
export class ClusterRefused extends KnownError {
  readonly code = 'CLUSTER_REFUSED'
  readonly remedy: string
  readonly safeToRetry = true
  readonly status: number
  readonly reason: string
  readonly causes: readonly string[]
  /** What the server asks to wait before the next try, when it says so (429, 503). */
  readonly retryAfterMilliseconds: number | null
  constructor(
    what: string,
    answer: {
      readonly status: number
      readonly reason: string
      readonly causes?: readonly string[]
      readonly message: string
      readonly retryAfterMilliseconds: number | null
    },
  ) {
    super(`the API server refused ${what}: ${answer.status} ${answer.reason}: ${answer.message}`)
    this.status = answer.status
    this.reason = answer.reason
    this.causes = answer.causes ?? []
    this.retryAfterMilliseconds = answer.retryAfterMilliseconds
    this.remedy =
      answer.status === 401 || answer.status === 403
        ? "Give steno's ServiceAccount the rights of the chart's roles, as the message names them."
        : 'Act on the message; steno tries again by itself where that can help.'
  }
}

/** True for an answer of the API server with this reason, such as `NotFound`, `Conflict`, `AlreadyExists`, `Expired`. */
export function isRefusal(error: unknown, reason: string): error is ClusterRefused {
  return error instanceof ClusterRefused && error.reason === reason
}

/** True when nothing can be made in a namespace because it is being deleted. Source: NamespaceTerminatingCause of k8s.io/api/core/v1. */
export function isNamespaceTerminating(error: unknown): boolean {
  return error instanceof ClusterRefused && error.status === 403 && error.causes.includes('NamespaceTerminating')
}
