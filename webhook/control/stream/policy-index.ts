/**
 * What the policies of the cluster mean for one pod now, and whom a change of them may concern.
 *
 * Keeps the SessionPolicies of each namespace together, so that the work of a change is that of its namespace's pods. Remembers what it
 * merged until anything changes: pods of one workload have the same labels. Holds no pods; a policy that this release cannot read makes what
 * holds in its namespace unknown, which is never guessed.
 */
import type { ClusterSessionPolicy } from '../../../crds/cluster-session-policy.ts'
import { selectorMatches, type Labels } from '../../../crds/label-selector.ts'
import { mergePolicies, type MergedPolicy } from '../../../crds/merge.ts'
import type { SessionPolicy } from '../../../crds/session-policy.ts'
import type { PolicyPositions } from '../../../session/policy-document.ts'
import type { KeptPolicy, PolicyWorld } from '../../../cluster/policy-world.ts'

export type PolicyNow =
  | { readonly kind: 'in-force'; readonly policy: MergedPolicy }
  /** No session may be opened; `reason` is for people. */
  | { readonly kind: 'withdrawn'; readonly reason: string }
  | { readonly kind: 'unknown' }

/** Whose policy may have changed. `namespace` null: any for which `includesNamespace`. */
export type Concern = {
  readonly namespace: string | null
  readonly includesNamespace: (labels: Labels) => boolean
  readonly includesPod: (labels: Labels) => boolean
}

export type PolicyIndex = {
  policyOf(pod: { readonly namespace: string; readonly labels: Labels }): PolicyNow
  /** Null for a namespace that is not opted in. */
  labelsOf(namespace: string): Labels | null
  /** The highest revision that was heard of the cluster's policies and namespaces. */
  generation(): bigint
  /** The revision that what is known is of, for each kind. Where a revision is no number it says nothing of order, and counts as 0. */
  positions(): Omit<PolicyPositions, 'pod'>
  /** Somebody has heard of a later revision of some kind: that is listed again. */
  catchUp(awaited: PolicyPositions): void
  isSynced(): boolean
  /** Told after the change is in. Returns what ends it. */
  subscribe(listener: (concern: Concern) => void): () => void
  stop(): void
}

const everyone = (): boolean => true
const mergesRememberedMax = 10_000

