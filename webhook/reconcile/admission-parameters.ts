/** What the admission policies are to be told of the ClusterSessionPolicies: a pure function. */
import type { AdmissionParametersSpec } from '../../crds/admission-parameters.ts'
import type { ClusterSessionPolicy } from '../../crds/cluster-session-policy.ts'
import { selectorMatches, type Labels } from '../../crds/label-selector.ts'

export type KeptParameters = Pick<AdmissionParametersSpec, 'exemptPods' | 'foreignInitContainers'>

/** The schema's bounds; what is beyond is left out, so that the policies deny rather than admit. */
const exemptPodsMax = 1024
const foreignInitContainersMax = 256

/**
 * Exemptions of namespaces that a policy's selector leaves out, or that are not opted in and might be left out, are not among them.
 * Foreign init containers are told for all namespaces: the parameters know no namespace of theirs, and the webhook judges that.
 */
export function admissionParametersOf(
  policies: Iterable<ClusterSessionPolicy>,
  optedIn: (namespace: string) => Labels | undefined,
): KeptParameters {
  const sorted = [...policies].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
  const exemptPods = sorted.flatMap(({ spec }) =>
    spec.exemptPods.flatMap(({ namespaces, matchLabels, until }) =>
      namespaces
        .filter((namespace) => {
          const labels = optedIn(namespace)
          return labels === undefined ? isForAll(spec.namespaceSelector) : selectorMatches(spec.namespaceSelector, labels)
        })
        .map((namespace) => ({ namespace, matchLabels, ...(until === undefined ? {} : { until }) })),
    ),
  )
  const foreignInitContainers = sorted.flatMap(({ spec }) => spec.foreignInitContainers.map(({ name, image }) => ({ name, image })))
  return {
    exemptPods: unique(exemptPods).slice(0, exemptPodsMax),
    foreignInitContainers: unique(foreignInitContainers).slice(0, foreignInitContainersMax),
  }
}

function isForAll({ matchLabels = {}, matchExpressions = [] }: ClusterSessionPolicy['spec']['namespaceSelector']): boolean {
  return Object.keys(matchLabels).length === 0 && matchExpressions.length === 0
}

function unique<T>(values: readonly T[]): T[] {
  return [...new Map(values.map((value) => [JSON.stringify(value), value])).values()]
}
