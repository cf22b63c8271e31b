/**
 * What must stay true, done by the leader: statuses that say what is, parameters of the admission policies that follow the policies.
 *
 * Each object is a key in a queue; a change adds the keys that it may concern, and the work for a key reads what is known at its turn. A
 * pod's change costs the counters of its groups and the writing of the statuses that they show, at most twice a second each.
 * Holds of the cluster what the watches hold, and of pods those of opted-in namespaces, which are watched namespace by namespace.
 */
import { messageOf } from '../../base/errors.ts'
import type { Log } from '../../base/log.ts'
import type { ClusterSessionPolicy } from '../../crds/cluster-session-policy.ts'
import type { SessionPolicy } from '../../crds/session-policy.ts'
import type { ClusterClient } from '../../cluster/client.ts'
import type { KeptPolicy, PolicyWorld, WorldChange } from '../../cluster/policy-world.ts'
import { resources } from '../../cluster/resources.ts'
import { watchResource, type ResourceWatch, type WatchTiming } from '../../cluster/watch-resource.ts'
import { createEventRecorder } from './event-recorder.ts'
import { keptPod, type KeptPod } from './kept-pod.ts'
import { createNamespacePods, type EgressCounts, type NamespacePods, type RecordedCounts } from './namespace-pods.ts'
import { keepParameters } from './keep-parameters.ts'
import { keepNetworkPolicies } from './network-policies/keep-network-policies.ts'
import type { LookUp } from './network-policies/database-addresses.ts'
import { needsAddresses } from './network-policies/network-policies-of.ts'
import type { NetworkSettings } from './network-policies/settings.ts'
import { createRightsKeeper } from './rights-keeper.ts'
import { createStatusWork } from './status-work.ts'
import { createWorkQueue } from '../../cluster/work-queue.ts'

export type ReconcileSettings = {
  /** The AdmissionParameters object to keep. */
  readonly parametersName: string
  /** Who writes events: the pod's name. */
  readonly instance: string
  /** A status is written at most this often. */
  readonly statusMilliseconds: number
  /** How long the rights of a ServiceAccount count as known. */
  readonly rightsMilliseconds: number
  readonly network: NetworkSettings
  readonly watchTiming?: Partial<WatchTiming>
}

export const standardReconcileIntervals = { statusMilliseconds: 500, rightsMilliseconds: 300_000 }

export type Reconcile = {
  readonly counts: { readonly done: number; readonly failed: number }
  waiting(): number
  refreshParameters(): void
  /** Control fell silent, or is heard again. */
  refreshStores(): void
  /** NetworkPolicies that somebody else had changed or deleted. */
  readonly repaired: number
  /** Pods with a sidecar and without one, for each opted-in namespace. */
  podTotals(): { namespace: string; injected: number; bare: number; egress: EgressCounts['counts']; recorded: RecordedCounts['counts'] }[]
  /** Fulfilled when what was under way has ended. */
  readonly stopped: Promise<void>
}

export type ReconciledNamespace = { readonly pods: NamespacePods; readonly watch: ResourceWatch<KeptPod | null> }

const concurrency = 4

