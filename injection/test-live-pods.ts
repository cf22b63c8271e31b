/** For tests: what becomes of an injected pod in a cluster, and the world that it is judged by. */
import type { V1Container, V1Pod } from '@kubernetes/client-node'
import type { AdmissionWorld } from './inject-pod.ts'
import type { LiveWorld } from './judge-live-pod.ts'
import { apiTokenFolder } from './sidecar-container.ts'

export function liveWorldOf(world: AdmissionWorld, more: Partial<LiveWorld> = {}): LiveWorld {
  const { policies, clusterPolicies, namespaceLabels, controlUrl, relayEndpoint, version } = world
  const images = [world.sidecarImage, 'registry.example.com/steno@sha256:0ld']
  const controlPublicKeys = [world.controlPublicKey, '-----BEGIN PUBLIC KEY-----\nMCox\n-----END PUBLIC KEY-----\n']
  const trusted = { controlPublicKeys, controlCas: [], admissionsSignedSince: null }
  return { policies, clusterPolicies, namespaceLabels, controlUrl, relayEndpoint, version, images, ...trusted, ...more }
}

/** Fields that the API server and its built-in admission plugins give every pod (Kubernetes 1.33); harmless on a pod that has them. */
export function defaulted(pod: V1Pod): V1Pod {
  const made = structuredClone(pod)
  const { spec } = made
  if (spec === undefined) return made
  spec.restartPolicy ??= 'Always'
  spec.dnsPolicy ??= 'ClusterFirst'
  spec.serviceAccountName ??= 'default'
  spec.serviceAccount ??= spec.serviceAccountName
  spec.securityContext ??= {}
  spec.schedulerName ??= 'default-scheduler'
  spec.terminationGracePeriodSeconds ??= 30
  spec.enableServiceLinks ??= true
  spec.preemptionPolicy ??= 'PreemptLowerPriority'
  spec.priority ??= 0
  spec.tolerations ??= ['not-ready', 'unreachable'].map((state) => ({
    key: `node.kubernetes.io/${state}`,
    operator: 'Exists',
    effect: 'NoExecute',
    tolerationSeconds: 300,
  }))
  for (const volume of spec.volumes ?? [])
    for (const kind of [volume.secret, volume.configMap, volume.projected]) if (kind !== undefined) kind.defaultMode ??= 0o644
  for (const container of containersOf(made)) {
    container.resources ??= {}
    container.terminationMessagePath ??= '/dev/termination-log'
    container.terminationMessagePolicy ??= 'File'
    container.imagePullPolicy ??= 'IfNotPresent'
    for (const port of container.ports ?? []) port.protocol ??= 'TCP'
    for (const { valueFrom } of container.env ?? []) if (valueFrom?.fieldRef !== undefined) valueFrom.fieldRef.apiVersion ??= 'v1'
  }
  return withApiToken(made)
}

/** As the ServiceAccount admission plugin does. */
function withApiToken(pod: V1Pod): V1Pod {
  const without = containersOf(pod).filter(({ volumeMounts = [] }) => !volumeMounts.some(({ mountPath }) => mountPath === apiTokenFolder))
  if (without.length === 0 || pod.spec === undefined) return pod
  const name = 'kube-api-access-dtxg8'
  const sources = [
    { serviceAccountToken: { expirationSeconds: 3_607, path: 'token' } },
    { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
    { downwardAPI: { items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }] } },
  ]
  pod.spec.volumes = [
    ...(pod.spec.volumes ?? []).filter((volume) => volume.name !== name),
    { name, projected: { defaultMode: 420, sources } },
  ]
  for (const container of without)
    container.volumeMounts = [...(container.volumeMounts ?? []), { name, readOnly: true, mountPath: apiTokenFolder }]
  return pod
}

/** As it is read from the API server while it runs. */
export function running(pod: V1Pod): V1Pod {
  const made = defaulted(pod)
  made.metadata = Object.assign({}, made.metadata, {
    ...{ name: 'agent', namespace: 'shop', uid: 'b1a1c0de-0000-4000-8000-000000000001' },
    ...{ resourceVersion: '4711', generation: 1 },
  })
  if (made.spec !== undefined) made.spec.nodeName = 'node'
  made.status = {
    phase: 'Running',
    podIPs: [{ ip: '10.42.0.7' }],
    conditions: [{ type: 'Ready', status: 'True' }],
  }
  return made
}

export function containersOf({ spec }: V1Pod): V1Container[] {
  return [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])]
}
