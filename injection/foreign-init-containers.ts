/**
 * Which init containers may start before the sidecar: those that a ClusterSessionPolicy for the namespace names, and only where they
 * already stand first. A service mesh that must set up the network first is one; whatever runs there runs unrecorded.
 */
import type { V1Container } from '@kubernetes/client-node'
import type { ClusterSessionPolicy } from '../crds/cluster-session-policy.ts'
import { foreignInitContainersFor, imageHasPrefix } from '../crds/exceptions.ts'
import type { Labels } from '../crds/label-selector.ts'

/** How many of `initContainers`, from the first on, may stay before the sidecar. */
export function foreignFirst(
  initContainers: readonly V1Container[],
  namespaceLabels: Labels,
  clusterPolicies: readonly ClusterSessionPolicy[],
): number {
  const named = foreignInitContainersFor(namespaceLabels, clusterPolicies)
  const end = initContainers.findIndex(
    (container) => !named.some(({ name, image }) => container.name === name && imageHasPrefix(container.image ?? '', image)),
  )
  return end === -1 ? initContainers.length : end
}
