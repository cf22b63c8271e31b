/**
 * Whether a real connection is one that the policy allows: each host, its port, the database, and how the way there is protected.
 *
 * Pure; resolves no name. A host that is allowed by name may resolve to any address: with `verify-full` the certificate says who is there.
 */
import { isIP } from 'node:net'
import type { Listener } from '../../crds/sidecar-config.ts'
import type { SslMode, UpstreamHost } from '../../postgres/connection-string.ts'
import { sameAddress } from '../upstream/host-name.ts'
import type { Problem } from './source.ts'

/** From the weakest to the strictest, as libpq's documentation orders them. */
const modes: readonly SslMode[] = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full']

export type RealConnection = {
  readonly hosts: readonly UpstreamHost[]
  readonly database: string | null
  /** As it was written; null where nothing was said, which leaves it to the policy. */
  readonly sslMode: SslMode | null
}

/** The policy's mode, or what was written where that is stricter. What nobody wrote is libpq's own default. */
export function effectiveMode(floor: SslMode, written: SslMode | null): SslMode {
  const asked = written ?? 'prefer'
  return modes.indexOf(asked) > modes.indexOf(floor) ? asked : floor
}

/** What does not fit; empty when all does. `mayBeShown`: whether the messages may name host, port and database. */
export function problemsOf(
  { hosts, database, sslMode }: RealConnection,
  { allowed, tls }: Pick<Listener, 'allowed' | 'tls'>,
  { mayBeShown }: { readonly mayBeShown: boolean },
): Problem[] {
  const problems: Problem[] = []
  const named = (what: string, value: string | number): string =>
    mayBeShown ? `${what} ${JSON.stringify(value)}` : `a ${what} (not shown)`
  for (const { name, address, port } of hosts) {
    if (/^[/@]/.test(name)) {
      problems.push({ what: 'it names no host, or a Unix socket', remedy: `Name one of the policy's hosts: ${listed(allowed.hosts)}.` })
      continue
    }
    // What a name beside hostaddr says is only what the certificate is compared with.
    for (const host of [name, address ?? ''].filter((each) => each !== '')) {
      if (hostIsAllowed(host, allowed.hosts)) continue
      problems.push({
        what: `it leads to ${named('host', host)}, and the policy allows ${listed(allowed.hosts)}`,
        remedy: 'Correct the connection string, or have the host added to `hosts` of the SessionPolicy.',
      })
    }
    if (port !== allowed.port) {
      problems.push({
        what: `it leads to ${named('port', port)}, and the policy allows ${allowed.port}`,
        remedy: 'Correct the connection string, or have `port` of the SessionPolicy changed.',
      })
    }
  }
  if (database !== null && !allowed.databaseNames.includes(database)) {
    problems.push({
      what: `it opens ${named('database', database)}, and the policy allows ${listed(allowed.databaseNames)}`,
      remedy: 'Correct the connection string, or have the database added to `databaseNames` of the SessionPolicy.',
    })
  }
  if (sslMode !== null && modes.indexOf(sslMode) < modes.indexOf(tls.mode)) {
    problems.push({
      what: `it says sslmode=${sslMode}, and the policy demands ${tls.mode}`,
      remedy: `Remove sslmode from the connection string, or write ${tls.mode} or stricter.`,
    })
  }
  return problems
}

/** `*.example.com` is every name below, at any depth; an address is the same however it is written; case does not matter. */
export function hostIsAllowed(host: string, allowed: readonly string[]): boolean {
  return allowed.some((each) => covers(each, host))
}

/**
 * Whether a host of the policy that covers the name ends with a dot, which says that such names are whole. Without one a name is first looked
 * for in the pod's own file of hosts and in its namespace, where whoever makes pods and Services can make such a name.
 */
export function isWholeName(host: string, allowed: readonly string[]): boolean {
  return isIP(plain(host)) === 0 && allowed.some((each) => each.endsWith('.') && covers(each, host))
}

function covers(allowed: string, host: string): boolean {
  const name = plain(host)
  const pattern = plain(allowed)
  if (isIP(name) !== 0) return !name.includes('%') && isIP(pattern) !== 0 && sameAddress(pattern, name)
  if (!/^[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?$/.test(name)) return false
  return pattern.startsWith('*.') ? name.endsWith(pattern.slice(1)) && name.length >= pattern.length : name === pattern
}

/** A dot at the end says that the name is complete; brackets are how URLs write IPv6. */
function plain(host: string): string {
  return host
    .toLowerCase()
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '')
}

function listed(names: readonly string[]): string {
  const shown = names.slice(0, namesShownMax).join(', ')
  return names.length > namesShownMax ? `${shown} and ${names.length - namesShownMax} more` : shown
}

const namesShownMax = 5
