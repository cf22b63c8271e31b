/**
 * What is to be said of the agents' pods: sidecars that do not run, or whose recordings are not stored, pods that nobody records, pods that are refused,
 * and pods with the sidecar of another release. Pure.
 *
 * Goes by what the API server shows of pods and of those who make them at this moment.
 */
import { recordingCondition } from '../../cluster/pod-watch.ts'
import type { Concern, Condition, ContainerStatus, StatusFacts } from './status-report.ts'

/** A pod with a sidecar, in the namespaces that were asked for. */
export type InjectedPod = {
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly deletionTimestamp?: string
    readonly annotations?: Readonly<Record<string, string>>
  }
  readonly spec?: { readonly initContainers?: readonly { readonly name: string; readonly image?: string }[] }
  readonly status?: {
    readonly phase?: string
    readonly conditions?: readonly Condition[]
    readonly initContainerStatuses?: readonly (ContainerStatus & { readonly name: string })[]
  }
}

/** A ReplicaSet, with the condition ReplicaFailure while its pods are refused (Kubernetes, ReplicaSetCondition). */
export type Maker = {
  readonly metadata: { readonly name: string; readonly namespace?: string }
  readonly status?: { readonly conditions?: readonly Condition[] }
}

/** What a container waits for when it does not merely start. */
const startsIn: ReadonlySet<string> = new Set(['PodInitializing', 'ContainerCreating'])
const policyOfPod = 'steno.dev/policy'
const namesToldMax = 5

/** Those that have not ended and are not about to. */
export function liveOf(pods: readonly InjectedPod[] | null): InjectedPod[] {
  return (pods ?? []).filter(
    ({ metadata, status }) => metadata.deletionTimestamp === undefined && !['Succeeded', 'Failed'].includes(status?.phase ?? ''),
  )
}

/** Pods that no SessionPolicy was for when they were made; a policy of the cluster gives no database. */
export function unmatchedOf(pods: readonly InjectedPod[]): InjectedPod[] {
  return pods.filter(({ metadata }) =>
    (metadata.annotations?.[policyOfPod] ?? '').split(',').every((source) => source === '' || source.startsWith('ClusterSessionPolicy/')),
  )
}

type AgentFacts = Pick<StatusFacts, 'injectedPods' | 'replicaSets' | 'refusedWorkloads' | 'images'>

export function agentConcerns({ injectedPods, replicaSets, refusedWorkloads, images }: AgentFacts): Concern[] {
  const live = liveOf(injectedPods)
  const unmatched = unmatchedOf(live)
  const concerns: Concern[] = []
  if (unmatched.length > 0)
    concerns.push({
      severity: 'warning',
      what: `Pods ${told(unmatched)}`,
      message: `${counted(unmatched.length)} the sidecar and no database, as no SessionPolicy matched: credentials that they carry were left to them, and what they do with those is not recorded`,
      remedy: 'Make or correct the SessionPolicy and its selector, then make the pods again; `kubectl steno explain POD` tells of each.',
    })
  const byReason = new Map<string, InjectedPod[]>()
  for (const pod of live) {
    const reason = pod.status?.initContainerStatuses?.find(({ name }) => name === 'steno')?.state?.waiting?.reason
    if (reason !== undefined && !startsIn.has(reason)) byReason.set(reason, [...(byReason.get(reason) ?? []), pod])
  }
  for (const [reason, pods] of byReason)
    concerns.push({
      severity: 'error',
      what: `Pods ${told(pods)}`,
      message: `${counted(pods.length)} a sidecar that does not run (${reason}), so ${pods.length === 1 ? 'its agent does' : 'their agents do'} not start`,
      remedy:
        '`kubectl steno explain POD` says why: a Secret that is missing, a connection outside the policy, an image that cannot be had.',
    })
  concerns.push(...recordingConcerns(live), ...releaseConcerns(live, images))
  for (const { kind, metadata, madeBy, refusal } of refusedWorkloads ?? [])
    concerns.push({
      severity: 'error',
      what: `${kind} ${nameOf(metadata)}${madeBy === null ? '' : ` (of ${madeBy})`}`,
      message: `its pods are refused: ${refusal}`,
      remedy: null,
    })
  for (const { metadata, status } of replicaSets ?? []) {
    const failure = status?.conditions?.find(({ type, status: is }) => type === 'ReplicaFailure' && is === 'True')
    if (failure === undefined || !failure.message.includes('steno')) continue
    concerns.push({
      severity: 'error',
      what: `ReplicaSet ${nameOf(metadata)}`,
      message: `its pods are refused: ${failure.message}`,
      remedy: null,
    })
  }
  return concerns
}

/** What control wrote on the pods of what their sidecars say: gravest first, one line for each reason, with the words of the first. */
function recordingConcerns(live: readonly InjectedPod[]): Concern[] {
  return ['SpoolFull', 'StoreRefuses', 'SessionSetAside'].flatMap((reason): Concern[] => {
    const found = live.flatMap((pod) => {
      const condition = pod.status?.conditions?.find(({ type }) => type === recordingCondition)
      return condition?.status === 'False' && condition.reason === reason ? [{ pod, condition }] : []
    })
    const [first] = found
    if (first === undefined) return []
    return [
      {
        severity: 'error',
        what: `Pods ${told(found.map(({ pod }) => pod))}`,
        message: `${counted(found.length)} recordings that are not stored: ${reason}: ${first.condition.message}`,
        remedy: '`kubectl steno explain POD` tells of each; `kubectl describe recordingstores` what control finds of the store.',
      },
    ]
  })
}

/** `images`: those that sidecars may run, this release's first; null when they may not be read. */
function releaseConcerns(live: readonly InjectedPod[], images: StatusFacts['images']): Concern[] {
  if (images === null || images.current.length === 0) return []
  const imageOf = ({ spec }: InjectedPod): string | null => spec?.initContainers?.find(({ name }) => name === 'steno')?.image ?? null
  const others = live.filter((pod) => imageOf(pod) !== null && imageOf(pod) !== images.current[0])
  const unknown = others.filter((pod) => ![...images.current, ...images.known].includes(imageOf(pod) ?? ''))
  const earlier = others.filter((pod) => !unknown.includes(pod))
  const concerns: Concern[] = []
  if (unknown.length > 0)
    concerns.push({
      severity: 'error',
      what: `Pods ${told(unknown)}`,
      message: `${counted(unknown.length)} a sidecar whose image this release does not know, so relay and control refuse ${unknown.length === 1 ? 'it' : 'them'}`,
      remedy: 'Make them again: kubectl rollout restart for workloads, delete and create for single pods.',
    })
  if (earlier.length > 0)
    concerns.push({
      severity: 'note',
      what: `Pods ${told(earlier)}`,
      message: `${counted(earlier.length)} the sidecar of another release; ${earlier.length === 1 ? 'it is' : 'they are'} served as ${earlier.length === 1 ? 'it is' : 'they are'}`,
      remedy: 'kubectl rollout restart brings them up to date when it suits; before the fourth upgrade from theirs they must be.',
    })
  return concerns
}

function told(pods: readonly InjectedPod[]): string {
  const names = pods.slice(0, namesToldMax).map(({ metadata }) => nameOf(metadata))
  return `${names.join(', ')}${pods.length > namesToldMax ? ` and ${pods.length - namesToldMax} more` : ''}`
}

function counted(count: number): string {
  return count === 1 ? '1 pod has' : `${count} pods have`
}

function nameOf({ name, namespace }: Maker['metadata']): string {
  return namespace === undefined ? name : `${namespace}/${name}`
}
