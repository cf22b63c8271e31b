/**
 * What ClusterSessionPolicies except from the rules: pods that are left as they are, and init containers that may come first.
 *
 * The one reading of these fields, for admission and for the AdmissionParameters that the API server's own policies compare with. Pure.
 */
import type { AdmissionParametersSpec } from './admission-parameters.ts'
import { canonicalJson } from './canonical-json.ts'
import type { ClusterSessionPolicy, ClusterSessionPolicySpec } from './cluster-session-policy.ts'
import type { Labels } from './label-selector.ts'
import { clusterPoliciesFor } from './selection.ts'

type ForeignInitContainer = ClusterSessionPolicySpec['foreignInitContainers'][number]

/** The init containers that may come before the sidecar in a namespace with these labels. */
export function foreignInitContainersFor(
  namespaceLabels: Labels,
  clusterPolicies: readonly ClusterSessionPolicy[],
): readonly ForeignInitContainer[] {
  return distinct(clusterPoliciesFor(namespaceLabels, clusterPolicies).flatMap(({ spec }) => spec.foreignInitContainers))
}

/** True when `image` is what `prefix` names: all of it, or up to `/`, `:` or `@`, so that `docker.io/mesh/proxy` is not `docker.io/mesh/proxy-evil`. */
export function imageHasPrefix(image: string, prefix: string): boolean {
  if (!image.startsWith(prefix)) return false
  return image.length === prefix.length || /[/:@]$/.test(prefix) || /^[/:@]/.test(image.slice(prefix.length))
}

/** The part of the AdmissionParameters that follows from the ClusterSessionPolicies; `namespaces` are the opted-in ones with their labels. */
export function admissionExceptions(
  namespaces: ReadonlyMap<string, Labels>,
  clusterPolicies: readonly ClusterSessionPolicy[],
): Pick<AdmissionParametersSpec, 'exemptPods' | 'foreignInitContainers'> {
  const exemptPods = [...namespaces].flatMap(([namespace, labels]) =>
    clusterPoliciesFor(labels, clusterPolicies).flatMap(({ spec }) =>
      spec.exemptPods
        .filter((entry) => entry.namespaces.includes(namespace))
        .map(({ matchLabels, until }) => ({ namespace, matchLabels: { ...matchLabels }, ...(until === undefined ? {} : { until }) })),
    ),
  )
  return {
    exemptPods: distinct(exemptPods),
    foreignInitContainers: distinct(clusterPolicies.flatMap(({ spec }) => spec.foreignInitContainers)),
  }
}

/** Without doubles, in an order that depends on nothing else. */
function distinct<T extends Parameters<typeof canonicalJson>[0]>(values: readonly T[]): T[] {
  const byText = new Map(values.map((value) => [canonicalJson(value), value] as const))
  return [...byText].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value)
}
