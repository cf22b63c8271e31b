/**
 * What control says no with: a code that stays, the HTTP status, and what to do. `docs/shared-store.md` has the table; a test compares.
 *
 * The client (`session/stores/control.ts`) takes `BAD_KEY`, `NOT_YOURS`, `OBJECT_UNFIT` and `OBJECT_TOO_LONG` as final; all others pass.
 */
import { KnownError } from '../../base/errors.ts'

export type RefusalCode = keyof typeof refusals

/** `retrySeconds` becomes the header Retry-After. */
type Kind = { readonly status: number; readonly remedy: string; readonly retrySeconds?: number }

export const refusals = {
  BAD_REQUEST: { status: 400, remedy: 'Use a sidecar of this release or of the two minor releases before it.' },
  BAD_KEY: {
    status: 400,
    remedy: 'Use names of letters, digits, dot, underscore and hyphen, separated by slashes, none starting with a dot.',
  },
  NOT_FOUND: { status: 404, remedy: 'Look at the path; docs/shared-store.md lists what there is.' },
  NO_SUCH_OBJECT: { status: 404, remedy: 'Nothing of this name was stored by this recorder.' },
  METHOD_NOT_ALLOWED: { status: 405, remedy: 'The reader gives what is stored and takes nothing; sidecars store over TLS.' },
  MARK_OLD: { status: 409, remedy: 'Nothing: the sidecar goes on above the number that it is told.' },
  LENGTH_MISSING: { status: 411, remedy: 'Send content-length: control holds an object whole and must know how much that is.' },
  OBJECT_TOO_LONG: { status: 413, remedy: 'A segment has at most 64 MiB; lower --segment-bytes-max.' },
  RANGE_UNFIT: { status: 416, remedy: 'The object ends before the range begins.' },
  TOKEN_UNFIT: {
    status: 401,
    remedy: 'Send the pod’s token for the audience steno-control, as the kubelet keeps it in /var/run/secrets/steno.dev/token.',
  },
  POD_UNFIT: { status: 403, remedy: 'Delete the pod, so that it is made anew with the sidecar that the webhook gives it.' },
  NOT_YOURS: { status: 403, remedy: 'Give each recorder a spool of its own, and run `steno verify --all` to see who wrote what.' },
  RECORDER_UNKNOWN: {
    status: 403,
    remedy: 'The sidecar publishes its key when it starts, and again at this answer; when it lasts, look at the sidecar’s log.',
  },
  OBJECT_UNFIT: { status: 422, remedy: 'The object is not what its name promises; look at the sidecar’s log.' },
  TOO_MANY_UPLOADS: { status: 429, remedy: 'Wait: this pod has too much under way at once.', retrySeconds: 1 },
  BUSY: { status: 503, remedy: 'Wait; when it lasts, give steno-control more memory and raise its upload limit.', retrySeconds: 2 },
  STOPPING: { status: 503, remedy: 'Wait: another control starts.', retrySeconds: 2 },
  CLUSTER_UNAVAILABLE: {
    status: 503,
    remedy: 'Wait; when it lasts, check that steno-control reaches the API server and may create TokenReviews and get pods.',
    retrySeconds: 2,
  },
  STORE_UNKNOWN: { status: 503, remedy: 'Make the RecordingStore, or name another in the SessionPolicy.', retrySeconds: 10 },
  STORE_UNAVAILABLE: { status: 503, remedy: 'See the condition StoreReachable of the RecordingStore.', retrySeconds: 5 },
  STORE_UNFIT: { status: 503, remedy: 'Use a store that refuses a second conditional put.', retrySeconds: 60 },
  STORE_SLOW: { status: 504, remedy: 'Check the store; what it kept without saying so is found at the next try.', retrySeconds: 5 },
  STORE_FULL: { status: 507, remedy: 'Free space in the store, or make its volume larger.', retrySeconds: 30 },
  DEFECT: { status: 500, remedy: 'Report it with the log of steno-control.', retrySeconds: 10 },
} as const satisfies Record<string, Kind>

/** One request that is not served. The message never holds a token or anything of an object. */
export class Refusal extends KnownError {
  readonly code: RefusalCode
  readonly remedy: string
  readonly safeToRetry = true
  constructor(code: RefusalCode, what: string, { remedy, cause }: { readonly remedy?: string; readonly cause?: unknown } = {}) {
    super(what, cause === undefined ? undefined : { cause })
    this.code = code
    this.remedy = remedy ?? refusals[code].remedy
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
