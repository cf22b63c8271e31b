/**
 * A pod as its author wrote it becomes a pod with the recorder first and without credentials, or is refused with every reason.
 *
 * Pure: the same pod and world give the same answer, so that the API server may ask twice, `kubectl steno check` may ask offline, and control
 * may compute the injection of a running pod again. What another injector did to steno's parts is put back; injecting an injected pod changes
 * nothing. Never changes its arguments. Reads no Secret and knows no HTTP.
 */
import type { V1Container, V1ObjectMeta, V1Pod, V1PodSpec, V1ResourceRequirements, V1Volume } from '@kubernetes/client-node'
import type { ClusterSessionPolicy } from '../crds/cluster-session-policy.ts'
import type { Labels } from '../crds/label-selector.ts'
import { mergePolicies, type MergedPolicy } from '../crds/merge.ts'
import type { SessionPolicy } from '../crds/session-policy.ts'
import { listenersMax, parseSidecarConfig, SidecarConfigInvalid, writeSidecarConfig } from '../crds/sidecar-config.ts'
import { moveCredentials } from './credentials/move-credentials.ts'
import type { SealKey } from './admission-seal.ts'
import { foreignFirst } from './foreign-init-containers.ts'
import { readKnownSources, type KnownSource, type KnownSources } from './known-sources.ts'
import { faultsOfPod, faultsOfPorts } from './pod-shape.ts'
import { faultsOfSize } from './pod-size.ts'
import type { Refusal } from './refusal.ts'
import { caVariablesOf, sidecarConfigOf, spoolBytesMaxOf } from './sidecar-config-of.ts'
import { sidecarContainer, sidecarName, sidecarVolumes } from './sidecar-container.ts'

export const injectedLabel = 'steno.dev/injected'
/** What the pod's NetworkPolicies go by. */
export const enforcementLabel = 'steno.dev/enforcement'
export const policyAnnotation = 'steno.dev/policy'
export const policyHashAnnotation = 'steno.dev/policy-hash'
export const versionAnnotation = 'steno.dev/version'

/** The recorder needs this long to seal and hand over what it holds when the pod ends. */
export const terminationGraceSecondsMin = 15
/** What the API server gives a pod that does not say (PodSpec, terminationGracePeriodSeconds); a template on its own has none yet. */
const terminationGraceSecondsStandard = 30

/** What a webhook knows of its cluster, as its caches have it. */
export type AdmissionWorld = {
  readonly policies: readonly SessionPolicy[]
  readonly clusterPolicies: readonly ClusterSessionPolicy[]
  /** Labels of namespaces by name; of all that are opted in at least. */
  readonly namespaceLabels: ReadonlyMap<string, Labels>
  /** Why pods of a namespace cannot be judged, by its name: a policy that may be for them cannot be read. */
  readonly unreadable?: ReadonlyMap<string, string>
  readonly sidecarImage: string
  readonly controlUrl: string
  /** `steno-relay.steno-system.svc:8443`. */
  readonly relayEndpoint: string
  /** PEM; while authorities rotate, the old and the next. */
  readonly controlCa: string
  /** PEM, SubjectPublicKeyInfo. */
  readonly controlPublicKey: string
  /** What the webhook seals pods with; offline there is none. */
  readonly sealKey?: SealKey
  readonly version: string
}

export type InjectionRequest = {
  /** The pod's own may be empty at admission. */
  readonly namespace: string
  readonly namespaceLabels: Labels
  readonly pod: V1Pod
}

export type Injection =
  | { readonly kind: 'exempt'; readonly by: string; readonly reason: string }
  | { readonly kind: 'refused'; readonly refusals: readonly Refusal[]; readonly policy: MergedPolicy | null }
  | {
      readonly kind: 'injected'
      readonly pod: V1Pod
      readonly policy: MergedPolicy
      readonly sources: readonly KnownSource[]
      readonly warnings: readonly string[]
    }