export function createPolicyIndex(
  world: Pick<PolicyWorld, 'sessionPolicies' | 'clusterPolicies' | 'namespaces' | 'isSynced' | 'subscribe'>,
): PolicyIndex {
  const byNamespace = new Map<string, Map<string, KeptPolicy<SessionPolicy>>>()
  const listeners = new Set<(concern: Concern) => void>()
  const merged = new Map<string, PolicyNow>()
  for (const kept of world.sessionPolicies.values()) put(kept)

  function put(kept: KeptPolicy<SessionPolicy>): void {
    const namespace = kept.namespace ?? ''
    const policies = byNamespace.get(namespace) ?? new Map<string, KeptPolicy<SessionPolicy>>()
    policies.set(kept.name, kept)
    byNamespace.set(namespace, policies)
  }

  function remove({ namespace = '', name }: KeptPolicy<SessionPolicy>): void {
    const policies = byNamespace.get(namespace)
    policies?.delete(name)
    if (policies?.size === 0) byNamespace.delete(namespace)
  }

  function tell(concern: Concern): void {
    merged.clear()
    for (const listener of listeners) listener(concern)
  }

  const forget = world.subscribe((told) => {
    switch (told.kind) {
      case 'SessionPolicy': {
        const { before, after } = told.change
        if (after !== undefined) put(after)
        else if (before !== undefined) remove(before)
        if (isSameSpecification(before, after)) return
        const versions = [before, after].filter((kept) => kept !== undefined)
        const includesPod = (labels: Labels): boolean =>
          versions.some(({ policy }) => policy === null || selectorMatches(policy.spec.selector, labels))
        return tell({ namespace: (after ?? before)?.namespace ?? '', includesNamespace: everyone, includesPod })
      }
      case 'ClusterSessionPolicy': {
        const { before, after } = told.change
        if (isSameSpecification(before, after)) return
        const versions = [before, after].filter((kept) => kept !== undefined)
        const includesNamespace = (labels: Labels): boolean =>
          versions.some(({ policy }) => policy === null || selectorMatches(policy.spec.namespaceSelector, labels))
        return tell({ namespace: null, includesNamespace, includesPod: everyone })
      }
      case 'Namespace':
        return tell({ namespace: told.change.key, includesNamespace: everyone, includesPod: everyone })
      case 'RecordingStore':
        return
      default:
        return told satisfies never
    }
  })

  function merge(namespace: string, podLabels: Labels): PolicyNow {
    const namespaceLabels = world.namespaces.get(namespace)?.labels
    if (namespaceLabels === undefined) return { kind: 'withdrawn', reason: `namespace ${namespace} is not opted in` }
    const ofNamespace = [...(byNamespace.get(namespace)?.values() ?? [])]
    const ofCluster = [...world.clusterPolicies.values()]
    if ([...ofNamespace, ...ofCluster].some(({ policy }) => policy === null)) return { kind: 'unknown' }
    const result = mergePolicies({ namespace, namespaceLabels, podLabels }, readable(ofNamespace), readable(ofCluster))
    switch (result.kind) {
      case 'merged':
        return result.policy.databases.length === 0
          ? { kind: 'withdrawn', reason: 'no SessionPolicy names a database for this pod' }
          : { kind: 'in-force', policy: result.policy }
      case 'exempt':
        return { kind: 'withdrawn', reason: `the pod is exempt by ${result.by}, and is to be made anew without a sidecar` }
      case 'conflict':
        return {
          kind: 'withdrawn',
          reason: result.problems.map(({ message, remedy }) => `${message}. ${remedy}`).join(' '),
        }
      default:
        return result satisfies never
    }
  }

  return {
    policyOf({ namespace, labels }) {
      const key = JSON.stringify([namespace, Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1))])
      const known = merged.get(key)
      if (known !== undefined) return known
      const now = merge(namespace, labels)
      if (merged.size >= mergesRememberedMax) merged.clear()
      merged.set(key, now)
      return now
    },
    labelsOf: (namespace) => world.namespaces.get(namespace)?.labels ?? null,
    generation: () => highestOf([world.sessionPolicies, world.clusterPolicies, world.namespaces].map(({ version }) => version)),
    positions: () => ({
      sessionPolicies: String(highestOf([world.sessionPolicies.version])),
      clusterSessionPolicies: String(highestOf([world.clusterPolicies.version])),
      namespaces: String(highestOf([world.namespaces.version])),
    }),
    catchUp({ sessionPolicies, clusterSessionPolicies, namespaces }) {
      for (const [watch, awaited] of [
        [world.sessionPolicies, sessionPolicies],
        [world.clusterPolicies, clusterSessionPolicies],
        [world.namespaces, namespaces],
      ] as const)
        if (highestOf([watch.version]) < BigInt(awaited)) watch.refresh()
    },
    isSynced: () => world.isSynced(),
    subscribe(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    stop: forget,
  }
}

/** Resource versions are etcd's revisions; one that is no number says nothing of order. */
export function highestOf(versions: readonly string[]): bigint {
  const numbers = versions.filter((version) => /^[0-9]{1,20}$/.test(version)).map(BigInt)
  return numbers.reduce((highest, number) => (number > highest ? number : highest), 0n)
}

/** Status and metadata judge nobody, and steno itself writes the status. */
function isSameSpecification(before: KeptPolicy<unknown> | undefined, after: KeptPolicy<unknown> | undefined): boolean {
  return before?.generation !== undefined && before.uid === after?.uid && before.generation === after.generation
}

function readable<T extends SessionPolicy | ClusterSessionPolicy>(kept: readonly KeptPolicy<T>[]): T[] {
  return kept.flatMap(({ policy }) => (policy === null ? [] : [policy]))
}
