/**
 * Whether a running pod has the sidecar that the webhook gives, and which policy holds for it now.
 *
 * Pods outlive their policies and the release that made them. Where the sidecar is of the policies and the release of now, the injection is
 * computed again and the pod must be exactly that; where either changed since, what no policy decides must still be exact, and what the
 * policies decide is taken from those of now, whatever the sidecar was told. Pure; reads no clock and no cluster.
 * What needs no sidecar to be wrong (privileged containers, host paths) is in `judge-isolation.ts`.
 */
import type { V1Container, V1Pod } from '@kubernetes/client-node'
import { canonicalJson, digestOf, type Json } from '../crds/canonical-json.ts'
import type { ClusterSessionPolicy } from '../crds/cluster-session-policy.ts'
import { foreignInitContainersFor } from '../crds/exceptions.ts'
import { normal } from '../crds/host-pattern.ts'
import type { Labels } from '../crds/label-selector.ts'
import { mergePolicies, type Merge, type MergedPolicy } from '../crds/merge.ts'
import type { SessionPolicy } from '../crds/session-policy.ts'
import { parseSidecarConfig, SidecarConfigInvalid, type SidecarConfig } from '../crds/sidecar-config.ts'
import { foreignFirst } from './foreign-init-containers.ts'
import { injectPod, policyAnnotation } from './inject-pod.ts'
import { faultOfIsolation } from './judge-isolation.ts'
import { readLiveSidecar, type LiveEnvironment, type LiveSidecar, type LiveSidecarReading } from './live-sidecar.ts'
import { faultsOfPod } from './pod-shape.ts'
import { sidecarName, spoolVolumeName, tokenVolumeName } from './sidecar-container.ts'

/** What running pods are judged by. Remade whenever anything of it has changed. */
export type LiveWorld = LiveEnvironment & {
  /** By name, of all namespaces that are opted in, and of no other. */
  readonly namespaceLabels: ReadonlyMap<string, Labels>
  readonly policies: readonly SessionPolicy[]
  readonly clusterPolicies: readonly ClusterSessionPolicy[]
  /** Why pods of a namespace cannot be judged, by its name: a policy that may be for them cannot be read. */
  readonly unreadable?: ReadonlyMap<string, string>
  /** Of this release. */
  readonly version: string
}

export type LivePodVerdict =
  | {
      readonly kind: 'fit'
      /** As the policies are now. */
      readonly policy: MergedPolicy
      /** False for a sidecar of an earlier policy or another release, and for one that a policy would give other resources. */
      readonly isCurrent: boolean
      /** Of the policy that the sidecar was made by. */
      readonly policyHash: string
      /** What else of the world the verdict hangs on; see `judgeLivePodAgain`. */
      readonly basis: string
    }
  /**
   * `reason` is a sentence whose subject is the pod; it quotes nothing that the pod's author wrote. `by`: its policies alone make it unfit, so
   * that its sidecar, which is of this installation, is to be told so.
   */
  | { readonly kind: 'unfit'; readonly reason: string; readonly by?: 'policies' }

/**
 * What no policy decides: that the pod has a sidecar of this installation, and that nothing in the pod can get at it. Enough to take the
 * recording of a pod, whose policy may be gone by then.
 */
export function judgeLiveSidecar(pod: V1Pod, environment: LiveEnvironment): LiveSidecarReading {
  const reading = readLiveSidecar(pod, environment)
  if (reading.kind === 'unfit') return reading
  const [fault] = faultsOfPod(withEphemeral(pod))
  if (fault !== undefined) return unfit(`it is not as the webhook lets pods be: ${fault.message}`)
  if ((pod.spec?.ephemeralContainers ?? []).some(({ targetContainerName }) => targetContainerName === sidecarName))
    return unfit('a debug container was started within its sidecar')
  return reading
}

