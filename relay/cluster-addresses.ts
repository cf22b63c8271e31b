/**
 * The addresses of the cluster that no tunnel leads to: nodes, the API server, steno's own pods and Services, and Services that lead to one.
 *
 * The address of a Service is no server: whoever may edit a namespace's EndpointSlices may have it lead to a node. So each Service is known
 * with the addresses behind it, about 100 bytes for each. A Service that changes between this look and the network's own is caught by the next
 * look at open tunnels. What the network does to an address otherwise (load balancers, gateways) is not known here.
 */
import type { Log } from '../base/log.ts'
import type { ClusterClient } from '../cluster/client.ts'
import { areHeard } from '../cluster/heard.ts'
import { resources, type Resource } from '../cluster/resources.ts'
import { watchResource, type ResourceWatch, type WatchTiming } from '../cluster/watch-resource.ts'
import { addressFormsOf } from './address-forms.ts'
import { canonicalTexts, firstAddressesOf, whatForbids, type ClusterAddresses } from './forbidden-addresses.ts'

export type ClusterAddressWatch = ClusterAddresses & {
  isSynced(): boolean
  /** False while one of the watches has been silent for too long for its copy to decide anything. */
  isHeard(): boolean
  stop(): void
}

const core = { group: '', version: 'v1' } as const
const nodes: Resource = { ...core, kind: 'Node', plural: 'nodes', isNamespaced: false }
const services: Resource = { ...core, kind: 'Service', plural: 'services', isNamespaced: true }
const endpointSlices: Resource = {
  ...{ group: 'discovery.k8s.io', version: 'v1' },
  ...{ kind: 'EndpointSlice', plural: 'endpointslices', isNamespaced: true },
}
const apiServer = 'default/kubernetes'
const serviceLabel = 'kubernetes.io/service-name'
/** In one EndpointSlice (discovery.k8s.io/v1). */
const endpointsMax = 1_000

type Metadata = { readonly name?: string; readonly namespace?: string; readonly labels?: Readonly<Record<string, string>> }
type NodeObject = {
  readonly spec?: { readonly podCIDRs?: readonly string[] }
  readonly status?: { readonly addresses?: readonly { readonly type?: string; readonly address?: string }[] }
}
type ServiceObject = {
  readonly metadata?: Metadata
  readonly spec?: { readonly clusterIPs?: readonly string[]; readonly externalIPs?: readonly string[] }
  readonly status?: { readonly loadBalancer?: { readonly ingress?: readonly { readonly ip?: string }[] } }
}
type SliceObject = { readonly metadata?: Metadata; readonly endpoints?: readonly { readonly addresses?: readonly string[] }[] }
type PodObject = { readonly status?: { readonly podIPs?: readonly { readonly ip?: string }[] } }

type Service = { readonly key: string; readonly isOwn: boolean; readonly addresses: readonly string[] }
type Slice = { readonly service: string; readonly addresses: readonly string[] }

