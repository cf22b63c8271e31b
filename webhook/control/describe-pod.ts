/**
 * What the API server knows of a pod that hands over recordings: its owner, its sidecar's image, and that it has the sidecar at all.
 *
 * Two GETs per recorder that comes first. The sidecar must be the webhook's in everything that no policy decides: in opted-in namespaces the
 * admission policies hold it too, and anywhere else whoever may make pods may write such a container, and have a token for control mounted.
 * The policies themselves are not asked: a recording is taken from a pod whose policy is gone by now.
 */
import type { V1Pod } from '@kubernetes/client-node'
import { messageOf } from '../../base/errors.ts'
import type { ClusterClient } from '../../cluster/client.ts'
import { ClusterRefused } from '../../cluster/errors.ts'
import { injectEnabled, injectLabel, pathOf, resources } from '../../cluster/resources.ts'
import type { PodIdentity } from '../../cluster/identity/pod.ts'
import { judgeLiveSidecar } from '../../injection/judge-live-pod.ts'
import type { LiveEnvironment } from '../../injection/live-sidecar.ts'
import type { DescribePod, PodDescription } from './pod-description.ts'
import { Refusal } from './refusal.ts'

const sidecarName = 'steno'
const describeMillisecondsMax = 5_000

/** The fields of a core/v1 Pod that are read here. */
export type PodObject = {
  readonly metadata?: {
    readonly uid?: string
    readonly ownerReferences?: readonly { readonly kind: string; readonly name: string; readonly controller?: boolean }[]
  }
  readonly spec?: {
    readonly nodeName?: string
    readonly initContainers?: readonly {
      readonly name: string
      readonly image?: string
      readonly restartPolicy?: string
      readonly env?: readonly { readonly name: string; readonly value?: string }[]
    }[]
  }
  readonly status?: { readonly initContainerStatuses?: readonly { readonly name: string; readonly imageID?: string }[] }
}

type NamespaceObject = { readonly metadata?: { readonly labels?: Readonly<Record<string, string>> } }

/** `environment` gives null while it is not known; without it a sidecar counts by its place, name and configuration alone. */
export function createPodDescription(cluster: Pick<ClusterClient, 'request'>, environment?: () => LiveEnvironment | null): DescribePod {
  return async (identity) => {
    try {
      const { podNamespace, podName } = identity
      const get = <T>(path: string): Promise<T> => cluster.request<T>({ method: 'GET', path, timeoutMilliseconds: describeMillisecondsMax })
      const pod = await get<V1Pod>(pathOf(resources.pods, { namespace: podNamespace, name: podName }))
      const description = descriptionOf(pod, identity)
      if (description.kind === 'unfit') return description
      if (environment !== undefined) {
        const known = environment()
        if (known === null) throw new Refusal('CLUSTER_UNAVAILABLE', 'what sidecars are judged by is not read yet')
        const reading = judgeLiveSidecar(pod, known)
        if (reading.kind === 'unfit') return reading
      }
      const namespace = await get<NamespaceObject>(pathOf(resources.namespaces, { name: podNamespace }))
      const isOptedIn = namespace.metadata?.labels?.[injectLabel] === injectEnabled
      return isOptedIn
        ? description
        : { kind: 'unfit', reason: `namespace ${podNamespace} is not opted in (${injectLabel}=${injectEnabled})` }
    } catch (error) {
      if (error instanceof Refusal) throw error
      if (error instanceof ClusterRefused && error.status === 404) return { kind: 'unfit', reason: 'the cluster has no such pod' }
      throw new Refusal('CLUSTER_UNAVAILABLE', `the pod could not be looked up: ${messageOf(error)}`, { cause: error })
    }
  }
}

export function descriptionOf({ metadata, spec, status }: PodObject, { podUid }: PodIdentity): PodDescription {
  if (metadata?.uid !== podUid) return { kind: 'unfit', reason: 'another pod has its name by now' }
  const sidecar = spec?.initContainers?.find(({ name }) => name === sidecarName)
  if (sidecar?.restartPolicy !== 'Always') return { kind: 'unfit', reason: 'it has no steno sidecar' }
  const store = storeIn(sidecar.env?.find(({ name }) => name === 'STENO_SIDECAR_CONFIG')?.value)
  if (store === null) return { kind: 'unfit', reason: 'its sidecar was not told where to store' }
  const owner = metadata.ownerReferences?.find(({ controller }) => controller === true)
  // `docker.io/…@sha256:…`; empty until the kubelet has pulled it.
  const imageId = status?.initContainerStatuses?.find(({ name }) => name === sidecarName)?.imageID ?? ''
  return {
    kind: 'fit',
    owner: owner === undefined ? null : `${owner.kind}/${owner.name}`,
    image: imageId === '' ? (sidecar.image ?? null) : imageId,
    nodeName: spec?.nodeName ?? null,
    store,
  }
}

/** `control.store` of SidecarConfig (crds/sidecar-config.ts), of whatever version. */
function storeIn(config: string | undefined): string | null {
  try {
    const store = (JSON.parse(config ?? '') as { readonly control?: { readonly store?: unknown } }).control?.store
    return typeof store === 'string' ? store : null
  } catch {
    return null // No JSON: it was told nothing.
  }
}
