/**
 * What the relay says no with: a code that stays, the HTTP status, and what to do. `docs/relay.md` has the table; a test compares.
 *
 * A message never holds a token, and of a request nothing but names and addresses.
 */
import { KnownError } from '../base/errors.ts'

export type RefusalCode = keyof typeof refusals

/** `retrySeconds` becomes the header Retry-After. */
type Kind = { readonly status: number; readonly remedy: string; readonly retrySeconds?: number }

export const refusals = {
  BAD_REQUEST: { status: 400, remedy: 'Use a sidecar of this release or of the two minor releases before it.' },
  POD_UNFIT: { status: 403, remedy: 'Delete the pod, so that it is made anew with the sidecar that the webhook gives it.' },
  SOURCE_UNFIT: {
    status: 403,
    remedy:
      'Connect from the pod itself. When the cluster’s network rewrites the addresses of pods, set relay.checkSourceAddress to false.',
  },
  TARGET_NOT_ALLOWED: {
    status: 403,
    remedy: 'Name host and port in `databases` of a SessionPolicy for the pod, within the ceiling of the ClusterSessionPolicies.',
  },
  TARGET_FORBIDDEN: {
    status: 403,
    remedy:
      'Let the name lead to the database’s own address: nodes, the API server, steno and addresses of a machine itself are never reached.',
  },
  NOT_FOUND: { status: 404, remedy: 'Look at the path; docs/relay.md lists what there is.' },
  TOKEN_UNFIT: {
    status: 407,
    remedy: 'Send the pod’s token for the audience steno-relay, as the kubelet keeps it in /var/run/secrets/steno.dev/relay-token.',
  },
  TOO_MANY_TUNNELS: {
    status: 429,
    remedy: 'Close connections of this pod, or open them more slowly; use a pool that keeps them.',
    retrySeconds: 1,
  },
  DEFECT: { status: 500, remedy: 'Report it with the log of steno-relay.', retrySeconds: 10 },
  NAME_UNRESOLVED: { status: 502, remedy: 'Check the host’s name in the connection string, and the cluster’s DNS.', retrySeconds: 2 },
  TARGET_UNREACHABLE: {
    status: 502,
    remedy: 'Check that the database listens there, and that network policies and firewalls let steno-relay reach it.',
    retrySeconds: 2,
  },
  BUSY: { status: 503, remedy: 'Wait; when it lasts, run more replicas of steno-relay.', retrySeconds: 2 },
  CLUSTER_UNAVAILABLE: {
    status: 503,
    remedy: 'Wait; when it lasts, check that steno-relay reaches the API server and has the rights of the chart’s roles.',
    retrySeconds: 2,
  },
  STOPPING: { status: 503, remedy: 'Connect again: another relay takes over.', retrySeconds: 1 },
  TARGET_SLOW: {
    status: 504,
    remedy: 'Check the way from steno-relay to the database: a firewall may drop what it refuses.',
    retrySeconds: 5,
  },
} as const satisfies Record<string, Kind>

export class Refusal extends KnownError {
  readonly code: RefusalCode
  readonly remedy: string
  readonly safeToRetry = true
  constructor(code: RefusalCode, what: string, options?: ErrorOptions) {
    super(what, options)
    this.code = code
    this.remedy = refusals[code].remedy
  }

  get status(): number {
    return refusals[this.code].status
  }

  /** Null when waiting alone changes nothing. */
  get retrySeconds(): number | null {
    const kind: Kind = refusals[this.code]
    return kind.retrySeconds ?? null
  }
}