/** Judges the pod as the API server has it. Never throws for what a pod says. */
export function judgeLivePod(pod: V1Pod, world: LiveWorld): LivePodVerdict {
  const reading = judgeLiveSidecar(pod, world)
  if (reading.kind === 'unfit') return reading
  const isolation = faultOfIsolation(pod)
  if (isolation !== null) return unfit(isolation)
  const { sidecar } = reading
  const facts = { namespace: pod.metadata?.namespace ?? '', labels: pod.metadata?.labels ?? {} }
  const merge = mergeNow(facts, world)
  if (merge.kind === 'unfit') return merge
  const { policy, namespaceLabels } = merge
  const inits = pod.spec?.initContainers ?? []
  const before = inits.findIndex(({ name }) => name === sidecarName)
  const others = inits.filter(({ name }) => name !== sidecarName)
  if (before > foreignFirst(others, namespaceLabels, world.clusterPolicies))
    return unfit('its sidecar starts after an init container that may not come before it')
  const fit = { kind: 'fit', policy, policyHash: sidecar.policyHash, basis: basisOf(world, namespaceLabels) } as const
  if (sidecar.policyHash !== policy.hash || isOfAnotherRelease(sidecar, world)) return { ...fit, isCurrent: false }
  const comparison = compare(pod, sidecar, { ...facts, namespaceLabels }, world)
  return comparison.kind === 'unfit' ? comparison : { ...fit, isCurrent: comparison.isCurrent }
}

/**
 * The verdict on the same pod when policies or namespaces have changed since, without the pod; null when the pod itself must be seen again.
 */
export function judgeLivePodAgain(
  { namespace, labels }: { readonly namespace: string; readonly labels: Labels },
  before: LivePodVerdict,
  world: LiveWorld,
): LivePodVerdict | null {
  if (before.kind === 'unfit') return null
  const merge = mergeNow({ namespace, labels }, world)
  if (merge.kind === 'unfit') return merge
  const { policy, namespaceLabels } = merge
  if (basisOf(world, namespaceLabels) !== before.basis) return null
  const isOfNow = before.policyHash === policy.hash
  // Never compared with a policy of that hash, or with one that gives other resources.
  if (isOfNow && textOf(before.policy) !== textOf(policy)) return null
  return isOfNow ? before : { ...before, policy, isCurrent: false }
}

/** By the image, for whoever edits pods can write annotations; where an image's name stays the same over releases, by what it was told too. */
function isOfAnotherRelease({ image, version, container }: LiveSidecar, { images, version: ours }: LiveWorld): boolean {
  return image !== images[0] || (version !== ours && meaningOf(container) === null)
}

type PodPlace = { readonly namespace: string; readonly labels: Labels }
type MergeNow =
  | { readonly kind: 'merged'; readonly policy: MergedPolicy; readonly namespaceLabels: Labels }
  | Extract<LivePodVerdict, { kind: 'unfit' }>

function mergeNow({ namespace, labels }: PodPlace, world: LiveWorld): MergeNow {
  const namespaceLabels = world.namespaceLabels.get(namespace)
  if (namespaceLabels === undefined) return unfitByPolicies('its namespace is not opted in')
  if (world.unreadable?.has(namespace) === true) return unfitByPolicies('a policy that may be for it cannot be read by this release')
  const merge: Merge = mergePolicies({ namespace, namespaceLabels, podLabels: labels }, world.policies, world.clusterPolicies)
  switch (merge.kind) {
    case 'merged':
      return { kind: 'merged', policy: merge.policy, namespaceLabels }
    case 'exempt':
      return unfitByPolicies(`it is exempt by ${merge.by}`)
    case 'conflict':
      return unfitByPolicies(`its policies contradict each other: ${merge.problems[0]?.message ?? 'without a reason'}`)
    default:
      return merge satisfies never
  }
}

/** Everything but the policy and the namespace that makes the verdict. */
function basisOf(world: LiveWorld, labels: Labels): string {
  const { images, controlUrl, relayEndpoint, controlPublicKeys, controlCas, admissionsSignedSince, version, clusterPolicies } = world
  const foreign = foreignInitContainersFor(labels, clusterPolicies).map(({ name, image }) => ({ name, image }))
  return digestOf({ images, controlUrl, relayEndpoint, controlPublicKeys, controlCas, admissionsSignedSince, version, foreign })
}

/** Debug containers are held to what other containers are: they may mount the pod's volumes and take references. */
function withEphemeral(pod: V1Pod): V1Pod {
  const added = (pod.spec?.ephemeralContainers ?? []).map(({ targetContainerName: _target, ...container }): V1Container => container)
  if (added.length === 0 || pod.spec === undefined) return pod
  return Object.assign({}, pod, { spec: Object.assign({}, pod.spec, { containers: [...pod.spec.containers, ...added] }) })
}

