/** The checks of the way to the database: each host's name, address, port and certificate, the sign-in, the server's version and clock. */
import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import net from 'node:net'
import type { ConnectionSettings, UpstreamHost } from '../../postgres/connection-string.ts'
import { shownDuration } from '../times.ts'
import { lookAtCertificate } from './certificate.ts'
import { check, failed, ok, skipped, warning, type CheckResult, type Finding } from './check.ts'
import { reach, signIn, type SignedIn } from './trial-proxy.ts'

const dayMilliseconds = 24 * 60 * 60 * 1000
const certificateWarningDays = 14
/** Statements are read beside the server's own log; from here on the two are hard to lay side by side. */
const clockWarningMilliseconds = 1_000
const clockFailedMilliseconds = 60_000
/** Majors that steno's tests run against. */
const versionsTested = { oldest: 15, newest: 18 } as const

export type UpstreamOptions = { readonly allowCleartextPassword: boolean; readonly millisecondsMax: number }

export async function* upstreamChecks(upstream: ConnectionSettings, options: UpstreamOptions): AsyncGenerator<CheckResult> {
  const reachable: UpstreamHost[] = []
  for (const host of upstream.hosts) {
    let hostFailed = false
    for await (const result of hostChecks(host, upstream, options)) {
      hostFailed ||= result.status === 'failed' && (result.check === 'resolve' || result.check === 'connect')
      yield result
    }
    if (!hostFailed) reachable.push(host)
  }
  if (reachable.length === 0) {
    const nowhere = skipped('no host can be reached')
    yield { check: 'sign-in', target: null, milliseconds: 0, ...nowhere }
    return
  }
  yield* sessionChecks(upstream, reachable, options)
}

const targetOf = ({ name, address, port }: UpstreamHost): string => `${name === '' ? (address ?? '') : name}:${port}`
const isSocketFolder = ({ name, address }: UpstreamHost): boolean => address === null && /^[/@]/.test(name)
const isLoopback = (address: string): boolean => address === '::1' || address.startsWith('127.')

async function* hostChecks(
  host: UpstreamHost,
  upstream: ConnectionSettings,
  { millisecondsMax }: UpstreamOptions,
): AsyncGenerator<CheckResult> {
  const target = targetOf(host)
  if (isSocketFolder(host)) {
    const path = `${host.name}/.s.PGSQL.${host.port}`
    const at = { target, millisecondsMax, remedy: 'Check that the server runs and that this user may enter the socket’s folder.' }
    yield await check('connect', at, async (signal) => {
      await connected({ path: path.startsWith('@') ? `\0${path.slice(1)}` : path }, signal)
      return ok(`connected by the socket in ${host.name}`)
    })
    return
  }
  const addresses: string[] = []
  const name = host.address ?? host.name
  yield await check('resolve', { target, millisecondsMax, remedy: 'Check the name’s spelling, and this machine’s DNS.' }, async () => {
    if (net.isIP(name) !== 0) addresses.push(name)
    else addresses.push(...(await lookup(name, { all: true })).map(({ address }) => address))
    return ok(addresses.join(', '))
  })
  const [first] = addresses
  if (first === undefined) return
  let reached: string | null = null
  yield await check(
    'connect',
    {
      target,
      millisecondsMax,
      remedy: 'Check that the server runs and listens on this address and port, and that no firewall is in between.',
    },
    async (signal) => {
      const reasons: string[] = []
      for (const address of addresses) {
        try {
          await connected({ host: address, port: host.port }, signal)
          reached = address
          break
        } catch (error) {
          reasons.push(`${address}: ${error instanceof Error ? error.message : String(error)}`)
        }
      }
      if (reached === null) throw new Error(reasons.join('; '))
      return reasons.length === 0
        ? ok(`connected to ${reached}`)
        : warning(
            `connected to ${reached}, but not to all addresses: ${reasons.join('; ')}`,
            'Every connection tries the addresses in turn: take those that nobody answers out of the DNS.',
          )
    },
  )
  if (reached === null) return
  yield await certificateCheck(host, reached, upstream, millisecondsMax)
}

async function connected(place: net.NetConnectOpts, signal: AbortSignal): Promise<void> {
  const socket = net.connect(place)
  socket.on('error', () => undefined) // The wait below tells of it, unless the time was up before.
  try {
    await once(socket, 'connect', { signal })
  } finally {
    socket.destroy()
  }
}

function certificateCheck(
  host: UpstreamHost,
  address: string,
  { tls: settings }: ConnectionSettings,
  millisecondsMax: number,
): Promise<CheckResult> {
  const at = {
    target: targetOf(host),
    millisecondsMax,
    remedy: 'Check ssl, ssl_cert_file and ssl_key_file in the server’s postgresql.conf.',
  }
  return check('certificate', at, async (signal) => {
    if (settings.mode === 'disable') return plainFinding(`sslmode=disable: nothing is encrypted`, address)
    const shown = await lookAtCertificate({ address, port: host.port, name: host.name, negotiation: settings.negotiation }, signal)
    if (shown.kind === 'no TLS') {
      if (settings.mode === 'prefer' || settings.mode === 'allow')
        return plainFinding(`the server has no TLS, and sslmode=${settings.mode} goes on without`, address)
      return failed(
        `the server has no TLS, which sslmode=${settings.mode} demands`,
        'Set ssl = on with a certificate in the server’s postgresql.conf.',
      )
    }
    return expiryFinding(shown, settings.mode)
  })
}

