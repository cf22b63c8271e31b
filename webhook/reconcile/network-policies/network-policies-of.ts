/**
 * The NetworkPolicies of a namespace's agents, from its SessionPolicies: pure.
 *
 * They go by the label that the webhook writes at admission, so pods that no SessionPolicy is for are closed as well. One closes all but the
 * ways that every sidecar needs; each SessionPolicy that allows more has one of its own, for NetworkPolicies add up. What a policy's author
 * allows is allowed, databases and all: `openedDatabases` says where an address block holds one. Which pods a selector will mean, nobody knows.
 */
import { createHash } from 'node:crypto'
import { addressOf, addressRangeOf, rangeHolds } from '../../../crds/address-range.ts'
import type { NetworkAllow, SessionPolicy } from '../../../crds/session-policy.ts'
import { enforcementLabel } from '../../../injection/inject-pod.ts'
import { apiVersionOf, resources } from '../../../cluster/resources.ts'
import { publicBlocksWithout } from './public-ranges.ts'
import { stenoPort, type NetworkPeer, type NetworkSettings } from './settings.ts'

type Port = { readonly protocol: 'TCP' | 'UDP' | 'SCTP'; readonly port?: number | string; readonly endPort?: number }
type EgressRule = { readonly to: readonly NetworkPeer[]; readonly ports?: readonly Port[] }
type Selector = SessionPolicy['spec']['selector']

/** networking.k8s.io/v1, as it is applied. */
export type NetworkPolicyObject = {
  readonly apiVersion: string
  readonly kind: 'NetworkPolicy'
  readonly metadata: {
    readonly name: string
    readonly namespace: string
    readonly labels: Readonly<Record<string, string>>
    readonly ownerReferences?: readonly {
      readonly apiVersion: string
      readonly kind: string
      readonly name: string
      readonly uid: string
      readonly controller: true
    }[]
  }
  readonly spec: { readonly podSelector: Selector; readonly policyTypes: readonly ['Egress']; readonly egress: readonly EgressRule[] }
}

/** Addresses of a database's host as they were found last; null while nobody has looked. */
export type AddressesOf = (host: string) => readonly string[] | null

export type NetworkFacts = {
  readonly namespace: string
  /** Of the namespace, with what the API server calls them by. */
  readonly policies: readonly { readonly uid: string; readonly policy: SessionPolicy }[]
  readonly addressesOf: AddressesOf
  readonly settings: NetworkSettings
}

export const ownLabels = { 'app.kubernetes.io/managed-by': 'steno', 'app.kubernetes.io/part-of': 'steno' } as const
export const ownSelector = 'app.kubernetes.io/managed-by=steno'
export const egressPolicyName = 'steno-egress'
const allowPrefix = 'steno-allow-'
/** Of names: some enforcers write them into labels. */
const nameCharactersMax = 63
const hashCharacters = 8
/** More databases with public addresses than this, and the preset stays closed: an object of the API server has its limits. */
export const databaseAddressesMax = 1_000

/** Whether the name is one that steno gives. */
export function isOwnName(name: string): boolean {
  return name === egressPolicyName || name.startsWith(allowPrefix)
}

/** By name. */
export function networkPoliciesOf({ namespace, policies, addressesOf, settings }: NetworkFacts): NetworkPolicyObject[] {
  const isAsked = policies.some(({ policy }) => policy.spec.network.allow.some(({ preset }) => preset !== undefined))
  const closed = isAsked ? closedFor(policies, addressesOf) : null
  return [
    objectOf({ namespace, name: egressPolicyName, selector: {}, egress: standardEgress(settings) }),
    ...policies.flatMap(({ uid, policy }) => {
      const { metadata, spec } = policy
      if (spec.network.allow.length === 0) return []
      const egress = spec.network.allow.flatMap((entry) => rulesOf(entry, closed, settings))
      const owner = {
        apiVersion: apiVersionOf(resources.sessionPolicies),
        kind: 'SessionPolicy',
        name: metadata.name,
        uid,
        controller: true,
      } as const
      return [objectOf({ namespace, name: allowName(metadata.name), selector: spec.selector, egress, owner })]
    }),
  ].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
}

export function allowName(policy: string): string {
  const name = `${allowPrefix}${policy}`
  if (name.length <= nameCharactersMax) return name
  const digest = createHash('sha256').update(policy).digest('hex').slice(0, hashCharacters)
  return `${name.slice(0, nameCharactersMax - hashCharacters - 1).replace(/[^a-z0-9]+$/, '')}-${digest}`
}

/** Whether what the policy allows hangs on addresses of databases: it has an address block, or the preset. */
export function needsAddresses({ spec }: SessionPolicy): boolean {
  return spec.network.allow.some(({ preset, to }) => preset !== undefined || to?.some(({ ipBlock }) => ipBlock !== undefined) === true)
}

