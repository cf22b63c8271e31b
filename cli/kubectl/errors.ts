/**
 * What can go wrong between this plugin and the cluster, told from what kubectl said: kubectl has no exit codes for it.
 *
 * What kubectl says is repeated, made printable and cut; it names users, objects and addresses, never the content of objects.
 */
import { KnownError } from '../../base/errors.ts'
import { printable } from '../text.ts'

const saidCharactersMax = 2_000

/** There is no kubectl to ask. */
export class KubectlMissing extends KnownError {
  readonly code = 'KUBECTL_MISSING'
  readonly remedy = 'Install kubectl, put it on PATH, or name the program in the variable KUBECTL.'
  readonly safeToRetry = true
}

/** The cluster was not asked, or did not do what it was asked. */
export class KubectlFailed extends KnownError {
  readonly code = 'KUBECTL_FAILED'
  readonly remedy: string
  readonly safeToRetry = true
  constructor(what: string, remedy: string, cause?: unknown) {
    super(what, { cause })
    this.remedy = remedy
  }
}

/** The cluster has no such object. */
export class ObjectNotFound extends KnownError {
  readonly code = 'OBJECT_NOT_FOUND'
  readonly remedy: string
  readonly safeToRetry = true
  constructor(what: string, remedy: string, cause?: unknown) {
    super(what, { cause })
    this.remedy = remedy
  }
}

/** The cluster's RBAC does not let this user do it. */
export class ClusterForbids extends KnownError {
  readonly code = 'CLUSTER_FORBIDS'
  readonly remedy: string
  readonly safeToRetry = true
  constructor(what: string, remedy: string, cause?: unknown) {
    super(what, { cause })
    this.remedy = remedy
  }
}

/** The cluster does not know the kinds of `steno.dev`. */
export class StenoNotInstalled extends KnownError {
  readonly code = 'STENO_NOT_INSTALLED'
  readonly remedy = 'Install steno there (docs/install-kubernetes.md), or name another cluster with --context.'
  readonly safeToRetry = true
}

/** No recording can be read, since control does not answer. */
export class ControlNotReached extends KnownError {
  readonly code = 'CONTROL_NOT_REACHED'
  readonly remedy: string
  readonly safeToRetry = true
  constructor(what: string, remedy: string, cause?: unknown) {
    super(what, { cause })
    this.remedy = remedy
  }
}

/** Control knows no RecordingStore of the name. */
export class RecordingStoreUnknown extends KnownError {
  readonly code = 'RECORDING_STORE_UNKNOWN'
  readonly remedy = 'Name one of these with --recording-store, or make it: docs/reference/recording-store.md.'
  readonly safeToRetry = true
}

/** `asked` is what kubectl was told, as far as people need it. */
export function failureFrom(said: string, asked: string, cause?: unknown): KnownError {
  const text = told(said)
  if (/doesn't have a resource type "?(sessionpolic|clustersessionpolic|recordingstore|admissionparameter)/i.test(text))
    return new StenoNotInstalled('the cluster does not know steno’s kinds', { cause })
  if (/\(Forbidden\)|is forbidden:/.test(text))
    return new ClusterForbids(
      text,
      `Ask for the right that is named: kubectl ${asked} needs it. \`kubectl auth can-i --list\` shows yours.`,
      cause,
    )
  if (/\(NotFound\)| not found$/m.test(text)) return new ObjectNotFound(text, 'Look at the name, at --namespace and at --context.', cause)
  for (const [pattern, remedy] of remedies) if (pattern.test(text)) return new KubectlFailed(text, remedy, cause)
  return new KubectlFailed(
    `kubectl ${asked} failed: ${text || 'it said nothing'}`,
    'See what kubectl says; rights and context are its own.',
    cause,
  )
}

/** Without the log lines of kubectl's client library, and without the prefix that it gives to some of its errors. */
export function told(said: string): string {
  const text = printable(said)
    .replace(/^[IWEF]\d{4} \d\d:\d\d:\d\d.*\n?/gm, '')
    .trim()
    .replace(/^error: /i, '')
  return text.length <= saidCharactersMax ? text : `${text.slice(0, saidCharactersMax)}…`
}

const remedies: readonly (readonly [RegExp, string])[] = [
  [
    /context ".*" does not exist|context was not found|cannot locate context|no context exists/i,
    'kubectl config get-contexts lists those that there are.',
  ],
  [
    /stat .*: no such file|error loading config file|invalid configuration/i,
    'Name a kubeconfig with --kubeconfig or in the variable KUBECONFIG.',
  ],
  [
    /connection refused|did you specify the right host|unable to connect to the server|no such host|i\/o timeout|no route to host/i,
    'The API server cannot be reached: look at the context (kubectl config current-context), the network, a VPN.',
  ],
  [
    /must be logged in|unauthorized|provide credentials|getting credentials/i,
    'The cluster does not know you: log in again, as your cluster wants it.',
  ],
]