function plainFinding(what: string, address: string): Finding {
  if (isLoopback(address)) return ok(`${what}; it stays on this machine`)
  return warning(what, 'Use sslmode=verify-full: everything between steno and the database can be read and changed on the way.')
}

type ShownCertificate = Extract<Awaited<ReturnType<typeof lookAtCertificate>>, { kind: 'certificate' }>

export function expiryFinding(
  { subject, validFrom, validTo, protocol }: ShownCertificate,
  mode: string,
  now: number = Date.now(),
): Finding {
  const days = Math.floor((validTo.getTime() - now) / dayMilliseconds)
  const until = validTo.toISOString().slice(0, 10)
  const certificate = `the certificate of ${subject}`
  const renew = 'Renew the server’s certificate and reload the server.'
  // Without verification an expired one still connects.
  const verifies = mode === 'verify-ca' || mode === 'verify-full'
  const outside = verifies ? failed : warning
  if (now < validFrom.getTime())
    return outside(`${certificate} is valid only from ${validFrom.toISOString()} on`, 'Check the clocks of this machine and of the server.')
  if (days < 0) return outside(`${certificate} expired on ${until}`, renew)
  if (days < certificateWarningDays) return warning(`${certificate} expires on ${until}, in ${days} days`, renew)
  return ok(`${protocol}, ${certificate} until ${until}${verifies ? '' : ` (not verified: sslmode=${mode})`}`)
}

async function* sessionChecks(
  upstream: ConnectionSettings,
  reachable: readonly UpstreamHost[],
  options: UpstreamOptions,
): AsyncGenerator<CheckResult> {
  const { millisecondsMax, allowCleartextPassword } = options
  const remedy = 'Look at the server’s log.'
  if (upstream.user === null) {
    for (const host of reachable) {
      yield await check('reach', { target: targetOf(host), millisecondsMax, remedy }, async (signal) => {
        await reach({ ...upstream, hosts: [host] }, { allowCleartextPassword, signal })
        return ok(`the server answers, encrypted as sslmode=${upstream.tls.mode} says`)
      })
    }
    yield {
      check: 'sign-in',
      target: null,
      milliseconds: 0,
      ...skipped('pass-through: agents bring their own credential, steno has none to try'),
    }
    return
  }
  let last: SignedIn | null = null
  for (const host of reachable) {
    let one: SignedIn | null = null
    yield await check('sign-in', { target: targetOf(host), millisecondsMax, remedy }, async (signal) => {
      one = await signIn({ ...upstream, hosts: [host], targetSessionAttributes: 'any' }, { allowCleartextPassword, signal })
      return signedInFinding(one, upstream)
    })
    if (one === null) continue
    last = one
    yield* serverFindings(one, targetOf(host))
  }
  if (last === null || (upstream.hosts.length === 1 && upstream.targetSessionAttributes === 'any')) return
  yield await check('choice of host', { millisecondsMax: millisecondsMax * upstream.hosts.length, remedy }, async (signal) => {
    const { host, port } = await signIn(upstream, { allowCleartextPassword, signal })
    return ok(`of ${upstream.hosts.length}, agents get ${host}:${port} (target_session_attrs=${upstream.targetSessionAttributes})`)
  })
}

function signedInFinding({ tls }: SignedIn, { user, database }: ConnectionSettings): Finding {
  return ok(`signed in as ${user} to ${database ?? user}, ${tls ?? 'without TLS'}`)
}

function* serverFindings({ serverVersion, clock }: SignedIn, target: string): Generator<CheckResult> {
  yield { check: 'server version', target, milliseconds: 0, ...versionFinding(serverVersion) }
  yield { check: 'server clock', target, milliseconds: 0, ...clockFinding(clock, 'the server’s clock') }
}

export function versionFinding(serverVersion: string): Finding {
  const major = Number(/^\d+/.exec(serverVersion)?.[0] ?? Number.NaN)
  if (Number.isNaN(major))
    return warning(`the server calls its version "${serverVersion}"`, 'Try it out: steno is tested with PostgreSQL itself.')
  if (major >= versionsTested.oldest && major <= versionsTested.newest) return ok(`PostgreSQL ${serverVersion}`)
  const tested = `steno is tested with PostgreSQL ${versionsTested.oldest} to ${versionsTested.newest}`
  return warning(
    `PostgreSQL ${serverVersion}; ${tested}`,
    major < versionsTested.oldest ? 'Upgrade the server.' : 'Look for a later release of steno.',
  )
}

/** Also for the store's clock. */
export function clockFinding({ aheadMilliseconds, errorMilliseconds }: SignedIn['clock'], whose: string): Finding {
  const off = Math.max(0, Math.abs(aheadMilliseconds) - errorMilliseconds)
  const what = `${whose} is ${shownDuration(Math.abs(aheadMilliseconds))} ${aheadMilliseconds < 0 ? 'behind' : 'ahead of'} this machine’s (± ${shownDuration(errorMilliseconds)})`
  const remedy = 'Run a time service (NTP) on both machines: the times in recordings are this machine’s.'
  if (off > clockFailedMilliseconds) return failed(what, remedy)
  return off > clockWarningMilliseconds ? warning(what, remedy) : ok(what)
}
