/**
 * Where a tunnel may lead: host and port on the pod's policy, within the ceiling of each ClusterSessionPolicy that is for its namespace.
 *
 * Pure. Names are checked before they are resolved, addresses behind them afterwards. A ceiling that lists address ranges holds for what names
 * lead to as well; one that lists none speaks of names alone.
 */
import type { ClusterSessionPolicy } from '../crds/cluster-session-policy.ts'
import { addressOf } from '../crds/address-range.ts'
import { ceilingAdmits, hostMatches, saysWhole } from '../crds/host-pattern.ts'
import type { MergedPolicy } from '../crds/merge.ts'
import { textOf, type AddressForms } from './address-forms.ts'

/** `host` is a name or an address without brackets, as the sidecar asked for it. */
export type Target = { readonly database: string; readonly host: string; readonly port: number }

export type Ceiling = ClusterSessionPolicy['spec']['ceiling']

/** What decides: of the pod's merged policy, and of the cluster. */
export type TargetRules = { readonly databases: MergedPolicy['databases']; readonly ceilings: readonly Ceiling[] }

/** Why the target is not allowed, as a sentence; null when it is. */
export function faultOfTarget({ database: name, host, port }: Target, { databases, ceilings }: TargetRules): string | null {
  const database = databases.find((candidate) => candidate.name === name)
  if (database === undefined) return `no policy of the pod has a database \`${name}\``
  if (database.port !== port) return `database \`${name}\` is at port ${database.port}, not ${port}`
  if (!database.hosts.some((pattern) => hostMatches(pattern, host))) return `database \`${name}\` has no host \`${host}\``
  if (!ceilings.every((ceiling) => ceilingAdmits(ceiling, host))) return `host \`${host}\` is beyond the cluster’s ceiling`
  return null
}

/**
 * The name that is resolved: with a dot at its end where a pattern that covers it says so. Without one it is tried with the pod's namespace
 * behind it first, where whoever makes pods and Services can make such a name.
 */
export function nameToResolve({ database: name, host }: Target, { databases }: TargetRules): string {
  const patterns = databases.find((candidate) => candidate.name === name)?.hosts.filter((pattern) => hostMatches(pattern, host)) ?? []
  return !host.endsWith('.') && addressOf(host) === null && patterns.some(saysWhole) ? `${host}.` : host
}

/** True when each ceiling admits the address that a name leads to, in every form of it. */
export function ceilingsAdmitAddress({ ceilings }: TargetRules, { address, embedded }: AddressForms): boolean {
  const texts = [address, ...embedded].map(textOf)
  return ceilings.every((ceiling) => ceiling.addressRanges.length === 0 || texts.every((text) => ceilingAdmits(ceiling, text)))
}

/** `host:port`, IPv6 in brackets. */
export function nameOfTarget({ host, port }: Pick<Target, 'host' | 'port'>): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
