/** The kinds that steno reads and writes, and where the API server keeps them. Holds names only. */

/** `group` is empty for the core group. */
export type Resource = {
  readonly group: string
  readonly version: string
  readonly kind: string
  readonly plural: string
  readonly isNamespaced: boolean
}

const core = { group: '', version: 'v1' }
const steno = { group: 'steno.dev', version: 'v1alpha1' }

export const resources = {
  pods: { ...core, kind: 'Pod', plural: 'pods', isNamespaced: true },
  namespaces: { ...core, kind: 'Namespace', plural: 'namespaces', isNamespaced: false },
  secrets: { ...core, kind: 'Secret', plural: 'secrets', isNamespaced: true },
  configMaps: { ...core, kind: 'ConfigMap', plural: 'configmaps', isNamespaced: true },
  serviceAccounts: { ...core, kind: 'ServiceAccount', plural: 'serviceaccounts', isNamespaced: true },
  leases: { group: 'coordination.k8s.io', version: 'v1', kind: 'Lease', plural: 'leases', isNamespaced: true },
  events: { group: 'events.k8s.io', version: 'v1', kind: 'Event', plural: 'events', isNamespaced: true },
  subjectAccessReviews: {
    group: 'authorization.k8s.io',
    version: 'v1',
    kind: 'SubjectAccessReview',
    plural: 'subjectaccessreviews',
    isNamespaced: false,
  },
  tokenReviews: { group: 'authentication.k8s.io', version: 'v1', kind: 'TokenReview', plural: 'tokenreviews', isNamespaced: false },
  mutatingWebhookConfigurations: {
    group: 'admissionregistration.k8s.io',
    version: 'v1',
    kind: 'MutatingWebhookConfiguration',
    plural: 'mutatingwebhookconfigurations',
    isNamespaced: false,
  },
  networkPolicies: { group: 'networking.k8s.io', version: 'v1', kind: 'NetworkPolicy', plural: 'networkpolicies', isNamespaced: true },
  sessionPolicies: { ...steno, kind: 'SessionPolicy', plural: 'sessionpolicies', isNamespaced: true },
  clusterSessionPolicies: { ...steno, kind: 'ClusterSessionPolicy', plural: 'clustersessionpolicies', isNamespaced: false },
  recordingStores: { ...steno, kind: 'RecordingStore', plural: 'recordingstores', isNamespaced: false },
  admissionParameters: { ...steno, kind: 'AdmissionParameters', plural: 'admissionparameters', isNamespaced: false },
} as const satisfies Record<string, Resource>

/** The label of namespaces whose pods get the sidecar. */
export const injectLabel = 'steno.dev/inject'
export const injectEnabled = 'enabled'

/** `apiVersion` as objects carry it: `v1`, `steno.dev/v1alpha1`. */
export function apiVersionOf({ group, version }: Resource): string {
  return group === '' ? version : `${group}/${version}`
}

/** The path of the collection, or of one object when `name` is given; every part is percent-encoded. */
export function pathOf(
  resource: Resource,
  at: { readonly namespace?: string | undefined; readonly name?: string | undefined; readonly subresource?: string } = {},
): string {
  const parts = resource.group === '' ? ['api', resource.version] : ['apis', resource.group, resource.version]
  if (resource.isNamespaced && at.namespace !== undefined) parts.push('namespaces', at.namespace)
  parts.push(resource.plural)
  if (at.name !== undefined) parts.push(at.name)
  if (at.subresource !== undefined) parts.push(...at.subresource.split('/'))
  return `/${parts.map(encodeURIComponent).join('/')}`
}
