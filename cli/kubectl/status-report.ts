/**
 * What is to be said of steno in a cluster: first what is not as it should be, each with a remedy, then the tables. Pure.
 *
 * An error means that something is not recorded, not stored, or not in force; a warning that somebody should act without haste; a note is a
 * limit of this release. Conditions carry their remedy in their message, as the webhook writes them. What may not be read is null.
 */
import { defaultRecording } from '../../crds/defaults.ts'
import { agentConcerns, liveOf, unmatchedOf, type InjectedPod, type Maker } from './agent-concerns.ts'
import { breakGlassConcerns } from './break-glass-facts.ts'
import type { RefusedWorkload } from './refused-workloads.ts'

export type Condition = { readonly type: string; readonly status: string; readonly reason: string; readonly message: string }

export type Reported = {
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly generation?: number }
  readonly status?: {
    readonly observedGeneration?: number
    readonly conditions?: readonly Condition[]
    readonly pods?: Readonly<Record<'matched' | 'injected' | 'stale' | 'bare', number>>
  }
}

export type ReportedPolicy = Reported & { readonly spec?: { readonly recording?: { readonly store?: string } } }

export type Deployment = {
  readonly metadata: { readonly name: string }
  readonly spec: {
    readonly replicas?: number
    readonly template: { readonly spec: { readonly containers: readonly { readonly image: string }[] } }
  }
  readonly status?: { readonly readyReplicas?: number }
}

export type ContainerStatus = {
  readonly ready: boolean
  readonly restartCount: number
  readonly state?: { readonly waiting?: { readonly reason?: string; readonly message?: string } }
  readonly lastState?: { readonly terminated?: { readonly reason?: string; readonly message?: string; readonly exitCode: number } }
}
export type OwnPod = {
  readonly metadata: { readonly name: string; readonly deletionTimestamp?: string }
  readonly status?: {
    readonly phase?: string
    readonly containerStatuses?: readonly ContainerStatus[]
    readonly conditions?: readonly Omit<Condition, 'reason'>[]
  }
}

export type StatusFacts = {
  /** That was asked for; null for all. */
  readonly namespace: string | null
  readonly stenoNamespace: string
  readonly deployments: readonly Deployment[] | null
  readonly pods: readonly OwnPod[] | null
  /** Whether the API server is told to ask the webhook; null when that may not be read. */
  readonly isWebhookRegistered: boolean | null
  /** Whether pods without the sidecar are refused. */
  readonly isGuarded: boolean | null
  readonly policies: readonly ReportedPolicy[] | null
  readonly clusterPolicies: readonly Reported[] | null
  readonly stores: readonly Reported[] | null
  /** Names of those that are opted in, as far as the scope goes. */
  readonly optedIn: readonly string[] | null
  /** Namespaces whose label has another value than the one that opts in, by name. */
  readonly mislabelled: Readonly<Record<string, string>>
  /** The namespace that was asked for and is not there. */
  readonly missingNamespace: string | null
  readonly injectedPods: readonly InjectedPod[] | null
  readonly replicaSets: readonly Maker[] | null
  /** Jobs, StatefulSets and DaemonSets whose pods steno refuses; null when they or their events may not be read. */
  readonly refusedWorkloads: readonly RefusedWorkload[] | null
  /** The images of this release, and those of before that are known; null when they may not be read. */
  readonly images: { readonly current: readonly string[]; readonly known: readonly string[] } | null
  /** What may not be read, in kubectl's words. */
  readonly unread: readonly string[]
}

export type Concern = {
  readonly severity: 'error' | 'warning' | 'note'
  /** `SessionPolicy shop/orders` */
  readonly what: string
  readonly message: string
  /** Null where the message has it. */
  readonly remedy: string | null
}

const severities = ['error', 'warning', 'note'] as const

