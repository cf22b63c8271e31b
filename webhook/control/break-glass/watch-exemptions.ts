/** Exemptions on record, in a cluster: the ClusterSessionPolicies of the policy world, and what the API server knows of who wrote each. */
import type { ClusterClient } from '../../../cluster/client.ts'
import { isRefusal } from '../../../cluster/errors.ts'
import type { KeptPolicy, PolicyWorld } from '../../../cluster/policy-world.ts'
import { pathOf, resources } from '../../../cluster/resources.ts'
import type { ClusterSessionPolicy } from '../../../crds/cluster-session-policy.ts'
import type { ControlParts } from '../start.ts'
import { createExemptionRecords, type ExemptionRecords, type PolicyOrigin, type SeenPolicy } from './exemptions.ts'

const requestedByAnnotation = 'steno.dev/requested-by'
const untilAnnotation = 'steno.dev/break-glass-until'
const charactersMax = 256
const managersMax = 8

export type WatchedClusterPolicies = Pick<PolicyWorld, 'clusterPolicies' | 'subscribe'> & { isSynced(): boolean }

/** What ends it is `stop`; it begins by itself. */
export function watchExemptions({
  parts: { stores, key, log },
  world,
  storeNames,
  cluster,
}: {
  readonly parts: Pick<ControlParts, 'stores' | 'key' | 'log'>
  readonly world: WatchedClusterPolicies
  /** Null while they are not known yet. */
  readonly storeNames: () => readonly string[] | null
  readonly cluster: Pick<ClusterClient, 'request'>
}): ExemptionRecords {
  const records = createExemptionRecords({
    storeNames: () => storeNames() ?? [],
    async openStore(name) {
      const opened = stores.named(name)
      await opened.prove()
      return opened.store
    },
    policies: () => (world.isSynced() && storeNames() !== null ? [...world.clusterPolicies.values()].map(seenOf) : null),
    originOf: ({ policyName, policyUid }) => originOf(cluster, policyName, policyUid),
    key,
    log,
  })
  const forget = world.subscribe((told) => {
    if (told.kind !== 'ClusterSessionPolicy') return
    const { before, after } = told.change
    if (before?.uid === after?.uid && before?.generation === after?.generation) return // A status was written.
    records.changed(after === undefined ? null : seenOf(after))
  })
  void records.look()
  return {
    ...records,
    stop() {
      forget()
      return records.stop()
    },
  }
}

function seenOf({ name, uid, generation, policy }: KeptPolicy<ClusterSessionPolicy>): SeenPolicy {
  const exempted = policy?.spec.exemptPods.map(({ namespaces, matchLabels, reason }) => ({
    policyName: name,
    policyUid: uid,
    namespaces,
    matchLabels,
    reason,
  }))
  return { uid, generation: generation ?? 0, exempted: exempted ?? null }
}

/** @throws ClusterRefused, ClusterUnreachable, but not for one that is gone */
async function originOf(cluster: Pick<ClusterClient, 'request'>, name: string, uid: string): Promise<PolicyOrigin> {
  type Found = {
    readonly metadata?: {
      readonly uid?: string
      readonly annotations?: Readonly<Record<string, string>>
      readonly managedFields?: readonly { readonly manager?: string }[]
    }
  }
  const nothing: PolicyOrigin = { requestedBy: null, until: null, managers: [] }
  try {
    const { metadata } = await cluster.request<Found>({ method: 'GET', path: pathOf(resources.clusterSessionPolicies, { name }) })
    if (metadata?.uid !== uid) return nothing
    const said = (annotation: string): string | null => metadata.annotations?.[annotation]?.slice(0, charactersMax) ?? null
    const managers = new Set((metadata.managedFields ?? []).flatMap(({ manager }) => (manager === undefined ? [] : [manager])))
    return { requestedBy: said(requestedByAnnotation), until: said(untilAnnotation), managers: [...managers].slice(0, managersMax) }
  } catch (error) {
    if (isRefusal(error, 'NotFound')) return nothing
    throw error
  }
}