/** The pod with its sidecar, or why there is none. */
export function injectPod(
  { namespace, namespaceLabels, pod }: InjectionRequest,
  world: Omit<AdmissionWorld, 'namespaceLabels'>,
): Injection {
  const podLabels = pod.metadata?.labels ?? {}
  const merge = mergePolicies({ namespace, namespaceLabels, podLabels }, world.policies, world.clusterPolicies)
  if (merge.kind === 'exempt') return merge
  const tooLarge = faultsOfSize(pod)
  if (tooLarge.length > 0) return { kind: 'refused', refusals: tooLarge, policy: merge.kind === 'merged' ? merge.policy : null }
  const faults = faultsOfPod(pod)
  if (merge.kind === 'conflict') {
    const conflicts = merge.problems.map((problem) => ({
      rule: 'PolicyConflict',
      where: `the policies of namespace ${namespace}`,
      ...problem,
    }))
    return { kind: 'refused', refusals: [...conflicts, ...faults], policy: null }
  }
  const { policy } = merge
  const spec = pod.spec ?? { containers: [] }
  const present = (spec.initContainers ?? []).find(({ name }) => name === sidecarName)
  const known = knownSourcesOf(present, spec, policy)
  if (known.kind === 'refused') return { kind: 'refused', refusals: [...faults, known.refusal], policy }
  const own = sidecarVolumes({ spoolBytesMax: spoolBytesMaxOf(policy) })
  const ownNames = own.map(({ name }) => name)
  const moved = moveCredentials(
    {
      containers: spec.containers,
      initContainers: (spec.initContainers ?? []).filter(({ name }) => name !== sidecarName),
      volumes: (spec.volumes ?? []).filter(({ name }) => !ownNames.includes(name)),
      annotations: pod.metadata?.annotations ?? {},
    },
    policy,
    known.sources,
  )
  if (moved.kind === 'refused') return { kind: 'refused', refusals: [...faults, ...moved.refusals], policy }
  const { sources } = moved
  const grace = graceOf(spec)
  const config = sidecarConfigOf(policy, sources, {
    controlUrl: world.controlUrl,
    relayEndpoint: world.relayEndpoint,
    terminationGraceSeconds: grace.seconds,
  })
  faults.push(...faultsOfPorts(pod, new Map(sources.map(({ localPort, database }) => [localPort, database]))))
  faults.push(...faultsOfConfig(() => parseSidecarConfig(writeSidecarConfig(config))))
  if (faults.length > 0) return { kind: 'refused', refusals: faults, policy }
  const sidecar = sidecarContainer({
    image: world.sidecarImage,
    config,
    controlCa: world.controlCa,
    controlPublicKey: world.controlPublicKey,
    sourceVariables: sources.flatMap(({ env }) => env),
    caVariables: caVariablesOf(policy, sources),
    resources: policy.sidecar.resources,
    ...(present?.resources === undefined ? {} : { addedResources: limitRangeResources(present.resources) }),
  })
  const before = foreignFirst(moved.initContainers, namespaceLabels, world.clusterPolicies)
  const early = moved.initContainers.slice(0, before)
  const injectedSpec = Object.assign({}, spec, grace.fields, {
    volumes: withOwnVolumes(moved.volumes, own, spec.volumes ?? []),
    initContainers: [...early, sidecar, ...moved.initContainers.slice(before)],
    containers: moved.containers,
  })
  return {
    kind: 'injected',
    policy,
    sources,
    pod: Object.assign({}, pod, { metadata: markedMetadata(pod, policy, world.version), spec: injectedSpec }),
    warnings: [...moved.warnings, ...grace.warnings, ...early.flatMap((container) => warningsOfEarly(container, spec))],
  }
}

/** How long the pod has to end: its own time, or the least that the recorder needs, with the field to set and a warning. */
function graceOf(spec: V1PodSpec): {
  readonly seconds: number
  readonly fields: Pick<V1PodSpec, 'terminationGracePeriodSeconds'>
  readonly warnings: readonly string[]
} {
  const own = spec.terminationGracePeriodSeconds ?? terminationGraceSecondsStandard
  if (own >= terminationGraceSecondsMin) return { seconds: own, fields: {}, warnings: [] }
  return {
    seconds: terminationGraceSecondsMin,
    fields: { terminationGracePeriodSeconds: terminationGraceSecondsMin },
    warnings: [
      `terminationGracePeriodSeconds is raised from ${own} to ${terminationGraceSecondsMin}, which the recorder needs to hand over its recording`,
    ],
  }
}

