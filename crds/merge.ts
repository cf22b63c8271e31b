/**
 * What the policies that are for one pod mean together. Pure: reads no clock, no cluster; equal input gives equal output and hash,
 * in whichever order the policies come.
 *
 * Strictest wins where policies differ in strictness, and the cluster's floor raises the result. What may be reached adds up, as
 * NetworkPolicies do. What cannot be both is a conflict, named with its remedy: guessing would record some agents under the wrong rules.
 * Resolves no names: that a name leads to an address within the ceiling is not known here.
 */
import type { ClusterSessionPolicy } from './cluster-session-policy.ts'
import { digestOf } from './canonical-json.ts'
import { defaultEnforcement, defaultRecording } from './defaults.ts'
import { normal } from './host-pattern.ts'
import { labelsMatch } from './label-selector.ts'
import { mergeDatabases } from './merge-databases.ts'
import { mergeResources, type SidecarResources } from './merge-resources.ts'
import { bytesOf } from './quantity.ts'
import { clusterPoliciesFor, type PodFacts, policiesFor, sourceOf } from './selection.ts'
import type { DatabaseRule, NetworkAllow, SessionPolicy, SessionPolicySpec } from './session-policy.ts'
import { answers, failures, levels, modes, strictest } from './strictness.ts'

/** A database of a pod: defaults and floors applied, port on localhost set. `policy` is the source that names it, as `shop/orders`. */
export type MergedDatabase = DatabaseRule & { readonly localPort: number; readonly policy: string }

export type MergedPolicy = {
  readonly databases: readonly MergedDatabase[]
  readonly recording: SessionPolicySpec['recording']
  readonly enforcement: SessionPolicySpec['enforcement']
  readonly network: { readonly allow: readonly NetworkAllow[] }
  readonly secrets: { readonly allowKeys: readonly { readonly secret: string; readonly keys: readonly string[] }[] }
  readonly sidecar: { readonly resources: SidecarResources }
  /** What took part: `shop/orders` for a SessionPolicy, `ClusterSessionPolicy/floor` for one of the cluster. Sorted, those of the cluster first. */
  readonly sources: readonly string[]
  /** 32 hexadecimal digits over everything that judges: all of the above but `sidecar` and `sources`. */
  readonly hash: string
}

export type Problem = { readonly message: string; readonly remedy: string }

export type Merge =
  | { readonly kind: 'exempt'; readonly by: string; readonly reason: string }
  | { readonly kind: 'merged'; readonly policy: MergedPolicy }
  | { readonly kind: 'conflict'; readonly problems: readonly Problem[] }

/** A pod that no SessionPolicy is for gets a policy without databases: it still carries the sidecar, so that it cannot be a bridge for others. */
export function mergePolicies(
  facts: PodFacts,
  policies: readonly SessionPolicy[],
  clusterPolicies: readonly ClusterSessionPolicy[],
): Merge {
  const ofCluster = clusterPoliciesFor(facts.namespaceLabels, clusterPolicies)
  const exemption = exemptionFrom(facts, ofCluster)
  if (exemption !== null) return { kind: 'exempt', ...exemption }
  const ofPod = policiesFor(facts, policies)
  const databases = mergeDatabases(ofPod, ofCluster)
  const store = mergeStore(ofPod)
  const problems = [...databases.problems, ...store.problems]
  if (problems.length > 0) return { kind: 'conflict', problems }
  const judging = {
    databases: databases.databases,
    recording: mergeRecording(ofPod, ofCluster, store.store),
    enforcement: mergeEnforcement(ofPod, ofCluster),
    network: { allow: mergeAllow(ofPod) },
    secrets: { allowKeys: mergeAllowKeys(ofPod) },
  }
  const policy: MergedPolicy = {
    ...judging,
    sidecar: { resources: mergeResources(ofPod.map(({ spec }) => spec.sidecar.resources)) },
    sources: [...ofCluster.map(sourceOf), ...ofPod.map(sourceOf)],
    hash: hashOf(judging),
  }
  return { kind: 'merged', policy }
}

function exemptionFrom(
  { namespace, podLabels }: PodFacts,
  policies: readonly ClusterSessionPolicy[],
): { by: string; reason: string } | null {
  for (const policy of policies) {
    const found = policy.spec.exemptPods.find((entry) => entry.namespaces.includes(namespace) && labelsMatch(entry.matchLabels, podLabels))
    if (found !== undefined) return { by: sourceOf(policy), reason: found.reason }
  }
  return null
}

