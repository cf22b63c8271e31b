/**
 * The pods of one namespace, counted so that a change costs the same however many others there are.
 *
 * Pods that no selector can tell apart stand in one group, with counters instead of lists. A pod that comes, goes or changes alters
 * counters of at most two groups; what the policies mean is worked out once a group; a policy's numbers are sums over groups, of which
 * there are as many as there are different values of those labels that selectors name. Only when a policy begins or ceases to name a
 * label are the namespace's pods sorted again.
 * Holds the pods that are known here and nothing of the cluster; calls nobody.
 */
import { mergePolicies, type Merge, type Problem } from '../../crds/merge.ts'
import type { ClusterSessionPolicy } from '../../crds/cluster-session-policy.ts'
import { selectorMatches, type Labels } from '../../crds/label-selector.ts'
import type { SessionPolicy } from '../../crds/session-policy.ts'
import type { Egress, KeptPod, Recorded } from './kept-pod.ts'

export type PolicyWorld = {
  readonly namespaceLabels: Labels
  /** Of this namespace. */
  readonly policies: readonly SessionPolicy[]
  readonly clusterPolicies: readonly ClusterSessionPolicy[]
}

export type PodCounts = { readonly matched: number; readonly injected: number; readonly stale: number; readonly bare: number }

/** Pods with a sidecar, by what is known of the ways past it. `openNames` are the first few of those that are open. */
export type EgressCounts = { readonly counts: Readonly<Record<Egress, number>>; readonly openNames: readonly string[] }

/** Pods with a sidecar, by what becomes of their recordings. `failingNames` are the first few of those whose store or spool refuses. */
export type RecordedCounts = { readonly counts: Readonly<Record<Recorded, number>>; readonly failingNames: readonly string[] }

/** What was found of one policy, over all pods that it is for. */
export type PolicyFindings = {
  readonly pods: PodCounts
  readonly egress: EgressCounts
  readonly recorded: RecordedCounts
  /** Of those pods. */
  readonly serviceAccounts: ReadonlySet<string>
  /** Why pods that it is for cannot be admitted; each once. */
  readonly problems: readonly Problem[]
}

type Group = {
  readonly id: string
  readonly labels: Labels
  readonly byHash: Map<string | null, number>
  readonly byServiceAccount: Map<string, number>
  readonly byEgress: Map<Egress, number>
  /** Of pods that are open. */
  readonly openNames: Set<string>
  readonly byRecorded: Map<Recorded, number>
  /** Of pods whose recordings are not stored. */
  readonly failingNames: Set<string>
  total: number
  /** Worked out when it is asked for, until policies change. */
  judged: { readonly merge: Merge; readonly policies: readonly string[] } | null
}

const namesToldMax = 5
const recordedStates: readonly Recorded[] = ['Stored', 'NothingYet', 'NotStored', 'SpoolFull', 'NotReported', 'NotTold']
const egressStates: readonly Egress[] = ['Closed', 'Open', 'NotMeasured', 'NotReported', 'CredentialsOnly']

export type NamespacePods = ReturnType<typeof createNamespacePods>