/** The pod's metadata with what says that it is injected, by which policy and by which version. */
function markedMetadata({ metadata }: V1Pod, policy: MergedPolicy, version: string): V1ObjectMeta {
  return Object.assign({}, metadata, {
    labels: { ...metadata?.labels, [injectedLabel]: 'true', [enforcementLabel]: policy.enforcement.mode },
    annotations: {
      ...metadata?.annotations,
      [policyAnnotation]: policy.sources.join(','),
      [policyHashAnnotation]: policy.hash,
      [versionAnnotation]: version,
    },
  })
}

type Known = { readonly kind: 'known'; readonly sources: KnownSources } | { readonly kind: 'refused'; readonly refusal: Refusal }

/** What an earlier review moved; a refusal when the container of the sidecar's name is none that can be read, or is of another policy. */
function knownSourcesOf(present: V1Container | undefined, spec: V1PodSpec, policy: MergedPolicy): Known {
  if (present === undefined) return { kind: 'known', sources: [] }
  const where = `spec.initContainers[${(spec.initContainers ?? []).indexOf(present)}]`
  if (!(present.env ?? []).some(({ name }) => name === 'STENO_SIDECAR_CONFIG'))
    return {
      kind: 'refused',
      refusal: {
        rule: 'NameTaken',
        where: `${where}.name`,
        message: `the name ${sidecarName} belongs to the sidecar, and this container is none`,
        remedy: 'Give the container another name',
      },
    }
  const reading = readKnownSources(present)
  const problem =
    reading.kind === 'unusable'
      ? reading.problem
      : reading.sources
          .filter(({ database }) => !policy.databases.some(({ name }) => name === database))
          .map(({ database }) => `it listens for database ${database}, which no policy of this pod names`)[0]
  if (reading.kind === 'read' && problem === undefined) return { kind: 'known', sources: reading.sources }
  return {
    kind: 'refused',
    refusal: {
      rule: 'SidecarUnusable',
      where,
      message: `the pod came with a sidecar that cannot be taken over: ${problem}`,
      remedy: `A manifest of a running pod is no template: remove the init container ${sidecarName}, and give the variables that it took their own references again`,
    },
  }
}

/** The sidecar reads its configuration by the same function, so what it would refuse is refused here. */
function faultsOfConfig(read: () => unknown): Refusal[] {
  try {
    read()
    return []
  } catch (error) {
    if (!(error instanceof SidecarConfigInvalid)) throw error
    return [
      {
        rule: 'SidecarConfigUnfit',
        where: 'the policies of the pod',
        message: `no sidecar can be configured so: ${error.message}`,
        remedy: `Name fewer hosts and databases in the policies, or fewer different credentials in the pod (at most ${listenersMax})`,
      },
    ]
  }
}

/** Places that steno's volumes had stay theirs, so that a pod is not changed because somebody appended a volume. */
function withOwnVolumes(others: readonly V1Volume[], own: readonly V1Volume[], present: readonly V1Volume[]): V1Volume[] {
  const volumes = [...others]
  const placed = own.map((volume) => ({ volume, index: present.findIndex(({ name }) => name === volume.name) }))
  for (const { volume, index } of placed.filter((one) => one.index !== -1).sort((left, right) => left.index - right.index))
    volumes.splice(index, 0, volume)
  return [...volumes, ...placed.flatMap(({ volume, index }) => (index === -1 ? [volume] : []))]
}

/** The LimitRanger plugin runs between two reviews, and adds defaults for these to every container. */
function limitRangeResources({ requests, limits }: V1ResourceRequirements): V1ResourceRequirements {
  const added = (quantities: Record<string, string> | undefined) =>
    Object.fromEntries(Object.entries(quantities ?? {}).filter(([name]) => ['cpu', 'memory', 'ephemeral-storage'].includes(name)))
  return { requests: added(requests), limits: added(limits) }
}

function warningsOfEarly(container: V1Container, spec: V1PodSpec): string[] {
  const before = (spec.initContainers ?? []).find(({ name }) => name === container.name)
  if (JSON.stringify(before?.env) === JSON.stringify(container.env)) return []
  return [`init container ${container.name} runs before the sidecar, so it cannot reach its database`]
}
