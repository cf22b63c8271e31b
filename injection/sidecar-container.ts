/**
 * The container and the two volumes that a pod is given: fixed in every field, except for what the policy and the pod's credentials decide.
 *
 * The order of fields and of variables is part of it: the admission policy of the chart checks the same list, and an injection that is
 * computed again must give the same bytes. Fields that the API server would default are written out, so that a live pod compares equal.
 * Knows nothing of where the sources come from.
 */
import type { V1Container, V1EnvVar, V1ResourceRequirements, V1Volume } from '@kubernetes/client-node'
import type { MergedPolicy } from '../crds/merge.ts'
import { sidecarHealthPort, writeSidecarConfig, type SidecarConfig } from '../crds/sidecar-config.ts'
import { canonicalQuantity } from './quantity.ts'

export const sidecarName = 'steno'
export const spoolVolumeName = 'steno-spool'
export const tokenVolumeName = 'steno-token'
export const spoolFolder = '/var/lib/steno'
export const tokenFolder = '/var/run/secrets/steno.dev'
/** A mount here keeps the ServiceAccount admission plugin from adding the token of the API (Kubernetes, ServiceAccount admission). */
export const apiTokenFolder = '/var/run/secrets/kubernetes.io/serviceaccount'
/** The user and group that nothing else in the pod may have. */
export const sidecarUserId = 64_242
export const healthPortName = 'steno-health'
export const tokenAudience = 'steno-control'
export const relayTokenAudience = 'steno-relay'
export const tokenSeconds = 3_600
/** Room beside the spool for its lock, its key and what is being sealed. */
const spoolVolumeExtraBytes = 64 * 1024 * 1024
const mebibyte = 1024 * 1024

/** Names of the variables before the sources, in their order. */
export const fixedVariableNames: readonly string[] = [
  'STENO_SIDECAR_CONFIG',
  'STENO_CONTROL_CA',
  'STENO_CONTROL_PUBLIC_KEY',
  'STENO_POD_NAME',
  'STENO_POD_NAMESPACE',
  'STENO_POD_UID',
  'STENO_SERVICE_ACCOUNT',
  'STENO_NODE_NAME',
]

export type SidecarParts = {
  readonly image: string
  readonly config: SidecarConfig
  /** PEM; one or more certificates. */
  readonly controlCa: string
  /** PEM, SubjectPublicKeyInfo. */
  readonly controlPublicKey: string
  /** `STENO_SOURCE_<n>_<NAME>`, in the order of their sources. */
  readonly sourceVariables: readonly V1EnvVar[]
  /** `STENO_CA_<n>`. */
  readonly caVariables: readonly V1EnvVar[]
  readonly resources: MergedPolicy['sidecar']['resources']
  /** What is on the sidecar of an earlier review beside that; see `limitRangeResources`. */
  readonly addedResources?: V1ResourceRequirements
}

/** The native sidecar: an init container that is restarted always (Kubernetes 1.29, KEP-753). */
export function sidecarContainer(parts: SidecarParts): V1Container {
  return {
    name: sidecarName,
    image: parts.image,
    args: ['sidecar'],
    ports: [{ name: healthPortName, containerPort: sidecarHealthPort, protocol: 'TCP' }],
    env: [
      { name: 'STENO_SIDECAR_CONFIG', value: writeSidecarConfig(parts.config) },
      { name: 'STENO_CONTROL_CA', value: parts.controlCa },
      { name: 'STENO_CONTROL_PUBLIC_KEY', value: parts.controlPublicKey },
      fieldVariable('STENO_POD_NAME', 'metadata.name'),
      fieldVariable('STENO_POD_NAMESPACE', 'metadata.namespace'),
      fieldVariable('STENO_POD_UID', 'metadata.uid'),
      fieldVariable('STENO_SERVICE_ACCOUNT', 'spec.serviceAccountName'),
      fieldVariable('STENO_NODE_NAME', 'spec.nodeName'),
      ...parts.sourceVariables,
      ...parts.caVariables,
    ],
    resources: sidecarResources(parts),
    restartPolicy: 'Always',
    volumeMounts: [
      { name: spoolVolumeName, mountPath: spoolFolder },
      { name: tokenVolumeName, readOnly: true, mountPath: tokenFolder },
      { name: tokenVolumeName, readOnly: true, mountPath: apiTokenFolder },
    ],
    startupProbe: {
      httpGet: { path: '/startz', port: sidecarHealthPort, scheme: 'HTTP' },
      timeoutSeconds: 1,
      periodSeconds: 1,
      successThreshold: 1,
      failureThreshold: 60,
    },
    lifecycle: { preStop: { httpGet: { path: '/ship', port: sidecarHealthPort, scheme: 'HTTP' } } },
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'FallbackToLogsOnError',
    imagePullPolicy: 'IfNotPresent',
    securityContext: {
      capabilities: { drop: ['ALL'] },
      runAsUser: sidecarUserId,
      runAsGroup: sidecarUserId,
      runAsNonRoot: true,
      readOnlyRootFilesystem: true,
      allowPrivilegeEscalation: false,
      seccompProfile: { type: 'RuntimeDefault' },
    },
  }
}

/** `emptyDir` for the spool and the projected tokens for control and relay; in this order. */
export function sidecarVolumes({ spoolBytesMax }: { readonly spoolBytesMax: number }): V1Volume[] {
  // Whole mebibytes, spelled as the API server stores them.
  const sizeLimit = canonicalQuantity(`${Math.ceil((spoolBytesMax + spoolVolumeExtraBytes) / mebibyte)}Mi`)
  return [
    { name: spoolVolumeName, emptyDir: { sizeLimit } },
    {
      name: tokenVolumeName,
      projected: {
        sources: [
          { serviceAccountToken: { audience: tokenAudience, expirationSeconds: tokenSeconds, path: 'token' } },
          { serviceAccountToken: { audience: relayTokenAudience, expirationSeconds: tokenSeconds, path: 'relay-token' } },
        ],
        // 0644: without an fsGroup the kubelet gives the file to root, and the sidecar is not root.
        defaultMode: 0o644,
      },
    },
  ]
}

/** As the API server stores them; what a LimitRange has added to the sidecar of an earlier review stays, for it would be added again. */
function sidecarResources({ resources, addedResources }: SidecarParts): V1ResourceRequirements {
  return {
    limits: { ...addedResources?.limits, ...canonical(resources.limits) },
    requests: { ...addedResources?.requests, ...canonical(resources.requests) },
  }
}

function canonical(quantities: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(quantities).map(([resource, quantity]) => [resource, canonicalQuantity(quantity)]))
}

function fieldVariable(name: string, fieldPath: string): V1EnvVar {
  return { name, valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath } } }
}
