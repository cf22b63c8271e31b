/**
 * Writes the statuses: reads what is known of one object now, and writes only what differs from what stands there.
 *
 * Each write carries the resourceVersion that it was decided on; a conflict fails the work, which comes again with what is there then.
 */
import type { ClusterClient } from '../../cluster/client.ts'
import type { KeptObject, PolicyWorld, Status } from '../../cluster/policy-world.ts'
import { isRefusal } from '../../cluster/errors.ts'
import { pathOf, resources, type Resource } from '../../cluster/resources.ts'
import { isEqualJson, withFindings, type Finding } from '../../cluster/conditions.ts'
import type { EventRecorder } from './event-recorder.ts'
import type { KeptPod } from './kept-pod.ts'
import type { KeptNetworkPolicies } from './network-policies/keep-network-policies.ts'
import { policyFindings } from './policy-status.ts'
import type { ReconciledNamespace } from './reconcile.ts'
import type { RightsKeeper } from './rights-keeper.ts'

const silentMessage =
  'Control has said nothing for some minutes, so nobody knows whether the store is reached; recordings wait in the spools of the pods meanwhile. Look at Deployment steno-control and its log.'
const noPods = { matched: 0, injected: 0, stale: 0, bare: 0 }
const noRecorded = { counts: { Stored: 0, NothingYet: 0, NotStored: 0, SpoolFull: 0, NotReported: 0, NotTold: 0 }, failingNames: [] }
const noEgress = { counts: { Closed: 0, Open: 0, NotMeasured: 0, NotReported: 0, CredentialsOnly: 0 }, openNames: [] }