/** Databases that address blocks of the policy's own entries open, as sentences; those that selectors of pods may open are not known. */
export function openedDatabases(policy: SessionPolicy, policies: readonly SessionPolicy[], addressesOf: AddressesOf): string[] {
  const databases = policies.flatMap(({ spec }) => spec.databases)
  return policy.spec.network.allow.flatMap(({ to = [], ports }, entry) =>
    to.flatMap(({ ipBlock }, peer) => {
      if (ipBlock === undefined) return []
      return databases.flatMap(({ name, hosts, port }) => {
        if (!allowsPort(ports, port)) return []
        const found = hosts.flatMap((host) => addressesOf(host) ?? []).find((address) => holds(ipBlock, address))
        return found === undefined ? [] : [`network.allow[${entry}].to[${peer}] holds ${found}, an address of database ${name}`]
      })
    }),
  )
}

function holds({ cidr, except = [] }: NonNullable<NetworkPeer['ipBlock']>, text: string): boolean {
  const address = addressOf(text)
  const isIn = (range: string): boolean => {
    const block = addressRangeOf(range)
    return address !== null && block !== null && rangeHolds(block, address)
  }
  return isIn(cidr) && !except.some(isIn)
}

function allowsPort(ports: NetworkAllow['ports'], wanted: number): boolean {
  if (ports === undefined || ports.length === 0) return true
  return ports.some(({ protocol, port, endPort }) => {
    if (protocol !== 'TCP') return false
    // A name means a port of the pods that are reached, which may be any.
    if (port === undefined || typeof port === 'string') return true
    return port <= wanted && wanted <= (endPort ?? port)
  })
}

/** Null while it is not known what to close, or when it is too much. */
function closedFor(policies: NetworkFacts['policies'], addressesOf: AddressesOf): readonly string[] | null {
  const found = hostsOf(policies.map(({ policy }) => policy)).map(addressesOf)
  if (found.includes(null)) return null
  const addresses = [...new Set(found.flatMap((some) => some ?? []))]
  return addresses.length > databaseAddressesMax ? null : addresses
}

function hostsOf(policies: readonly SessionPolicy[]): string[] {
  return [...new Set(policies.flatMap(({ spec }) => spec.databases.flatMap(({ hosts }) => hosts)))].sort()
}

function rulesOf({ preset, to, ports }: NetworkAllow, closed: readonly string[] | null, { closedRanges }: NetworkSettings): EgressRule[] {
  if (preset === undefined) return to === undefined ? [] : [{ to, ...(ports === undefined ? {} : { ports }) }]
  switch (preset) {
    case 'internet-https': {
      if (closed === null) return []
      const peers = publicBlocksWithout([...closedRanges, ...closed]).map(({ cidr, except }) => ({
        ipBlock: { cidr, except: [...except] },
      }))
      return [{ to: peers, ports: [{ protocol: 'TCP', port: 443 }] }]
    }
    default:
      return preset satisfies never
  }
}

function standardEgress({ stenoNamespace, dnsPeers, dnsPorts }: NetworkSettings): EgressRule[] {
  const component = (name: string): NetworkPeer => ({
    namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': stenoNamespace } },
    podSelector: { matchLabels: { 'app.kubernetes.io/name': 'steno', 'app.kubernetes.io/component': name } },
  })
  const dns: EgressRule = {
    to: dnsPeers,
    ports: dnsPorts.flatMap((port): Port[] => [
      { protocol: 'UDP', port },
      { protocol: 'TCP', port },
    ]),
  }
  return [
    { to: [component('relay'), component('control')], ports: [{ protocol: 'TCP', port: stenoPort }] },
    // A rule without peers would open every way.
    ...(dnsPeers.length === 0 || dnsPorts.length === 0 ? [] : [dns]),
  ]
}

type Parts = {
  readonly namespace: string
  readonly name: string
  readonly selector: Selector
  readonly egress: readonly EgressRule[]
  readonly owner?: NonNullable<NetworkPolicyObject['metadata']['ownerReferences']>[number]
}

function objectOf({ namespace, name, selector, egress, owner }: Parts): NetworkPolicyObject {
  const isClosed = { key: enforcementLabel, operator: 'In' as const, values: ['Relay'] }
  return {
    apiVersion: apiVersionOf(resources.networkPolicies),
    kind: 'NetworkPolicy',
    metadata: { name, namespace, labels: ownLabels, ...(owner === undefined ? {} : { ownerReferences: [owner] }) },
    spec: {
      podSelector: { ...selector, matchExpressions: [...(selector.matchExpressions ?? []), isClosed] },
      policyTypes: ['Egress'],
      egress,
    },
  }
}
