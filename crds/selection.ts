/**
 * Which policies are for a pod, and what messages call them. Lists come back by name, so that nothing depends on the order of a watch.
 */
import type { ClusterSessionPolicy } from './cluster-session-policy.ts'
import { type Labels, selectorMatches } from './label-selector.ts'
import type { SessionPolicy } from './session-policy.ts'

/** What must be known of a pod to find its policies. */
export type PodFacts = { readonly namespace: string; readonly namespaceLabels: Labels; readonly podLabels: Labels }

/** How messages, annotations and recordings call a policy. */
export function sourceOf(policy: SessionPolicy | ClusterSessionPolicy): string {
  return policy.kind === 'SessionPolicy'
    ? `${policy.metadata.namespace ?? ''}/${policy.metadata.name}`
    : `ClusterSessionPolicy/${policy.metadata.name}`
}

/** The SessionPolicies that are for a pod, by name. */
export function policiesFor(
  { namespace, podLabels }: Omit<PodFacts, 'namespaceLabels'>,
  policies: readonly SessionPolicy[],
): SessionPolicy[] {
  return policies.filter(({ metadata, spec }) => metadata.namespace === namespace && selectorMatches(spec.selector, podLabels)).sort(byName)
}

/** The ClusterSessionPolicies that are for a namespace, by name. */
export function clusterPoliciesFor(namespaceLabels: Labels, policies: readonly ClusterSessionPolicy[]): ClusterSessionPolicy[] {
  return policies.filter(({ spec }) => selectorMatches(spec.namespaceSelector, namespaceLabels)).sort(byName)
}

function byName(a: { readonly metadata: { readonly name: string } }, b: { readonly metadata: { readonly name: string } }): number {
  return a.metadata.name < b.metadata.name ? -1 : 1
}
