/**
 * Workloads whose pods are refused: Jobs (those of CronJobs too), StatefulSets and DaemonSets that lack pods, and say why in an event. Pure.
 *
 * A ReplicaSet says it in a condition of its own. These say it in events alone, which the API server keeps for an hour, and controllers try again more
 * often than that. So what counts is both: that pods are missing now, and that the newest of these events names steno.
 */

/** What is needed of a Job, StatefulSet or DaemonSet (batch/v1, apps/v1). */
export type Workload = {
  readonly kind?: string
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly ownerReferences?: readonly { readonly kind: string; readonly name: string; readonly controller?: boolean }[]
  }
  readonly spec?: { readonly replicas?: number; readonly parallelism?: number; readonly suspend?: boolean }
  readonly status?: {
    /** Pods that a StatefulSet has made. */
    readonly replicas?: number
    readonly desiredNumberScheduled?: number
    readonly currentNumberScheduled?: number
    /** Pods of a Job. */
    readonly active?: number
    readonly conditions?: readonly { readonly type: string; readonly status: string }[]
  }
}

/** Of core/v1 Event, with reason FailedCreate. */
export type CreateEvent = {
  readonly involvedObject: { readonly kind?: string; readonly namespace?: string; readonly name?: string }
  readonly message?: string
  readonly lastTimestamp?: string | null
  readonly eventTime?: string | null
  readonly series?: { readonly lastObservedTime?: string }
  readonly metadata?: { readonly creationTimestamp?: string }
}

export type RefusedWorkload = {
  readonly kind: 'Job' | 'StatefulSet' | 'DaemonSet'
  readonly metadata: { readonly name: string; readonly namespace: string }
  /** `CronJob nightly`; null for one that nobody else made. */
  readonly madeBy: string | null
  /** The API server's words. */
  readonly refusal: string
}

type Lists = Readonly<Record<RefusedWorkload['kind'], readonly Workload[]>>

export function refusedWorkloads(lists: Lists, events: readonly CreateEvent[]): RefusedWorkload[] {
  const newest = new Map<string, CreateEvent>()
  for (const event of events) {
    const { kind = '', namespace = '', name = '' } = event.involvedObject
    const key = `${kind} ${namespace}/${name}`
    const known = newest.get(key)
    if (known === undefined || timeOf(known) <= timeOf(event)) newest.set(key, event)
  }
  return (['Job', 'StatefulSet', 'DaemonSet'] as const).flatMap((kind) =>
    lists[kind].flatMap((workload): RefusedWorkload[] => {
      const { name, namespace = '', ownerReferences = [] } = workload.metadata
      const refusal = newest.get(`${kind} ${namespace}/${name}`)?.message ?? ''
      if (!lacksPods(kind, workload) || !refusal.includes('steno')) return []
      const owner = ownerReferences.find(({ controller }) => controller === true)
      return [{ kind, metadata: { name, namespace }, madeBy: owner === undefined ? null : `${owner.kind} ${owner.name}`, refusal }]
    }),
  )
}

function lacksPods(kind: RefusedWorkload['kind'], { spec = {}, status = {} }: Workload): boolean {
  switch (kind) {
    case 'Job': {
      const hasEnded = (status.conditions ?? []).some(({ type, status: is }) => ['Complete', 'Failed'].includes(type) && is === 'True')
      return !hasEnded && spec.suspend !== true && (status.active ?? 0) < (spec.parallelism ?? 1)
    }
    case 'StatefulSet':
      return (status.replicas ?? 0) < (spec.replicas ?? 1)
    case 'DaemonSet':
      return (status.currentNumberScheduled ?? 0) < (status.desiredNumberScheduled ?? 0)
    default:
      return kind satisfies never
  }
}

/** Whichever of its times it has (a controller writes one, the events of another API group the other). */
function timeOf({ series, lastTimestamp, eventTime, metadata }: CreateEvent): number {
  return Date.parse(series?.lastObservedTime ?? lastTimestamp ?? eventTime ?? metadata?.creationTimestamp ?? '') || 0
}