/** The gravest first. */
export function concernsOf(facts: StatusFacts): Concern[] {
  const all = [
    ...installation(facts),
    ...storeConcerns(facts),
    ...policyConcerns(facts),
    ...breakGlassConcerns(facts.clusterPolicies),
    ...namespaceConcerns(facts),
    ...agentConcerns(facts),
    ...unreadConcerns(facts),
  ]
  return severities.flatMap((severity) => all.filter((concern) => concern.severity === severity))
}

const effects: Readonly<Record<string, string>> = {
  'steno-control': 'recordings wait in the spools of the sidecars, and nobody can read any',
  'steno-webhook': 'pods of opted-in namespaces cannot be created while none is ready',
}

function installation({ stenoNamespace, deployments, pods, isWebhookRegistered, isGuarded }: StatusFacts): Concern[] {
  if (deployments === null) return []
  if (deployments.length === 0)
    return [
      {
        severity: 'error',
        what: `Namespace ${stenoNamespace}`,
        message: 'nothing of steno runs there',
        remedy: 'Install it (docs/install-kubernetes.md), or name its namespace with --steno-namespace.',
      },
    ]
  const concerns: Concern[] = []
  for (const deployment of deployments) {
    const { name } = deployment.metadata
    const { ready, wanted } = readiness(deployment)
    if (ready >= wanted && wanted > 0) continue
    const effect = effects[name] === undefined ? '' : `: ${effects[name]}`
    concerns.push({
      severity: ready === 0 ? 'error' : 'warning',
      what: `Deployment ${name}`,
      message: `${ready} of ${wanted} ready${effect}${(pods ?? []).flatMap((pod) => podTroubles(pod, name)).join('')}`,
      remedy:
        wanted === 0
          ? `kubectl -n ${stenoNamespace} scale deployment ${name} --replicas=1`
          : `kubectl -n ${stenoNamespace} describe pods -l app.kubernetes.io/component=${name.replace(/^steno-/, '')}`,
    })
  }
  if (isWebhookRegistered === false)
    concerns.push({
      severity: 'error',
      what: 'MutatingWebhookConfiguration steno',
      message: 'it is not there, so no pod is given a sidecar',
      remedy: 'Install the release again: helm upgrade --install.',
    })
  if (isGuarded === false)
    concerns.push({
      severity: 'warning',
      what: 'ValidatingAdmissionPolicies',
      message: 'none of steno’s is bound, so nothing stops a pod that leaves its sidecar out',
      remedy: 'Install the release with admissionPolicies.enabled=true.',
    })
  return concerns
}

export function readiness({ spec, status }: Deployment): { readonly ready: number; readonly wanted: number } {
  return { ready: status?.readyReplicas ?? 0, wanted: spec.replicas ?? 1 }
}

function podTroubles({ metadata, status }: OwnPod, deployment: string): string[] {
  if (!metadata.name.startsWith(`${deployment}-`) || metadata.deletionTimestamp !== undefined) return []
  const unscheduled = status?.conditions?.find(({ type, status: is }) => type === 'PodScheduled' && is === 'False')
  if (unscheduled !== undefined) return [`; pod ${metadata.name} is not scheduled: ${unscheduled.message}`]
  return (status?.containerStatuses ?? []).flatMap(({ ready, restartCount, state, lastState }) => {
    if (ready) return []
    const { waiting } = state ?? {}
    const { terminated } = lastState ?? {}
    const why = [
      waiting?.reason,
      waiting?.message,
      terminated && `it ended with ${terminated.reason ?? `exit code ${terminated.exitCode}`}`,
      terminated?.message?.trim(),
    ].filter(Boolean)
    return [
      `; pod ${metadata.name}${restartCount > 0 ? `, restarted ${restartCount} times,` : ''} is not ready${why.length > 0 ? `: ${why.join(': ')}` : ''}`,
    ]
  })
}

