/**
 * What a pod may not be, so that a sidecar beside its containers can record them and keep what they may not have.
 *
 * Looks only at the pod as its author wrote it; names, users and ports that steno needs for itself are listed here once. Every fault is
 * reported, not the first alone. The chart's admission policies deny the same again when the webhook is not asked; what needs no sidecar to be
 * wrong (privileged containers, host paths) is theirs alone.
 */
import type { V1Container, V1Pod, V1Volume, V1VolumeProjection } from '@kubernetes/client-node'
import { sidecarHealthPort } from '../crds/sidecar-config.ts'
import type { Refusal } from './refusal.ts'
import { sidecarName, sidecarUserId, spoolVolumeName, relayTokenAudience, tokenAudience, tokenVolumeName } from './sidecar-container.ts'

/** The kubelet marks the API's copy of a static pod so (Kubernetes, well-known annotations). */
const mirrorAnnotation = 'kubernetes.io/config.mirror'

const networkRemedy =
  'Remove the field; a pod that needs it belongs into a namespace without the label steno.dev/inject (an exemption does not help, since it would see into the pods beside it)'

/** Of the admission policies alone: the webhook leaves host paths to them. */
const hostPathRule = 'HostPath'

/** A container and its place, `spec.containers[0]`. */
export type PlacedContainer = { readonly container: V1Container; readonly where: string }

/** Init containers first, as they start; the sidecar left out. */
export function placedContainers(pod: V1Pod): PlacedContainer[] {
  const of = (field: 'initContainers' | 'containers') =>
    (pod.spec?.[field] ?? []).map((container, index) => ({ container, where: `spec.${field}[${index}]` }))
  return [...of('initContainers').filter(({ container }) => container.name !== sidecarName), ...of('containers')]
}

/** Everything about the pod that no sidecar can live with. */
export function faultsOfPod(pod: V1Pod): Refusal[] {
  const containers = placedContainers(pod)
  return [
    ...faultsOfKind(pod),
    ...faultsOfNamespaces(pod),
    ...faultsOfNames(pod),
    ...(pod.spec?.volumes ?? []).flatMap((volume, index) => faultsOfVolume(volume, `spec.volumes[${index}]`)),
    ...faultsOfUsers(pod),
    ...containers.flatMap(faultsOfMounts),
  ]
}

/** What the admission policies refuse of exempt pods too (charts/steno, pod-isolation): it would let them see into the pods beside them. */
export function faultsOfIsolation(pod: V1Pod): Refusal[] {
  const hostPaths = (pod.spec?.volumes ?? []).flatMap(({ hostPath }, index): Refusal[] =>
    hostPath === undefined
      ? []
      : [
          {
            rule: hostPathRule,
            where: `spec.volumes[${index}].hostPath`,
            message: 'it may show the files of other pods, their spools and tokens among them',
            remedy: 'Use a PersistentVolumeClaim, ConfigMap or emptyDir, or run the pod in a namespace without the label steno.dev/inject',
          },
        ],
  )
  return [...faultsOfNamespaces(pod), ...hostPaths]
}

/** Ports that containers say they listen at and that the sidecar needs; `localPorts` by database. */
export function faultsOfPorts(pod: V1Pod, localPorts: ReadonlyMap<number, string>): Refusal[] {
  return placedContainers(pod).flatMap(({ container, where }) =>
    (container.ports ?? []).flatMap((port, index): Refusal[] => {
      if ((port.protocol ?? 'TCP') !== 'TCP') return []
      const place = { rule: 'PortTaken', where: `${where}.ports[${index}].containerPort` }
      const database = localPorts.get(port.containerPort)
      if (database !== undefined)
        return [
          {
            ...place,
            message: `port ${port.containerPort} is where the sidecar listens for database ${database}, and containers of a pod share their ports`,
            remedy: `Give the database another localPort in its SessionPolicy, or the container another port`,
          },
        ]
      if (port.containerPort !== sidecarHealthPort) return []
      return [
        {
          ...place,
          message: `port ${sidecarHealthPort} is where the sidecar answers the kubelet's probes`,
          remedy: 'Give the container another port',
        },
      ]
    }),
  )
}

function faultsOfKind(pod: V1Pod): Refusal[] {
  const faults: Refusal[] = []
  if (pod.metadata?.annotations?.[mirrorAnnotation] !== undefined)
    faults.push({
      rule: 'StaticPod',
      where: `metadata.annotations[${mirrorAnnotation}]`,
      message: "a static pod runs from its node's files, whatever the API server is told",
      remedy: 'Run it by a Deployment or a DaemonSet, or in a namespace without the label steno.dev/inject',
    })
  if (pod.spec?.os?.name === 'windows' || pod.spec?.nodeSelector?.['kubernetes.io/os'] === 'windows')
    faults.push({
      rule: 'WindowsPod',
      where: pod.spec.os?.name === 'windows' ? 'spec.os.name' : 'spec.nodeSelector[kubernetes.io/os]',
      message: 'the sidecar runs on Linux only',
      remedy: 'Run Windows pods in a namespace without the label steno.dev/inject',
    })
  return faults
}

