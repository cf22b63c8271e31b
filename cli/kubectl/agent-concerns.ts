/**
 * What is to be said of the agents' pods: sidecars that do not run, pods that nobody records, pods that are refused. Pure.
 *
 * Goes by what the API server shows of pods and ReplicaSets at this moment; a Job or a StatefulSet whose pods are refused shows it in its
 * events alone, which are not looked at.
 */
import type { Concern, Condition, ContainerStatus, StatusFacts } from './status-report.ts'

/** A pod with a sidecar, in the namespaces that were asked for. */
export type InjectedPod = {
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly deletionTimestamp?: string
    readonly annotations?: Readonly<Record<string, string>>
  }
  readonly status?: {
    readonly phase?: string
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

export function agentConcerns({ injectedPods, replicaSets }: Pick<StatusFacts, 'injectedPods' | 'replicaSets'>): Concern[] {
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
