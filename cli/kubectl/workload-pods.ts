/**
 * From a workload to its pods, by owner references, as kubectl's own commands take `deployment/NAME`.
 *
 * Lists the pods of the namespace (those that fit the workload's labels where it has a selector), and for Deployments and CronJobs the
 * objects between. Pods that were adopted count; pods whose owner was deleted without them do not.
 */
import type { V1ObjectMeta, V1Pod, V1PodTemplateSpec } from '@kubernetes/client-node'
import type { Workload, WorkloadKind } from '../search/pod-owner.ts'
import { getObjects, type ContextOptions } from './kubectl-program.ts'

type Condition = { readonly type: string; readonly status: string; readonly message?: string }
export type WorkloadObject = {
  readonly metadata: V1ObjectMeta
  readonly spec?: {
    readonly selector?: { readonly matchLabels?: Readonly<Record<string, string>>; readonly matchExpressions?: readonly unknown[] }
    readonly template?: V1PodTemplateSpec
    readonly jobTemplate?: { readonly spec?: { readonly template?: V1PodTemplateSpec } }
  }
  readonly status?: { readonly conditions?: readonly Condition[] }
}

const resources: Readonly<Record<WorkloadKind, string>> = {
  deployment: 'deployments.apps',
  replicaset: 'replicasets.apps',
  statefulset: 'statefulsets.apps',
  daemonset: 'daemonsets.apps',
  job: 'jobs.batch',
  cronjob: 'cronjobs.batch',
}
/** What a workload makes that makes the pods. */
const between: Partial<Record<WorkloadKind, string>> = { deployment: 'replicasets.apps', cronjob: 'jobs.batch' }

export type WorkloadPods = { readonly workload: WorkloadObject; readonly pods: readonly V1Pod[] }

/** @throws ObjectNotFound, KubectlMissing, KubectlFailed, ClusterForbids */
export async function podsOfWorkload(options: ContextOptions, namespace: string, { kind, name }: Workload): Promise<WorkloadPods> {
  const scope = ['-n', namespace]
  const [workload] = await getObjects<WorkloadObject>(options, [...scope, resources[kind], name])
  if (workload === undefined) return { workload: { metadata: {} }, pods: [] }
  const middle = between[kind]
  const owners = new Set([workload.metadata.uid])
  if (middle !== undefined) {
    const made = await getObjects<{ readonly metadata: V1ObjectMeta }>(options, [...scope, middle])
    for (const { metadata } of made) if (isOwned(metadata, new Set([workload.metadata.uid]))) owners.add(metadata.uid)
  }
  const pods = await getObjects<V1Pod>(options, [...scope, 'pods', ...selectorOf(workload)])
  return { workload, pods: pods.filter(({ metadata }) => metadata !== undefined && isOwned(metadata, owners)) }
}

function isOwned({ ownerReferences = [] }: V1ObjectMeta, owners: ReadonlySet<string | undefined>): boolean {
  return ownerReferences.some(({ uid }) => owners.has(uid))
}

function selectorOf({ spec }: WorkloadObject): string[] {
  const labels = Object.entries(spec?.selector?.matchLabels ?? {})
  return labels.length === 0 ? [] : ['-l', labels.map(([label, value]) => `${label}=${value}`).join(',')]
}

/** The pod that it would make, without a name. Null where it has no template. */
export function templateOf({ spec }: WorkloadObject): V1Pod | null {
  const template = spec?.template ?? spec?.jobTemplate?.spec?.template
  return template?.spec === undefined ? null : { apiVersion: 'v1', kind: 'Pod', metadata: template.metadata ?? {}, spec: template.spec }
}

/** Why the API server does not let it make pods, in its own words; null when it does. */
export function refusalOf({ status }: WorkloadObject): string | null {
  return status?.conditions?.find(({ type, status: is }) => type === 'ReplicaFailure' && is === 'True')?.message ?? null
}