function storeConcerns(facts: StatusFacts): Concern[] {
  const { stores, namespace } = facts
  if (stores === null) return []
  if (stores.length === 0)
    return [
      {
        severity: 'error',
        what: 'RecordingStores',
        message: 'there is none, so nothing can be stored',
        remedy: 'Make one: docs/reference/recording-store.md.',
      },
    ]
  const used = usedStores(facts)
  const concerns = used.flatMap(storeConcern)
  const failing = stores.filter((store) => !used.includes(store) && storeConcern(store).length > 0).map(nameOf)
  // Who looks at one namespace has nothing to do with them.
  if (failing.length === 0 || namespace !== null) return concerns
  const more = failing.length > namesToldMax ? ` and ${failing.length - namesToldMax} more` : ''
  return [
    ...concerns,
    {
      severity: 'warning',
      what: `RecordingStores ${failing.slice(0, namesToldMax).join(', ')}${more}`,
      message: 'not ready or not reachable, and no SessionPolicy records to them',
      remedy: '`kubectl describe recordingstores` says why; delete those that nobody is to use.',
    },
  ]
}

const namesToldMax = 5

/** Those that the policies record to; without any policy the standard one. All, where policies may not be read. */
export function usedStores({ stores, policies }: Pick<StatusFacts, 'stores' | 'policies'>): Reported[] {
  if (policies === null) return [...(stores ?? [])]
  const names = new Set(policies.map(({ spec }) => spec?.recording?.store ?? defaultRecording.store))
  if (names.size === 0) names.add(defaultRecording.store)
  return (stores ?? []).filter(({ metadata }) => names.has(metadata.name))
}

function storeConcern(store: Reported): Concern[] {
  const what = `RecordingStore ${nameOf(store)}`
  const reachable = conditionOf(store, 'StoreReachable')
  if (reachable?.status === 'False') return [{ severity: 'error', what, message: toldBy(reachable), remedy: null }]
  return readyConcern(what, store)
}

function policyConcerns({ policies, clusterPolicies, stores, optedIn, injectedPods }: StatusFacts): Concern[] {
  const unmatched = unmatchedOf(liveOf(injectedPods))
  const concerns = (clusterPolicies ?? []).flatMap((policy) => readyConcern(`ClusterSessionPolicy ${nameOf(policy)}`, policy))
  for (const policy of policies ?? []) {
    const what = `SessionPolicy ${nameOf(policy)}`
    const isNamespaceUsed = unmatched.some(({ metadata }) => (metadata.namespace ?? '') === (policy.metadata.namespace ?? ''))
    concerns.push(...readyConcern(what, policy), ...podConcerns(what, policy, isNamespaceUsed))
    const reachable = conditionOf(policy, 'StoreReachable')
    // The store itself says it once, where it may be read.
    if (stores === null && reachable?.status === 'False')
      concerns.push({ severity: 'error', what, message: toldBy(reachable), remedy: null })
    const recorded = conditionOf(policy, 'RecordingStored')
    // The pods themselves say it, where they may be read.
    if (recorded?.status === 'False' && injectedPods === null)
      concerns.push({ severity: 'error', what, message: toldBy(recorded), remedy: null })
    if (recorded?.reason === 'NotReported') concerns.push({ severity: 'warning', what, message: toldBy(recorded), remedy: null })
    const isolated = conditionOf(policy, 'CredentialsIsolated')
    if (isolated?.status === 'False' && isolated.reason !== 'BarePods')
      concerns.push({ severity: 'warning', what, message: toldBy(isolated), remedy: null })
    const egress = conditionOf(policy, 'EgressEnforced')
    const severity = egress === undefined ? undefined : egressSeverities[egress.reason]
    if (egress !== undefined && severity !== undefined) concerns.push({ severity, what, message: toldBy(egress), remedy: null })
  }
  if (policies !== null)
    for (const namespace of optedIn ?? [])
      if (!policies.some(({ metadata }) => metadata.namespace === namespace))
        concerns.push({
          severity: 'note',
          what: `Namespace ${namespace}`,
          message:
            'it is opted in and has no SessionPolicy: its pods get the sidecar and no database, and keep whatever credential they have',
          remedy: 'Apply one, then make its pods again: examples/kubernetes/session-policy.yaml is one to begin with.',
        })
  return concerns
}