export function createNamespacePods(namespace: string) {
  let world: PolicyWorld = { namespaceLabels: {}, policies: [], clusterPolicies: [] }
  let keys: readonly string[] = []
  const pods = new Map<string, { readonly pod: KeptPod; readonly group: Group }>()
  const groups = new Map<string, Group>()

  function groupOf(labels: Labels): Group {
    const told = keys.filter((key) => Object.hasOwn(labels, key)).map((key): [string, string] => [key, labels[key] ?? ''])
    const id = JSON.stringify(told)
    let group = groups.get(id)
    if (group === undefined) {
      group = {
        ...{ id, labels: Object.fromEntries(told), byHash: new Map(), byServiceAccount: new Map() },
        ...{ byEgress: new Map(), openNames: new Set(), byRecorded: new Map(), failingNames: new Set(), total: 0, judged: null },
      }
      groups.set(id, group)
    }
    return group
  }

  function count(group: Group, pod: KeptPod, by: 1 | -1): void {
    group.total += by
    addTo(group.byHash, pod.policyHash, by)
    addTo(group.byServiceAccount, pod.serviceAccount, by)
    if (pod.egress !== null) addTo(group.byEgress, pod.egress, by)
    if (pod.egress === 'Open' && by === 1) group.openNames.add(pod.name)
    else group.openNames.delete(pod.name)
    if (pod.recorded !== null) addTo(group.byRecorded, pod.recorded, by)
    if ((pod.recorded === 'NotStored' || pod.recorded === 'SpoolFull') && by === 1) group.failingNames.add(pod.name)
    else group.failingNames.delete(pod.name)
  }

  function judged(group: Group): NonNullable<Group['judged']> {
    if (group.judged !== null) return group.judged
    const { namespaceLabels, policies, clusterPolicies } = world
    const facts = { namespace, namespaceLabels, podLabels: group.labels }
    const merge = mergePolicies(facts, policies, clusterPolicies)
    const names = merge.kind === 'exempt' ? [] : namesFor(group.labels, policies)
    return (group.judged = { merge, policies: names })
  }

  function remove(name: string): readonly string[] {
    const known = pods.get(name)
    if (known === undefined) return []
    pods.delete(name)
    count(known.group, known.pod, -1)
    const { policies } = judged(known.group)
    if (known.group.total === 0) groups.delete(known.group.id)
    return policies
  }

  function egressOf(some: Iterable<Group>): EgressCounts {
    const groupsMet = [...some]
    const counts = sumsOf(
      egressStates,
      groupsMet.map(({ byEgress }) => byEgress),
    )
    return { counts, openNames: firstOf(groupsMet.map(({ openNames }) => openNames)) }
  }

  function recordedOf(some: Iterable<Group>): RecordedCounts {
    const groupsMet = [...some]
    const counts = sumsOf(
      recordedStates,
      groupsMet.map(({ byRecorded }) => byRecorded),
    )
    return { counts, failingNames: firstOf(groupsMet.map(({ failingNames }) => failingNames)) }
  }

  function notExempt(): Group[] {
    return [...groups.values()].filter((group) => judged(group).merge.kind !== 'exempt')
  }

  return {
    get size() {
      return pods.size
    },
    get groups() {
      return groups.size
    },
    /** Null: the pod is gone or has ended. Returns the names of the policies whose findings may have changed. */
    setPod(name: string, pod: KeptPod | null): ReadonlySet<string> {
      const before = remove(name)
      if (pod === null) return new Set(before)
      const group = groupOf(pod.labels)
      pods.set(name, { pod, group })
      count(group, pod, 1)
      return new Set([...before, ...judged(group).policies])
    },
    setWorld(next: PolicyWorld): void {
      world = next
      const nextKeys = labelKeysOf(next, namespace)
      if (nextKeys.join() === keys.join()) {
        for (const group of groups.values()) group.judged = null
        return
      }
      keys = nextKeys
      groups.clear()
      for (const [name, { pod }] of pods) {
        const group = groupOf(pod.labels)
        pods.set(name, { pod, group })
        count(group, pod, 1)
      }
    },
    /** Whether the pod should have a sidecar and has none. */
    isBare(pod: KeptPod): boolean {
      return pod.policyHash === null && judged(groupOf(pod.labels)).merge.kind !== 'exempt'
    },
    findings(policy: SessionPolicy): PolicyFindings {
      const { name } = policy.metadata
      const sums = { matched: 0, injected: 0, stale: 0, bare: 0 }
      const serviceAccounts = new Set<string>()
      const problems = new Map<string, Problem>()
      const met: Group[] = []
      const note = (merge: Merge): void => {
        if (merge.kind === 'conflict') for (const problem of merge.problems) problems.set(problem.message, problem)
      }
      for (const group of groups.values()) {
        const { merge, policies } = judged(group)
        if (group.total === 0 || !policies.includes(name)) continue
        note(merge)
        met.push(group)
        const bare = group.byHash.get(null) ?? 0
        const injected = merge.kind === 'merged' ? (group.byHash.get(merge.policy.hash) ?? 0) : 0
        sums.matched += group.total
        sums.bare += bare
        sums.injected += injected
        sums.stale += group.total - bare - injected
        for (const account of group.byServiceAccount.keys()) serviceAccounts.add(account)
      }
      // A policy that no pod meets yet: what would be said of the first one.
      if (sums.matched === 0) {
        const facts = { namespace, namespaceLabels: world.namespaceLabels, podLabels: exampleLabels(policy) }
        if (namesFor(facts.podLabels, world.policies).includes(name)) note(mergePolicies(facts, world.policies, world.clusterPolicies))
      }
      return { pods: sums, egress: egressOf(met), recorded: recordedOf(met), serviceAccounts, problems: [...problems.values()] }
    },
    /** Of all pods with a sidecar that are not exempt. */
    egress: (): EgressCounts['counts'] => egressOf(notExempt()).counts,
    /** Of the same. */
    recorded: (): RecordedCounts['counts'] => recordedOf(notExempt()).counts,
    /** Pods with a sidecar and without one, of all that are not exempt. */
    totals(): { injected: number; bare: number } {
      const totals = { injected: 0, bare: 0 }
      for (const group of groups.values()) {
        if (judged(group).merge.kind === 'exempt') continue
        const bare = group.byHash.get(null) ?? 0
        totals.bare += bare
        totals.injected += group.total - bare
      }
      return totals
    },
    pods: (): IterableIterator<KeptPod> => pods.values().map(({ pod }) => pod),
    policiesOfServiceAccount(account: string): string[] {
      const names = [...groups.values()]
        .filter(({ byServiceAccount }) => byServiceAccount.has(account))
        .flatMap((group) => judged(group).policies)
      return [...new Set(names)]
    },
  }
}