export function createStatusWork(options: {
  readonly cluster: Pick<ClusterClient, 'request'>
  readonly world: PolicyWorld
  readonly namespaces: ReadonlyMap<string, ReconciledNamespace>
  readonly rights: RightsKeeper
  readonly events: EventRecorder
  readonly network: Pick<KeptNetworkPolicies, 'openedBy'>
  readonly isControlSilent: () => boolean
}) {
  const { cluster, world, namespaces, rights, events, network, isControlSilent } = options

  async function write(resource: Resource, kept: KeptObject, findings: readonly Finding[], more: Status = {}): Promise<void> {
    const { namespace, name, generation, resourceVersion, status: before } = kept
    const status: Status = {
      ...before,
      ...more,
      ...(generation === undefined ? {} : { observedGeneration: generation }),
      conditions: withFindings(before.conditions ?? [], findings, { generation, now: secondsNow() }),
    }
    if (isEqualJson(before, status)) return
    try {
      await cluster.request({
        method: 'PATCH',
        path: pathOf(resource, { namespace, name, subresource: 'status' }),
        patch: 'merge',
        body: { metadata: { resourceVersion }, status },
      })
    } catch (error) {
      if (!isRefusal(error, 'NotFound')) throw error // Gone meanwhile; the watch says so too.
    }
    for (const finding of findings) {
      const old = before.conditions?.find(({ type }) => type === finding.type)
      const isAlarm =
        (finding.type === 'EgressEnforced' && finding.reason === 'OpenPath') ||
        (finding.type === 'RecordingStored' && finding.status === 'False')
      const isTold = finding.type === 'Ready' || isAlarm
      if (!isTold || (old?.status === finding.status && old.reason === finding.reason)) continue
      const { uid } = kept
      events.tell({
        regarding: { resource, namespace, name, uid },
        type: finding.status === 'False' ? 'Warning' : 'Normal',
        reason: finding.reason,
        action: 'Judge',
        note: finding.message,
      })
    }
  }

  return {
    /** @throws ClusterRefused, ClusterUnreachable */
    async sessionPolicy(key: string): Promise<void> {
      const kept = world.sessionPolicies.get(key)
      if (kept === undefined) return
      const { policy } = kept
      const namespace = kept.namespace ?? ''
      const entry = namespaces.get(namespace)
      if (entry !== undefined && !entry.watch.isSynced()) return // Half of the pods would be counted; it comes again when all are known.
      const found = policy === null || entry === undefined ? null : entry.pods.findings(policy)
      const pods = found?.pods ?? noPods
      const storeName = policy?.spec.recording.store ?? 'default'
      const findings = policyFindings({
        ...{ namespace, pods, storeName },
        unreadable: kept.problem,
        isNamespaceOptedIn: entry !== undefined,
        egress: found?.egress ?? noEgress,
        recorded: found?.recorded ?? noRecorded,
        isControlSilent: isControlSilent(),
        mode: policy?.spec.enforcement.mode ?? null,
        opened: network.openedBy(namespace, kept.name),
        problems: found?.problems ?? [],
        store: world.recordingStores.get(storeName),
        rights: new Map([...(found?.serviceAccounts ?? [])].map((account) => [account, rights.get(namespace, account)])),
      })
      await write(resources.sessionPolicies, kept, findings, { pods })
    },

    /** @throws ClusterRefused, ClusterUnreachable */
    async clusterSessionPolicy(name: string): Promise<void> {
      const kept = world.clusterPolicies.get(name)
      if (kept === undefined) return
      const ready: Finding =
        kept.problem === null
          ? {
              type: 'Ready',
              status: 'True',
              reason: 'InForce',
              message: 'The policies of the namespaces that it selects are judged with it.',
            }
          : {
              type: 'Ready',
              status: 'False',
              reason: 'Invalid',
              message: `This release of steno cannot read it (${kept.problem}), so it is not in force. Correct that field, or apply the CustomResourceDefinitions of the release that runs.`,
            }
      await write(resources.clusterSessionPolicies, kept, [ready])
    },

    /** Whether it is reached is control's to say, beside this, as long as there is one. @throws ClusterRefused, ClusterUnreachable */
    async recordingStore(name: string): Promise<void> {
      const kept = world.recordingStores.get(name)
      if (kept === undefined) return
      if (isControlSilent()) {
        const unknown = { status: 'Unknown', reason: 'ControlSilent', message: silentMessage } as const
        return write(resources.recordingStores, kept, [
          { type: 'Ready', ...unknown },
          { type: 'StoreReachable', ...unknown },
        ])
      }
      const reported = kept.status.conditions?.find(({ type }) => type === 'StoreReachable')
      const ready: Finding =
        reported === undefined
          ? { type: 'Ready', status: 'Unknown', reason: 'NotReported', message: 'Control has not said yet whether it reaches the store.' }
          : { type: 'Ready', status: reported.status, reason: reported.reason, message: reported.message }
      await write(resources.recordingStores, kept, [ready])
    },

    /** Says at a pod that it reaches a database past its sidecar. */
    tellOpen({ namespace, name, uid }: KeptPod): void {
      events.tell({
        regarding: { resource: resources.pods, namespace, name, uid },
        type: 'Warning',
        reason: 'OpenPath',
        action: 'Measure',
        note: 'The pod reaches a database past its sidecar. Look at what enforces NetworkPolicies on its node, and at NetworkPolicies that allow more than steno’s; the condition steno.dev/EgressClosed says which address.',
      })
    },

    /** Says at a pod that it should have a sidecar and has none. */
    tellIfBare(namespace: string, pod: KeptPod): void {
      if (namespaces.get(namespace)?.pods.isBare(pod) !== true) return
      const remedy =
        pod.owner === null ? 'Delete it and create it again.' : `Its owner ${pod.owner} makes another with the sidecar when it is deleted.`
      events.tell({
        regarding: { resource: resources.pods, namespace, name: pod.name, uid: pod.uid },
        type: 'Warning',
        reason: 'NotRecorded',
        action: 'Inject',
        note: `The pod is older than the namespace's label, so it has no sidecar: what it says to databases is not recorded. ${remedy}`,
      })
    },
  }
}

/** `metav1.Time` has whole seconds. */
function secondsNow(): string {
  return new Date().toISOString().replace(/\.\d+Z$/, 'Z')
}
