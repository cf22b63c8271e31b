/**
 * Hosts as policies write them: a name, `*.example.com`, or an address; and whether a host, or another pattern, is covered by one.
 *
 * Names compare without case and without the dot at their end, which says that a name is whole; addresses compare by value, so `fd00::5` and `FD00:0::5` are one.
 * A wildcard covers names below it at any depth, never the name itself and never an address. Resolves nothing. Loads no package, so the
 * sidecar may use it.
 */
import { addressOf, addressRangeOf, rangeHolds } from './address-range.ts'

const label = '[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?'
const namePattern = new RegExp(`^([*][.])?(${label}[.])*${label}[.]?$`)
const charactersMax = 253

/** True when `pattern` may stand in a policy's list of hosts. */
export function isHostPattern(pattern: string): boolean {
  if (pattern.length > charactersMax) return false
  return addressOf(pattern) !== null || (namePattern.test(pattern) && !/^[0-9.]+$/.test(pattern))
}

/** True when `pattern` covers `host`. `host` may be an IPv6 address in brackets, as URLs write it. `*` covers every name. */
export function hostMatches(pattern: string, host: string): boolean {
  const asked = normal(host)
  const wanted = normal(pattern)
  const askedAddress = addressOf(asked)
  const wantedAddress = addressOf(wanted)
  if (askedAddress !== null || wantedAddress !== null) {
    return askedAddress?.bits === wantedAddress?.bits && askedAddress?.value === wantedAddress?.value
  }
  if (!isHostPattern(asked) || asked.startsWith('*')) return false
  if (wanted === '*') return true
  if (wanted.startsWith('*.')) return asked.endsWith(wanted.slice(1))
  return asked === wanted
}

/** True when every host that `pattern` covers is within a ceiling of hosts and address ranges. */
export function ceilingAdmits(
  ceiling: { readonly hosts: readonly string[]; readonly addressRanges: readonly string[] },
  pattern: string,
): boolean {
  const address = addressOf(normal(pattern))
  if (address !== null) {
    const inRange = ceiling.addressRanges.some((text) => {
      const range = addressRangeOf(text)
      return range !== null && rangeHolds(range, address)
    })
    return inRange || ceiling.hosts.some((host) => hostMatches(host, pattern))
  }
  return ceiling.hosts.some((host) => coversPattern(normal(host), normal(pattern)))
}

/** Both without case. */
function coversPattern(outer: string, inner: string): boolean {
  if (!inner.startsWith('*.')) return hostMatches(outer, inner)
  if (outer === '*') return true
  return outer.startsWith('*.') && (inner === outer || inner.endsWith(outer.slice(1)))
}

/** Whether a pattern says of the hosts that it covers that their names are whole: they are then resolved as they stand, never with more behind. */
export function saysWhole(pattern: string): boolean {
  return pattern.endsWith('.')
}

/** The form in which patterns and hosts are compared. */
export function normal(host: string): string {
  const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host
  return (bare.endsWith('.') ? bare.slice(0, -1) : bare).toLowerCase()
}
