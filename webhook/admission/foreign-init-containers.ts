/**
 * Which init containers may start before the sidecar: those that a ClusterSessionPolicy for the namespace names, and only where they
 * already stand first. A service mesh that must set up the network first is one; whatever runs there runs unrecorded.
 */
import type { V1Container } from '@kubernetes/client-node'
import type { ClusterSessionPolicy } from '../../crds/cluster-session-policy.ts'
import { selectorMatches, type Labels } from '../../crds/label-selector.ts'

/** How many of `initContainers`, from the first on, may stay before the sidecar. */
export function foreignFirst(
  initContainers: readonly V1Container[],
  namespaceLabels: Labels,
  clusterPolicies: readonly ClusterSessionPolicy[],
): number {
  const named = clusterPolicies
    .filter(({ spec }) => selectorMatches(spec.namespaceSelector, namespaceLabels))
    .flatMap(({ spec }) => spec.foreignInitContainers)
  const end = initContainers.findIndex(
    (container) => !named.some(({ name, image }) => container.name === name && imageBegins(container.image ?? '', image)),
  )
  return end === -1 ? initContainers.length : end
}

/** A prefix ends where a part of the reference ends: `mesh/init` is no `mesh/init-of-mine`. */
function imageBegins(image: string, prefix: string): boolean {
  if (!image.startsWith(prefix)) return false
  return image.length === prefix.length || /[:@/]$/.test(prefix) || /^[:@/]/.test(image.slice(prefix.length))
}