function faultsOfNamespaces(pod: V1Pod): Refusal[] {
  const faults: Refusal[] = []
  if (pod.spec?.hostNetwork === true)
    faults.push({
      rule: 'HostNetwork',
      where: 'spec.hostNetwork',
      message: "on the node's network every pod of the node would reach the sidecar's listeners, and no network policy holds the pod",
      remedy: networkRemedy,
    })
  for (const field of ['hostPID', 'hostIPC'] as const)
    if (pod.spec?.[field] === true)
      faults.push({
        rule: 'HostNamespaces',
        where: `spec.${field}`,
        message: "with the node's processes or shared memory in view, the pod can read what other containers hold",
        remedy: networkRemedy,
      })
  if (pod.spec?.shareProcessNamespace === true)
    faults.push({
      rule: 'ShareProcessNamespace',
      where: 'spec.shareProcessNamespace',
      message: "the agent could read the sidecar's environment, where the credential is, from /proc",
      remedy: 'Remove the field',
    })
  return faults
}

function faultsOfNames(pod: V1Pod): Refusal[] {
  const reserved = (where: string): Refusal => ({
    rule: 'NameTaken',
    where,
    message: `the name ${sidecarName} belongs to the sidecar`,
    remedy: 'Give the container another name',
  })
  const faults = (pod.spec?.containers ?? []).flatMap(({ name }, index) =>
    name === sidecarName ? [reserved(`spec.containers[${index}].name`)] : [],
  )
  const ephemeral = (pod.spec?.ephemeralContainers ?? []).findIndex(({ name }) => name === sidecarName)
  if (ephemeral !== -1) faults.push(reserved(`spec.ephemeralContainers[${ephemeral}].name`))
  const inits = (pod.spec?.initContainers ?? []).flatMap(({ name }, index) => (name === sidecarName ? [index] : []))
  if (inits.length > 1) faults.push(reserved(`spec.initContainers[${inits[1]}].name`))
  return faults
}

function faultsOfVolume(volume: V1Volume, where: string): Refusal[] {
  const faults: Refusal[] = []
  if ((volume.name === spoolVolumeName && !isSpool(volume)) || (volume.name === tokenVolumeName && !isToken(volume)))
    faults.push({
      rule: 'VolumeNameTaken',
      where: `${where}.name`,
      message: `the name ${volume.name} belongs to a volume of the sidecar`,
      remedy: 'Give the volume another name',
    })
  if (volume.name !== tokenVolumeName && hasAudience(volume))
    faults.push({
      rule: 'AudienceTaken',
      where: `${where}.projected.sources`,
      message: `a token for audience ${tokenAudience} or ${relayTokenAudience} lets its holder speak to steno as the sidecar`,
      remedy: 'Remove the source, or ask for a token with an audience of your own',
    })
  return faults
}

function isSpool(volume: V1Volume): boolean {
  return Object.keys(volume).length === 2 && volume.emptyDir !== undefined && volume.emptyDir.medium === undefined
}

/** Of this release or of one with the token for control alone. */
function isToken(volume: V1Volume): boolean {
  const sources = volume.projected?.sources ?? []
  return Object.keys(volume).length === 2 && sources.length > 0 && sources.every(isOwnToken)
}

function hasAudience(volume: V1Volume): boolean {
  return (volume.projected?.sources ?? []).some(isOwnToken)
}

function isOwnToken({ serviceAccountToken }: V1VolumeProjection): boolean {
  return [tokenAudience, relayTokenAudience].includes(serviceAccountToken?.audience ?? '')
}

function faultsOfUsers(pod: V1Pod): Refusal[] {
  const context = pod.spec?.securityContext
  const places: [string, number | undefined][] = [
    ['spec.securityContext.runAsUser', context?.runAsUser],
    ['spec.securityContext.runAsGroup', context?.runAsGroup],
    ['spec.securityContext.fsGroup', context?.fsGroup],
    ...(context?.supplementalGroups ?? []).map((group, index): [string, number] => [
      `spec.securityContext.supplementalGroups[${index}]`,
      group,
    ]),
    ...placedContainers(pod).flatMap(({ container, where }): [string, number | undefined][] => [
      [`${where}.securityContext.runAsUser`, container.securityContext?.runAsUser],
      [`${where}.securityContext.runAsGroup`, container.securityContext?.runAsGroup],
    ]),
  ]
  return places.flatMap(([where, id]) =>
    id === sidecarUserId
      ? [
          {
            rule: 'UserTaken',
            where,
            message: `${sidecarUserId} is the sidecar's user and group: whoever shares it may read its files and memory`,
            remedy: 'Choose another number',
          },
        ]
      : [],
  )
}

function faultsOfMounts({ container, where }: PlacedContainer): Refusal[] {
  return (container.volumeMounts ?? []).flatMap(({ name }, index) =>
    name === spoolVolumeName || name === tokenVolumeName
      ? [
          {
            rule: 'VolumeMounted',
            where: `${where}.volumeMounts[${index}]`,
            message: `the volume ${name} holds the recording or the identity of the sidecar, and is mounted by it alone`,
            remedy: 'Remove the mount',
          },
        ]
      : [],
  )
}
