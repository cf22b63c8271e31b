/**
 * From what moved here of an agent's connection to the way that the proxy takes: always with a user, never with a file of another container.
 *
 * The policy's authority is the one that the database's certificate must come from, whatever the connection string names; without one the
 * public authorities are.
 */
import { X509Certificate } from 'node:crypto'
import { messageOf } from '../../base/errors.ts'
import type { Listener } from '../../crds/sidecar-config.ts'
import { keywordText } from '../../postgres/connection-forms/keyword-form.ts'
import { BadConnectionString, parseConnectionString, type ConnectionSettings, type SslMode } from '../../postgres/connection-string.ts'
import { effectiveMode, isWholeName, problemsOf } from './allowed.ts'
import { readSource, type Problem } from './source.ts'

export type PodUpstream =
  | { readonly kind: 'fits'; readonly settings: ConnectionSettings; readonly warnings: readonly string[] }
  | { readonly kind: 'unfit'; readonly problems: readonly Problem[] }

const sslModes: readonly SslMode[] = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full']
/** They name files, and those of the agent's container are not here. */
const fileKeywords = ['passfile', 'sslcert', 'sslkey', 'sslcrl', 'sslcrldir'] as const

export function podUpstream(listener: Listener, values: ReadonlyMap<string, string>): PodUpstream {
  const source = readSource(listener, values)
  if (source.kind === 'unreadable') return { kind: 'unfit', problems: [source.problem] }
  const keywords = new Map(source.keywords)
  const warnings: string[] = []
  const problems: Problem[] = []
  for (const keyword of fileKeywords.filter((each) => keywords.has(each))) {
    problems.push({
      what: `it names a file by ${keyword}, which the sidecar does not have`,
      remedy: 'Use a user with a password (SCRAM), written into the connection string or a variable of its own.',
    })
    keywords.delete(keyword)
  }
  const authority = authorityOf(listener, keywords.get('sslrootcert'), values)
  if (authority.kind === 'problem') problems.push(authority.problem)
  else if (authority.replaced) warnings.push('sslrootcert has no effect here: the authority is the one that the SessionPolicy names')
  // sslrootcert=system asks for verify-full by itself.
  const written = asSslMode(keywords.get('sslmode') ?? (keywords.get('sslrootcert') === 'system' ? 'verify-full' : undefined))
  keywords.delete('sslrootcert')
  const mode = effectiveMode(listener.tls.mode, written)
  // A value that is no mode is left for the parser to refuse.
  if (written !== null || !keywords.has('sslmode')) keywords.set('sslmode', mode)
  if (!keywords.has('user')) {
    problems.push({
      what: 'it names no user',
      remedy: 'Write user and password into the connection string: the sidecar signs in at the database, the agent has no credential.',
    })
  }
  if (mode === 'verify-ca' && authority.kind === 'public') {
    problems.push({
      what: 'verify-ca without an authority of its own would take a certificate that anybody can get',
      remedy: 'Name the authority in `tls.ca` of the SessionPolicy, or use verify-full.',
    })
  }
  let parsed: ConnectionSettings
  try {
    parsed = parseConnectionString(keywordText(keywords))
  } catch (error) {
    if (!(error instanceof BadConnectionString)) throw error
    // A password without a user is told above.
    if (error.parameter !== 'user' || keywords.has('user')) problems.push({ what: messageOf(error), remedy: error.remedy })
    return { kind: 'unfit', problems }
  }
  problems.push(...problemsOf({ hosts: parsed.hosts, database: parsed.database, sslMode: written }, listener, source))
  if (problems.length > 0 || authority.kind === 'problem') return { kind: 'unfit', problems }
  warnings.push(...parsed.withoutEffect.map(({ parameter, reason }) => `${parameter} has no effect: ${reason}`))
  const verifies = mode === 'verify-full' || mode === 'verify-ca'
  const rootCertificates =
    authority.kind === 'pem' ? ({ kind: 'pem', text: authority.text } as const) : verifies ? ({ kind: 'public' } as const) : null
  const hosts = parsed.hosts.map((host) => (isWholeName(host.name, listener.allowed.hosts) ? { ...host, isWhole: true as const } : host))
  const database = parsed.database ?? listener.allowed.databaseNames[0]!
  return { kind: 'fits', settings: { ...parsed, hosts, database, tls: { ...parsed.tls, rootCertificates } }, warnings }
}

type Authority =
  | { readonly kind: 'pem'; readonly text: string; readonly replaced: boolean }
  | { readonly kind: 'public'; readonly replaced: false }
  | { readonly kind: 'problem'; readonly problem: Problem }

function authorityOf({ tls: { caVariable } }: Listener, named: string | undefined, values: ReadonlyMap<string, string>): Authority {
  if (caVariable === null) {
    if (named === undefined || named === 'system') return { kind: 'public', replaced: false }
    return problem(
      'it names a file of certificates by sslrootcert, which the sidecar does not have',
      'Have the authority named in `tls.ca` of the SessionPolicy, and remove sslrootcert.',
    )
  }
  const text = values.get(caVariable) ?? ''
  const blocks = text.match(/-----BEGIN (?:TRUSTED )?CERTIFICATE-----[^-]*-----END (?:TRUSTED )?CERTIFICATE-----/g) ?? []
  try {
    for (const block of blocks) readCertificate(block)
  } catch (error) {
    return problem(
      `${caVariable} holds a certificate that cannot be read: ${messageOf(error)}`,
      'Put PEM under the key that `tls.ca` of the SessionPolicy names.',
    )
  }
  if (blocks.length === 0)
    return problem(`${caVariable} holds no certificate`, 'Put PEM under the key that `tls.ca` of the SessionPolicy names.')
  return { kind: 'pem', text: blocks.join('\n'), replaced: named !== undefined }
}

/** @throws what OpenSSL says */
const readCertificate = (pem: string): X509Certificate => new X509Certificate(pem)

function problem(what: string, remedy: string): Authority {
  return { kind: 'problem', problem: { what, remedy } }
}

function asSslMode(text: string | undefined): SslMode | null {
  return sslModes.find((mode) => mode === text) ?? null
}