/** By the reason of EgressEnforced; the others are no concern: `Closed` is well, and with `NoPods` there is nothing to close. */
const egressSeverities: Readonly<Record<string, Concern['severity']>> = {
  OpenPath: 'error',
  NotReported: 'warning',
  NotMeasured: 'warning',
  CredentialsOnly: 'note',
}

function readyConcern(what: string, object: Reported): Concern[] {
  const ready = conditionOf(object, 'Ready')
  if (ready?.status === 'True') return []
  if (ready !== undefined && ready.status === 'False') return [{ severity: 'error', what, message: toldBy(ready), remedy: null }]
  return [
    {
      severity: 'error',
      what,
      message: ready === undefined ? 'nobody has judged it as it is now' : toldBy(ready),
      remedy: 'That is for steno-webhook and steno-control, within seconds; look at their logs.',
    },
  ]
}

function podConcerns(what: string, { metadata, status }: Reported, isNamespaceUsed: boolean): Concern[] {
  const { matched = 0, bare = 0, stale = 0 } = status?.pods ?? {}
  const scope = metadata.namespace === undefined ? '' : ` -n ${metadata.namespace}`
  const again = 'then kubectl rollout restart their workloads, or delete and create single pods.'
  const concerns: Concern[] = []
  if (status?.pods !== undefined && matched === 0 && isNamespaceUsed)
    concerns.push({
      severity: 'warning',
      what,
      message: 'its selector matches no pod, and there are pods that no SessionPolicy matches',
      remedy: `Compare spec.selector with the labels of the pods: kubectl get pods${scope} --show-labels.`,
    })
  if (bare > 0)
    concerns.push({
      severity: 'error',
      what,
      message: `${bare} of ${matched} pods have no sidecar: they hold their credential, and what they do is not recorded`,
      remedy: `kubectl get pods${scope} -l '!steno.dev/injected' names them, ${again}`,
    })
  if (stale > 0)
    concerns.push({
      severity: 'warning',
      what,
      message: `${stale} of ${matched} pods go by earlier policies, or cannot follow the ones of now wholly`,
      remedy: `kubectl steno explain POD${scope} tells what waits, ${again}`,
    })
  return concerns
}

function namespaceConcerns({ mislabelled, missingNamespace }: StatusFacts): Concern[] {
  return [
    ...(missingNamespace === null
      ? []
      : [
          {
            severity: 'error',
            what: `Namespace ${missingNamespace}`,
            message: 'the cluster has no such namespace',
            remedy: 'Look at its name: kubectl get namespaces.',
          } as const,
        ]),
    ...Object.entries(mislabelled).map(([namespace, value]): Concern => {
      return {
        severity: 'warning',
        what: `Namespace ${namespace}`,
        message: `its label steno.dev/inject is "${value}", which does not opt it in: nothing there is recorded`,
        remedy: `kubectl label --overwrite namespace ${namespace} steno.dev/inject=enabled`,
      }
    }),
  ]
}

function unreadConcerns({ unread }: StatusFacts): Concern[] {
  return unread.map((message) => ({ severity: 'warning', what: 'Not looked at', message, remedy: null }))
}

function toldBy({ type, reason, message }: Condition): string {
  return `${type}: ${reason}: ${message}`
}

export function nameOf({ metadata }: Reported): string {
  return metadata.namespace === undefined ? metadata.name : `${metadata.namespace}/${metadata.name}`
}

/** Undefined also for what was said of an earlier generation. */
export function conditionOf({ metadata, status }: Reported, type: string): Condition | undefined {
  const { generation = 0 } = metadata
  if ((status?.observedGeneration ?? generation) < generation) return undefined
  return status?.conditions?.find((condition) => condition.type === type)
}