function mergeStore(policies: readonly SessionPolicy[]): { store: string; problems: Problem[] } {
  const [first, ...others] = policies
  const other = others.find(({ spec }) => spec.recording.store !== first?.spec.recording.store)
  const store = first?.spec.recording.store ?? defaultRecording.store
  if (first === undefined || other === undefined) return { store, problems: [] }
  const message = `${sourceOf(first)} records to store \`${store}\` and ${sourceOf(other)} to \`${other.spec.recording.store}\``
  return { store, problems: [{ message, remedy: 'Give both the same recording.store, or selectors that share no pod.' }] }
}

function mergeRecording(
  policies: readonly SessionPolicy[],
  ofCluster: readonly ClusterSessionPolicy[],
  store: string,
): MergedPolicy['recording'] {
  const asked = policies.map(({ spec }) => spec.recording)
  const floors = ofCluster.map(({ spec }) => spec.floor.recording)
  // Where nothing was asked the default counts; the floor raises either.
  const base = asked.length === 0 ? [defaultRecording] : asked
  const smallest = base.toSorted((a, b) => (bytesOf(a.spoolBytesMax) ?? 0) - (bytesOf(b.spoolBytesMax) ?? 0))[0]
  const named = [...base, ...floors]
  return {
    level: strictest(
      levels,
      named.map((recording) => recording?.level),
      defaultRecording.level,
    ),
    store,
    onFailure: strictest(
      failures,
      named.map((recording) => recording?.onFailure),
      defaultRecording.onFailure,
    ),
    // Less may wait unshipped, so less is lost with a pod.
    spoolBytesMax: smallest?.spoolBytesMax ?? defaultRecording.spoolBytesMax,
    spoolAgeSecondsMax: Math.min(...base.map(({ spoolAgeSecondsMax }) => spoolAgeSecondsMax)),
  }
}

function mergeEnforcement(policies: readonly SessionPolicy[], ofCluster: readonly ClusterSessionPolicy[]): MergedPolicy['enforcement'] {
  const base = policies.length === 0 ? [defaultEnforcement] : policies.map(({ spec }) => spec.enforcement)
  const named = [...base, ...ofCluster.map(({ spec }) => spec.floor.enforcement)]
  return {
    mode: strictest(
      modes,
      named.map((enforcement) => enforcement?.mode),
      defaultEnforcement.mode,
    ),
    onOpenPath: strictest(
      answers,
      named.map((enforcement) => enforcement?.onOpenPath),
      defaultEnforcement.onOpenPath,
    ),
  }
}

function mergeAllow(policies: readonly SessionPolicy[]): NetworkAllow[] {
  const byDigest = new Map(policies.flatMap(({ spec }) => spec.network.allow.map((entry) => [digestOf(entry), entry] as const)))
  return [...byDigest].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry)
}

function mergeAllowKeys(policies: readonly SessionPolicy[]): { secret: string; keys: string[] }[] {
  const keysOf = new Map<string, Set<string>>()
  for (const { secret, keys } of policies.flatMap(({ spec }) => spec.secrets.allowKeys)) {
    keysOf.set(secret, (keysOf.get(secret) ?? new Set()).union(new Set(keys)))
  }
  return [...keysOf.keys()].sort().map((secret) => ({ secret, keys: [...(keysOf.get(secret) ?? [])].sort() }))
}

/** Lists that are sets are brought into one order first, and numbers into one unit, so that only a change of meaning changes the hash. */
function hashOf({
  databases,
  recording,
  ...others
}: Pick<MergedPolicy, 'databases' | 'recording' | 'enforcement' | 'network' | 'secrets'>): string {
  const bare = databases.map(({ policy: _policy, hosts, databaseNames, variables, ...database }) => ({
    ...database,
    hosts: hosts.map(normal).sort(),
    // The first is what agents are given; the order of the others means nothing.
    databaseNames: [databaseNames[0] ?? '', ...databaseNames.slice(1).sort()],
    variables: variables.map((variable) => digestOf(variable)).sort(),
  }))
  return digestOf({
    ...others,
    databases: bare.sort((a, b) => (a.name < b.name ? -1 : 1)),
    recording: { ...recording, spoolBytesMax: bytesOf(recording.spoolBytesMax) },
  })
}
