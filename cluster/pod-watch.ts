/**
 * Every pod of the cluster that says it has a sidecar, as little of each as questions about it need: about 1 KiB instead of 5 to 20.
 *
 * Goes by a label that whoever makes pods may write, so being here proves nothing: `live-pods.ts` looks at the pod itself. Labels that are
 * larger than any scheduler's or controller's leave the pod out, so that memory is bounded by the number of pods; one that is not here is
 * looked at anew for each question. Knows nothing of policies.
 */
import type { V1Pod } from '@kubernetes/client-node'
import type { Log } from '../base/log.ts'
import type { Labels } from '../crds/label-selector.ts'
import type { ClusterClient } from './client.ts'
import type { ClaimedPod } from './identity/claimed-pod.ts'
import { judgedDigestOf } from './judged-part.ts'
import { resources } from './resources.ts'
import { watchResource, type Change, type ResourceWatch, type WatchTiming } from './watch-resource.ts'

/** What the webhook writes on each pod that it gives a sidecar. */
export const injectedSelector = 'steno.dev/injected=true'
/** The pod condition that says whether databases can be reached past the sidecar. */
export const egressCondition = 'steno.dev/EgressClosed'
/** The one that says whether what the sidecar records reaches the store; pods of releases before it have none. */
export const recordingCondition = 'steno.dev/RecordingStored'
/** The one that says whether the sidecar goes by a policy wholly, and by which. */
export const policyCondition = 'steno.dev/PolicyFollowed'

/** Of core/v1 PodCondition. */
export type StenoCondition = {
  readonly status: 'True' | 'False' | 'Unknown'
  readonly reason: string
  readonly message: string
  readonly lastProbeTime: string | null
  readonly lastTransitionTime: string | null
}

export type WatchedPod = {
  readonly uid: string
  readonly name: string
  readonly namespace: string
  readonly labels: Labels
  /** All addresses of the pod (PodStatus.podIPs); empty until it has one. Pods in the host's network have the node's. */
  readonly podIPs: readonly string[]
  /** PodStatus.phase: `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`. */
  readonly phase: string
  readonly resourceVersion: string
  /** Of `judged-part.ts`: equal as long as nothing has changed by which the pod is judged. */
  readonly judged: string
  /** Since when it is being deleted (RFC 3339); null for one that is not. */
  readonly deletionTimestamp: string | null
  /** Null when nobody has reported yet. */
  readonly egress: StenoCondition | null
}

/** By `namespace/name`. */
export type PodWatch = ResourceWatch<WatchedPod>

/** Of all keys and values together. Kubernetes bounds each, and not their number. */
const labelCharactersMax = 16 * 1024
const messageCharactersMax = 512
const podIPsMax = 8

/** `onChange` is told each appearance, change and disappearance, before the question after it is answered. */
export function watchInjectedPods(options: {
  readonly cluster: Pick<ClusterClient, 'request' | 'openStream'>
  readonly onChange?: (change: Change<WatchedPod>) => void
  readonly log: Log
  readonly timing?: Partial<WatchTiming>
}): PodWatch {
  return watchResource<WatchedPod>({ ...options, resource: resources.pods, labelSelector: injectedSelector, keep: watchedPod })
}

/** The UIDs of the pods whose verdict may be another since the change; none for a change of what nobody judges by. */
export function judgedAnew({ before, after }: Pick<Change<WatchedPod>, 'before' | 'after'>): string[] {
  if (before !== undefined && before.uid === after?.uid && before.judged === after.judged) return []
  return [...new Set([before?.uid, after?.uid])].filter((uid) => uid !== undefined)
}

export function isWatchedPod(pods: Pick<PodWatch, 'get'>, { podUid, podName, podNamespace }: ClaimedPod): boolean {
  return pods.get(`${podNamespace}/${podName}`)?.uid === podUid
}

type RawPod = {
  readonly metadata?: {
    readonly uid?: string
    readonly name?: string
    readonly namespace?: string
    readonly labels?: Labels
    readonly resourceVersion?: string
    readonly deletionTimestamp?: string
  }
  readonly status?: {
    readonly phase?: string
    readonly podIPs?: readonly { readonly ip?: string }[]
    readonly conditions?: readonly (Partial<StenoCondition> & { readonly type?: string })[]
  }
}

/** What is kept of a pod as the API server sent it. @throws RangeError for labels that are too large to keep */
export function watchedPod(object: unknown): WatchedPod {
  const { metadata = {}, status = {} } = object as RawPod
  const labels = metadata.labels ?? {}
  const characters = Object.entries(labels).reduce((sum, [key, value]) => sum + key.length + value.length, 0)
  if (characters > labelCharactersMax) throw new RangeError(`its labels have more than ${labelCharactersMax} characters`)
  return {
    uid: metadata.uid ?? '',
    name: metadata.name ?? '',
    namespace: metadata.namespace ?? '',
    labels,
    podIPs: (status.podIPs ?? []).flatMap(({ ip }) => ip ?? []).slice(0, podIPsMax),
    phase: status.phase ?? 'Unknown',
    resourceVersion: metadata.resourceVersion ?? '',
    judged: judgedDigestOf(object as V1Pod),
    deletionTimestamp: metadata.deletionTimestamp ?? null,
    egress: stenoConditionOf(status.conditions, egressCondition),
  }
}

/** The condition of that type among those of a pod's status; null when nobody has reported yet. */
export function stenoConditionOf(conditions: NonNullable<RawPod['status']>['conditions'], wanted: string): StenoCondition | null {
  const found = (conditions ?? []).find(({ type }) => type === wanted)
  if (found === undefined) return null
  const { status, reason, message, lastProbeTime, lastTransitionTime } = found
  return {
    status: status === 'True' || status === 'False' ? status : 'Unknown',
    reason: (reason ?? '').slice(0, messageCharactersMax),
    message: (message ?? '').slice(0, messageCharactersMax),
    lastProbeTime: lastProbeTime ?? null,
    lastTransitionTime: lastTransitionTime ?? null,
  }
}

/** The message of `steno.dev/PolicyFollowed`, from which `followedHashOf` reads the hash again. */
export function policyMessage(hash: string): string {
  return `the sidecar goes by policy ${hash}`
}

/** The hash of the policy that a sidecar goes by; null for one that does not say. */
export function followedHashOf({ message }: Pick<StenoCondition, 'message'>): string | null {
  return /^the sidecar goes by policy ([0-9a-f]{32})\b/.exec(message)?.[1] ?? null
}