/** `onChange` is told when an address may have become forbidden. */
export function watchClusterAddresses(options: {
  readonly cluster: Pick<ClusterClient, 'request' | 'openStream'>
  /** Steno's own. */
  readonly namespace: string
  /** What the environment says of the API server (KUBERNETES_SERVICE_HOST). */
  readonly apiServerHost: string | undefined
  readonly onChange: () => void
  readonly log: Log
  readonly timing?: Partial<WatchTiming>
}): ClusterAddressWatch {
  const { cluster, namespace, onChange, log } = options
  const common = { cluster, log, ...(options.timing === undefined ? {} : { timing: options.timing }) }
  /** Services by address and then by name, for any namespace may claim an address that another has; what is behind each is by the name of its slices. */
  const servicesAt = new Map<string, Map<string, Service>>()
  const slicesOf = new Map<string, Map<string, Slice>>()
  /** Made of nodes, own pods and the API server when somebody asks after a change. */
  let named: Map<string, string> | null = null
  const changed = (): void => {
    named = null
    onChange()
  }

  const nodeWatch = watchResource<readonly string[]>({
    ...common,
    resource: nodes,
    keep: (object) => addressesOfNode(object as NodeObject),
    onChange({ before, after }) {
      // A node says every few seconds that it lives.
      if (before?.join() !== after?.join()) changed()
    },
  })
  const podWatch = watchResource<readonly string[]>({
    ...{ ...common, resource: resources.pods, namespace },
    keep: (object) => canonicalTexts(((object as PodObject).status?.podIPs ?? []).map(({ ip }) => ip)),
    onChange({ before, after }) {
      if (before?.join() !== after?.join()) changed()
    },
  })
  const serviceWatch = watchResource<Service>({
    ...{ ...common, resource: services },
    keep: (object) => serviceOf(object as ServiceObject, namespace),
    onChange({ before, after }) {
      for (const address of before?.addresses ?? []) {
        const at = servicesAt.get(address)
        at?.delete(before!.key)
        if (at?.size === 0) servicesAt.delete(address)
      }
      for (const address of after?.addresses ?? []) {
        const at = servicesAt.get(address) ?? new Map<string, Service>()
        servicesAt.set(address, at.set(after!.key, after!))
      }
      if (after?.isOwn === true || after?.key === apiServer) changed()
    },
  })
  const sliceWatch = watchResource<Slice>({
    ...{ ...common, resource: endpointSlices },
    keep: (object) => sliceOf(object as SliceObject),
    onChange({ key, before, after }) {
      if (before !== undefined) {
        slicesOf.get(before.service)?.delete(key)
        if (slicesOf.get(before.service)?.size === 0) slicesOf.delete(before.service)
      }
      if (after === undefined) return
      if (!slicesOf.has(after.service)) slicesOf.set(after.service, new Map())
      slicesOf.get(after.service)!.set(key, after)
      if (after.service === apiServer) named = null
      if (after.service === apiServer || after.addresses.some((text) => whatBehind(text) !== null)) onChange()
    },
  })
  const watches: readonly ResourceWatch<unknown>[] = [nodeWatch, podWatch, serviceWatch, sliceWatch]

  function read(): Map<string, string> {
    const found = new Map<string, string>()
    const add = (texts: readonly string[], what: string): void => texts.forEach((text) => found.set(text, what))
    for (const texts of podWatch.values()) add(texts, 'a pod of steno')
    for (const texts of nodeWatch.values()) add(texts, 'a node')
    for (const { addresses } of slicesOf.get(apiServer)?.values() ?? []) add(addresses, 'the API server')
    add(canonicalTexts([options.apiServerHost]), 'the API server')
    return found
  }

  function whatNamed(text: string): string | null {
    named ??= read()
    const here = servicesAt.get(text)
    if (here?.has(apiServer) === true) return 'the API server'
    return named.get(text) ?? (here?.values().some(({ isOwn }) => isOwn) === true ? 'a Service of steno' : null)
  }

  function whatBehind(text: string): string | null {
    const forms = addressFormsOf(text)
    return forms === null ? null : whatForbids(forms, { what: whatNamed })
  }

  function whatOf(text: string): string | null {
    const found = whatNamed(text)
    if (found !== null) return found
    for (const { key } of servicesAt.get(text)?.values() ?? [])
      for (const { addresses } of slicesOf.get(key)?.values() ?? [])
        for (const address of addresses) {
          const behind = whatBehind(address)
          if (behind !== null) return `a Service with ${behind} behind it`
        }
    return null
  }

  return {
    what: whatOf,
    isSynced: () => watches.every((watch) => watch.isSynced()),
    isHeard: () => areHeard(watches),
    stop() {
      for (const watch of watches) watch.stop()
    },
  }
}

/** With the first addresses of its pods' ranges: on most networks they are the node's own, on its bridge. */
function addressesOfNode({ spec, status }: NodeObject): readonly string[] {
  const own = (status?.addresses ?? []).filter(({ type }) => type?.endsWith('IP') === true).map(({ address }) => address)
  return [...canonicalTexts(own), ...(spec?.podCIDRs ?? []).flatMap(firstAddressesOf)]
}

function serviceOf({ metadata, spec, status }: ServiceObject, ownNamespace: string): Service {
  const balanced = (status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip)
  // `None` of a headless Service is no address.
  const addresses = canonicalTexts([...(spec?.clusterIPs ?? []), ...(spec?.externalIPs ?? []), ...balanced])
  return { key: `${metadata?.namespace ?? ''}/${metadata?.name ?? ''}`, isOwn: metadata?.namespace === ownNamespace, addresses }
}

function sliceOf({ metadata, endpoints }: SliceObject): Slice {
  const addresses = (endpoints ?? []).slice(0, endpointsMax).flatMap((endpoint) => endpoint.addresses ?? [])
  return { service: `${metadata?.namespace ?? ''}/${metadata?.labels?.[serviceLabel] ?? ''}`, addresses: canonicalTexts(addresses) }
}