/** Works until the signal. */
export function startReconcile(options: {
  readonly cluster: ClusterClient
  readonly world: PolicyWorld
  /** PEM; null until control has made it. `refreshParameters` takes in another. */
  readonly controlPublicKey: () => string | null
  /** PEM; the authorities by which control and relay may be known now. `refreshParameters` takes in others. */
  readonly controlCa?: () => string | null
  /** Whether what control said of the stores is too old to count. */
  readonly isControlSilent?: () => boolean
  /** The addresses behind the name of a database; without it the system is asked. */
  readonly lookUp?: LookUp
  readonly settings: ReconcileSettings
  readonly log: Log
  readonly signal: AbortSignal
}): Reconcile {
  const { cluster, world, controlPublicKey, isControlSilent = () => false, settings, log, signal } = options
  const namespaces = new Map<string, ReconciledNamespace>()
  const events = createEventRecorder({ cluster, instance: settings.instance, log, signal })
  const rights = createRightsKeeper({
    ...{ cluster, log, signal },
    rightsMilliseconds: settings.rightsMilliseconds,
    isUsed: (namespace, account) => (namespaces.get(namespace)?.pods.policiesOfServiceAccount(account).length ?? 0) > 0,
    onJudged(namespace, account) {
      for (const name of namespaces.get(namespace)?.pods.policiesOfServiceAccount(account) ?? []) addPolicy(`${namespace}/${name}`)
    },
  })
  const addNetworkPolicies = (namespace: string): void => queue.add(`NetworkPolicies ${namespace}`)
  const network = keepNetworkPolicies({
    ...{ cluster, world, events, log, signal },
    settings: settings.network,
    ...(settings.watchTiming === undefined ? {} : { timing: settings.watchTiming }),
    ...(options.lookUp === undefined ? {} : { lookUp: options.lookUp }),
    onChange(namespace) {
      addNetworkPolicies(namespace)
      addPoliciesWhere((kept) => kept.namespace === namespace && kept.policy !== null && needsAddresses(kept.policy))
    },
  })
  const statuses = createStatusWork({ cluster, world, namespaces, rights, events, network, isControlSilent })
  const refreshParameters = (): void => queue.add('AdmissionParameters')
  const parameters = keepParameters({
    ...{ cluster, world, controlPublicKey, log, signal },
    controlCa: options.controlCa ?? (() => null),
    namespace: settings.network.stenoNamespace,
    name: settings.parametersName,
    onChange: refreshParameters,
  })
  const queue = createWorkQueue({
    concurrency,
    log,
    async work(key) {
      const at = key.indexOf(' ')
      const name = key.slice(at + 1)
      switch (at < 0 ? key : key.slice(0, at)) {
        case 'SessionPolicy':
          return statuses.sessionPolicy(name)
        case 'ClusterSessionPolicy':
          return statuses.clusterSessionPolicy(name)
        case 'RecordingStore':
          return statuses.recordingStore(name)
        case 'AdmissionParameters':
          return parameters.keep()
        case 'NetworkPolicies': {
          const again = await network.keep(name)
          if (again !== null) queue.add(key, again)
          return
        }
        default:
          throw new Error(`there is no work for ${key}`)
      }
    },
  })

  const addPolicy = (key: string): void => queue.add(`SessionPolicy ${key}`, settings.statusMilliseconds)

  function addPoliciesWhere(isMeant: (kept: KeptPolicy<SessionPolicy>) => boolean): void {
    for (const kept of world.sessionPolicies.values()) if (isMeant(kept)) addPolicy(`${kept.namespace}/${kept.name}`)
  }

  function openNamespace(name: string): void {
    const pods = createNamespacePods(name)
    const watch = watchResource<KeptPod | null>({
      ...{ cluster, log },
      resource: resources.pods,
      namespace: name,
      keep: keptPod,
      ...(settings.watchTiming === undefined ? {} : { timing: settings.watchTiming }),
      onChange({ key, before, after }) {
        const pod = after ?? null
        for (const policy of pods.setPod(key, pod)) addPolicy(`${name}/${policy}`)
        if (pod?.egress === 'Open' && before?.egress !== 'Open') statuses.tellOpen(pod)
        if (pod !== null && before === undefined && watch.isSynced()) statuses.tellIfBare(name, pod)
      },
    })
    namespaces.set(name, { pods, watch })
    refresh(name)
    void whenSynced(name, watch)
  }

  async function whenSynced(name: string, watch: ResourceWatch<KeptPod | null>): Promise<void> {
    await watch.synced
    const entry = namespaces.get(name)
    if (entry?.watch !== watch || signal.aborted) return
    for (const pod of entry.pods.pods()) statuses.tellIfBare(name, pod)
    addPoliciesWhere(({ namespace }) => namespace === name)
  }

  function closeNamespace(name: string): void {
    namespaces.get(name)?.watch.stop()
    namespaces.delete(name)
  }

  /** What policies mean for the namespace's pods is worked out anew. */
  function refresh(name: string): void {
    const labels = world.namespaces.get(name)?.labels
    if (labels === undefined) return
    namespaces.get(name)?.pods.setWorld({
      namespaceLabels: labels,
      policies: readable(world.sessionPolicies.values()).filter(({ metadata }) => metadata.namespace === name),
      clusterPolicies: readable(world.clusterPolicies.values()),
    })
  }

  function take(change: WorldChange): void {
    switch (change.kind) {
      case 'SessionPolicy': {
        const { before, after, key } = change.change
        // What steno itself wrote into the status changes no other's meaning.
        if (before !== undefined && after !== undefined && before.generation === after.generation) return queue.add(`SessionPolicy ${key}`)
        const namespace = (after ?? before)?.namespace ?? ''
        refresh(namespace)
        addNetworkPolicies(namespace)
        queue.add(`SessionPolicy ${key}`)
        return addPoliciesWhere((kept) => kept.namespace === namespace)
      }
      case 'ClusterSessionPolicy': {
        const { before, after, key } = change.change
        queue.add(`ClusterSessionPolicy ${key}`)
        if (before !== undefined && after !== undefined && before.generation === after.generation) return
        for (const name of namespaces.keys()) refresh(name)
        refreshParameters()
        return addPoliciesWhere(() => true)
      }
      case 'RecordingStore':
        queue.add(`RecordingStore ${change.change.key}`)
        return addPoliciesWhere(({ policy }) => policy?.spec.recording.store === change.change.key)
      case 'Namespace': {
        const { key, after } = change.change
        if (after === undefined) closeNamespace(key)
        else if (namespaces.has(key)) refresh(key)
        else openNamespace(key)
        addNetworkPolicies(key)
        refreshParameters()
        return addPoliciesWhere(({ namespace }) => namespace === key)
      }
      default:
        return change satisfies never
    }
  }

  async function begin(): Promise<() => void> {
    await Promise.race([world.synced, aborted(signal)])
    if (signal.aborted) return () => undefined
    const forget = world.subscribe(take)
    for (const { name } of world.namespaces.values()) {
      openNamespace(name)
      addNetworkPolicies(name)
    }
    addPoliciesWhere(() => true)
    for (const { name } of world.clusterPolicies.values()) queue.add(`ClusterSessionPolicy ${name}`)
    for (const { name } of world.recordingStores.values()) queue.add(`RecordingStore ${name}`)
    refreshParameters()
    return forget
  }

  async function run(): Promise<void> {
    const forget = await begin()
    await aborted(signal)
    forget()
    for (const name of namespaces.keys()) closeNamespace(name)
    await Promise.all([queue.stop(), rights.stop()])
  }

  return {
    counts: queue.counts,
    waiting: () => queue.waiting,
    refreshParameters,
    refreshStores() {
      for (const { name } of world.recordingStores.values()) queue.add(`RecordingStore ${name}`)
    },
    get repaired() {
      return network.repaired
    },
    podTotals: () =>
      [...namespaces].map(([namespace, { pods }]) => ({ namespace, ...pods.totals(), egress: pods.egress(), recorded: pods.recorded() })),
    stopped: run().catch((error: unknown) => log.error({ error: messageOf(error) }, 'reconcile ended with an error')),
  }
}

export function readable<T extends SessionPolicy | ClusterSessionPolicy>(kept: Iterable<KeptPolicy<T>>): T[] {
  return [...kept].flatMap(({ policy }) => (policy === null ? [] : [policy]))
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