function namesFor(labels: Labels, policies: readonly SessionPolicy[]): string[] {
  return policies.filter(({ spec }) => selectorMatches(spec.selector, labels)).map(({ metadata }) => metadata.name)
}

function sumsOf<State extends string>(states: readonly State[], maps: readonly ReadonlyMap<State, number>[]): Record<State, number> {
  const counts = Object.fromEntries(states.map((state) => [state, 0])) as Record<State, number>
  for (const map of maps) for (const [state, total] of map) counts[state] += total
  return counts
}

/** A few names, so that a status stays short. */
function firstOf(sets: readonly ReadonlySet<string>[]): string[] {
  const names: string[] = []
  for (const set of sets)
    for (const name of set) {
      if (names.length === namesToldMax) return names.sort()
      names.push(name)
    }
  return names.sort()
}

function addTo<K>(counts: Map<K, number>, key: K, by: number): void {
  const count = (counts.get(key) ?? 0) + by
  if (count === 0) counts.delete(key)
  else counts.set(key, count)
}

/** The labels that decide which policies and exemptions are for a pod, sorted. */
function labelKeysOf({ policies, clusterPolicies }: PolicyWorld, namespace: string): string[] {
  const ofPolicies = policies.flatMap(({ spec: { selector } }) => [
    ...Object.keys(selector.matchLabels ?? {}),
    ...(selector.matchExpressions ?? []).map(({ key }) => key),
  ])
  const ofExemptions = clusterPolicies
    .flatMap(({ spec }) => spec.exemptPods)
    .filter(({ namespaces }) => namespaces.includes(namespace))
    .flatMap(({ matchLabels }) => Object.keys(matchLabels))
  return [...new Set([...ofPolicies, ...ofExemptions])].sort()
}

/** Labels that most selectors of the policy's form select. */
function exampleLabels({ spec: { selector } }: SessionPolicy): Labels {
  const labels: Record<string, string> = {}
  for (const { key, operator, values } of selector.matchExpressions ?? []) {
    if (operator === 'In') labels[key] = values?.[0] ?? ''
    if (operator === 'Exists') labels[key] = ''
  }
  return { ...labels, ...selector.matchLabels }
}