type Comparison = { readonly kind: 'same'; readonly isCurrent: boolean } | Extract<LivePodVerdict, { kind: 'unfit' }>

/** The injection of now against the pod: what the webhook would change of it. */
function compare(
  pod: V1Pod,
  { container, image, version, controlCa, controlPublicKey }: LiveSidecar,
  { namespace, namespaceLabels }: { readonly namespace: string; readonly namespaceLabels: Labels },
  world: LiveWorld,
): Comparison {
  const whole = withEphemeral(pod)
  const injection = injectPod({ namespace, namespaceLabels, pod: whole }, { ...world, sidecarImage: image, controlCa, controlPublicKey })
  if (injection.kind !== 'injected')
    return unfit(`the webhook would refuse it: ${injection.kind === 'refused' ? injection.refusals[0]?.rule : injection.kind}`)
  const [has, wanted] = [whole, injection.pod].map((one) => ({
    containers: one.spec?.containers ?? [],
    initContainers: (one.spec?.initContainers ?? []).filter(({ name }) => name !== sidecarName),
    volumes: (one.spec?.volumes ?? []).filter(({ name }) => name !== spoolVolumeName && name !== tokenVolumeName),
    own: (one.spec?.volumes ?? []).filter(({ name }) => name === spoolVolumeName || name === tokenVolumeName),
  }))
  for (const part of ['containers', 'initContainers', 'volumes'] as const)
    if (textOf(has?.[part]) !== textOf(wanted?.[part])) return unfit(`the webhook would change its ${part}, so it may hold a credential`)
  if (textOf(byName(has?.own)) !== textOf(byName(wanted?.own))) return unfit('the webhook would give it other volumes of its own')
  const sidecar = injection.pod.spec?.initContainers?.find(({ name }) => name === sidecarName)
  const meant = [container, sidecar].map(meaningOf)
  if (meant[0] === null || meant[0] !== meant[1]) return unfit('its sidecar was told something else than its policies say')
  const isCurrent =
    version === world.version &&
    exactText(container) === exactText(sidecar) &&
    pod.metadata?.annotations?.[policyAnnotation] === injection.pod.metadata?.annotations?.[policyAnnotation]
  return { kind: 'same', isCurrent }
}

/** Of the variables: lists that are sets in one order, names of policies left out, authorities by what they are. Null for what cannot be read. */
function meaningOf(container: V1Container | undefined): string | null {
  const env = container?.env ?? []
  const config = configIn(env.find(({ name }) => name === 'STENO_SIDECAR_CONFIG')?.value ?? '')
  if (config === null) return null
  const listeners = config.listeners.map(({ allowed, tls, ...listener }) => ({
    ...listener,
    allowed: {
      hosts: allowed.hosts.map(normal).sort(),
      port: allowed.port,
      databaseNames: [allowed.databaseNames[0] ?? '', ...allowed.databaseNames.slice(1).sort()],
    },
    // A name may stand twice, and the last counts: all of them are told.
    tls: { mode: tls.mode, ca: env.filter(({ name }) => name === tls.caVariable).map(({ value, valueFrom }) => ({ value, valueFrom })) },
  }))
  const sources = env.filter(({ name }) => name.startsWith('STENO_SOURCE_'))
  return textOf({ ...config, policy: config.policy.hash, listeners, sources })
}

/** All of it but what the cluster itself may set; see `live-sidecar.ts`. */
function exactText(container: V1Container | undefined): string {
  return textOf(Object.assign({}, container, { imagePullPolicy: '', resizePolicy: [] }))
}

function configIn(text: string): SidecarConfig | null {
  try {
    return parseSidecarConfig(text)
  } catch (error) {
    if (error instanceof SidecarConfigInvalid) return null
    throw error
  }
}

function byName(volumes: readonly { readonly name: string }[] | undefined): readonly { readonly name: string }[] {
  return (volumes ?? []).toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

function unfit(reason: string): Extract<LivePodVerdict, { kind: 'unfit' }> {
  return { kind: 'unfit', reason }
}

function unfitByPolicies(reason: string): Extract<LivePodVerdict, { kind: 'unfit' }> {
  return { kind: 'unfit', reason, by: 'policies' }
}

function textOf(value: unknown): string {
  return value === undefined ? '' : canonicalJson(value as Json)
}
