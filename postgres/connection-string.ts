/**
 * What a connection string asks for, read as libpq reads it: PostgreSQL's URL form and its keyword/value form.
 *
 * Reads no file and no clock: files are named here and opened when a connection is made. Differs from libpq on purpose in three ways:
 * the user is never guessed from the operating system (a string without one means pass-through), PGUSER is not read, and a parameter that
 * steno cannot honour is refused or listed in `withoutEffect`.
 * Source: PostgreSQL documentation, "Database Connection Control Functions".
 */
import { Secret } from './authentication/secret.ts'
import { keywords } from './connection-string-keywords.ts'
import { BadConnectionString, splitConnectionString } from './connection-string-text.ts'

export { BadConnectionString } from './connection-string-text.ts'

/** One server to try. `name` is a host name, an address, or a Unix socket's folder (`/…`) or abstract name (`@…`); empty with hostaddr alone. */
export type UpstreamHost = {
  readonly name: string
  /** The address to connect to without a name lookup (hostaddr), or null. */
  readonly address: string | null
  readonly port: number
  /** The name is looked up as it stands, as if it ended with a dot, and never in a search list. Absent: as it is written. */
  readonly isWhole?: true
}

const sslModes = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const
const tlsVersions = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const
const sessionAttributes = ['any', 'read-write', 'read-only', 'primary', 'standby', 'prefer-standby'] as const
const authenticationMethods = ['password', 'md5', 'gss', 'sspi', 'scram-sha-256', 'oauth', 'none'] as const
export type SslMode = (typeof sslModes)[number]
export type TlsVersion = (typeof tlsVersions)[number]
export type TargetSessionAttributes = (typeof sessionAttributes)[number]
export type AuthenticationMethod = (typeof authenticationMethods)[number]

export type TlsSettings = {
  readonly mode: SslMode
  readonly negotiation: 'postgres' | 'direct'
  /**
   * Root certificates: a file, the system's own, or null for the default file if there is one. What no connection string can say: PEM
   * that is at hand, and `public`, the system's or, where it has none, those that Node was built with.
   */
  readonly rootCertificates:
    | { readonly kind: 'file'; readonly path: string }
    | { readonly kind: 'system' }
    | { readonly kind: 'pem'; readonly text: string }
    | { readonly kind: 'public' }
    | null
  readonly certificate: string | null
  readonly key: string | null
  readonly keyPassword: Secret | null
  readonly certificateMode: 'disable' | 'allow'
  readonly revocationList: string | null
  readonly revocationFolder: string | null
  readonly serverNameIndication: boolean
  readonly minimumVersion: TlsVersion
  readonly maximumVersion: TlsVersion
  /** `~/.postgresql`, where libpq looks for root.crt, root.crl, postgresql.crt and postgresql.key; null without a home folder. */
  readonly defaultFolder: string | null
}

export type ConnectionSettings = {
  /** At least one, in the order to be tried. */
  readonly hosts: readonly UpstreamHost[]
  readonly database: string | null
  /** Null means pass-through: whoever connects signs in as themselves. */
  readonly user: string | null
  readonly password: Secret | null
  /** A password file to look into when `password` is null. */
  readonly passwordFile: string | null
  readonly options: string | null
  readonly applicationName: string | null
  readonly fallbackApplicationName: string | null
  readonly clientEncoding: string | null
  /** Per address tried, from the first packet to the end of the start-up; 0 waits without end. 10 s unless the string says otherwise. */
  readonly connectTimeoutMilliseconds: number
  readonly keepalive: {
    readonly enabled: boolean
    readonly idleMilliseconds: number
    readonly intervalMilliseconds: number
    readonly count: number
  }
  readonly tls: TlsSettings
  readonly channelBinding: 'disable' | 'prefer' | 'require'
  /** The methods by which the server may ask us to sign in; `none` is a server that asks nothing. Null allows all. */
  readonly allowedAuthentication: ReadonlySet<AuthenticationMethod> | null
  readonly targetSessionAttributes: TargetSessionAttributes
  readonly loadBalanceHosts: boolean
  /** Minor version of protocol 3 to ask for, and the least to be content with. */
  readonly protocolMinor: { readonly wanted: 0 | 2; readonly least: 0 | 2 }
  /** Parameters that were given and do nothing here, each with the reason: worth a line in the log at start. */
  readonly withoutEffect: readonly { readonly parameter: string; readonly reason: string }[]
}

/** libpq waits without end by default; a proxy whose client waits behind it should not. */
const connectTimeoutMillisecondsDefault = 10_000
const portDefault = 5432
/** libpq's compiled-in folder differs by packager: Debian's and Red Hat's, then PostgreSQL's own. */
const socketFolders = ['/var/run/postgresql', '/tmp']
const longestHostList = 64

/**
 * @param environment where PG* variables and HOME are looked up, as libpq does; nothing is read from the process
 * @throws BadConnectionString
 */
export function parseConnectionString(text: string, environment: Readonly<Record<string, string | undefined>> = {}): ConnectionSettings {
  const values = gather(text, environment)
  const given = (keyword: string): string | null => values.get(keyword) || null
  const secret = (keyword: string): Secret | null => {
    const value = given(keyword)
    return value === null ? null : new Secret(value)
  }
  const defaultFolder = environment['HOME'] ? `${environment['HOME']}/.postgresql` : null
  const user = given('user')
  if (user === null && splitConnectionString(text).some(({ keyword, value }) => keyword === 'password' && value !== '')) {
    throw new BadConnectionString('it has a password but no user', {
      parameter: 'user',
      remedy: 'Name the user whose password it is, or leave the password out for pass-through.',
    })
  }
  choice(values, 'gssencmode', ['disable', 'prefer'], 'prefer', 'steno does not speak GSSAPI encryption: use sslmode=verify-full instead.')
  const clientEncoding = given('client_encoding')
  return {
    hosts: hostsOf(values),
    database: given('dbname'),
    user,
    password: secret('password'),
    passwordFile: given('passfile') ?? (environment['HOME'] ? `${environment['HOME']}/.pgpass` : null),
    options: given('options'),
    applicationName: given('application_name'),
    fallbackApplicationName: given('fallback_application_name'),
    clientEncoding: clientEncoding === 'auto' ? null : clientEncoding,
    connectTimeoutMilliseconds: Math.max(0, seconds(values, 'connect_timeout', connectTimeoutMillisecondsDefault)),
    keepalive: {
      enabled: integer(values, 'keepalives', 1) !== 0,
      // 60 s: shorter than the idle limits of common load balancers and NAT tables, which would drop the connection silently.
      idleMilliseconds: seconds(values, 'keepalives_idle', 60_000) || 60_000,
      intervalMilliseconds: seconds(values, 'keepalives_interval', 10_000) || 10_000,
      count: integer(values, 'keepalives_count', 6) || 6,
    },
    tls: tlsOf(values, { given, secret, defaultFolder }),
    channelBinding: choice(values, 'channel_binding', ['disable', 'prefer', 'require'], 'prefer'),
    allowedAuthentication: allowedAuthenticationOf(given('require_auth')),
    targetSessionAttributes: choice(values, 'target_session_attrs', sessionAttributes, 'any'),
    loadBalanceHosts: choice(values, 'load_balance_hosts', ['disable', 'random'], 'disable') === 'random',
    protocolMinor: protocolOf(values),
    withoutEffect: Object.entries(keywords.withoutEffect)
      .filter(([keyword]) => given(keyword) !== null)
      .map(([parameter, reason]) => ({ parameter, reason })),
  }
}

/** A text for logs: where to and as whom, never a password. */
export function redactedText({ hosts, user, password, database, tls }: ConnectionSettings): string {
  const credentials = user === null ? '' : `${encodeURIComponent(user)}${password === null ? '' : ':***'}@`
  const places = hosts.map(({ name, address, port }) => {
    const shown = name === '' ? address! : name
    return `${shown.includes('/') || shown.includes('@') ? encodeURIComponent(shown) : shown.includes(':') ? `[${shown}]` : shown}:${port}`
  })
  return `postgresql://${credentials}${places.join(',')}/${database === null ? '' : encodeURIComponent(database)}?sslmode=${tls.mode}`
}

/** Values by keyword: the string's, else the environment's. */
function gather(text: string, environment: Readonly<Record<string, string | undefined>>): Map<string, string> {
  const values = new Map<string, string>()
  for (const { keyword, value, mayBeNamed } of splitConnectionString(text)) {
    const refusal = Object.hasOwn(keywords.refused, keyword) ? keywords.refused[keyword] : undefined
    if (refusal !== undefined) {
      if (value !== '')
        throw new BadConnectionString(`${keyword} cannot be used: ${refusal.why}`, { remedy: refusal.remedy, parameter: keyword })
    } else if (!Object.hasOwn(keywords.honoured, keyword) && !Object.hasOwn(keywords.withoutEffect, keyword)) {
      const name = mayBeNamed ? ` "${keyword.slice(0, 40).replace(/[^\w.-]/g, '?')}"` : ' behind the password'
      throw new BadConnectionString(`it holds the unknown parameter${name}`, {
        parameter: mayBeNamed ? keyword : null,
        remedy:
          'Check the spelling; in a password, write / @ : & and = percent-encoded (URL form), or put it in single quotes (keyword form).',
      })
    } else values.set(keyword, value)
  }
  for (const [keyword, variable] of Object.entries(keywords.honoured)) {
    const value = variable === null ? undefined : environment[variable]
    if (value !== undefined && value !== '' && !values.has(keyword)) values.set(keyword, value)
  }
  for (const [keyword, { variable, why, remedy }] of Object.entries(keywords.refused)) {
    if (variable !== undefined && environment[variable]) {
      throw new BadConnectionString(`the variable ${variable} (${keyword}) cannot be used: ${why}`, { remedy, parameter: keyword })
    }
  }
  return values
}

function hostsOf(values: ReadonlyMap<string, string>): UpstreamHost[] {
  const list = (keyword: string): string[] => (values.get(keyword) ? values.get(keyword)!.split(',') : [])
  const names = list('host')
  const addresses = list('hostaddr')
  const ports = list('port')
  const count = Math.max(names.length, addresses.length, 1)
  if (count > longestHostList) throw new BadConnectionString(`host names more than ${longestHostList} servers`, { parameter: 'host' })
  if (names.length > 0 && addresses.length > 0 && names.length !== addresses.length) {
    throw new BadConnectionString(`hostaddr has ${addresses.length} values for ${names.length} hosts`, {
      parameter: 'hostaddr',
      remedy: 'Give one address per host.',
    })
  }
  if (ports.length > 1 && ports.length !== count) {
    throw new BadConnectionString(`port has ${ports.length} values for ${count} hosts`, {
      parameter: 'port',
      remedy: 'Give one port for all hosts, or one per host.',
    })
  }
  return Array.from({ length: count }, (_, index): UpstreamHost[] => {
    const name = names[index] ?? ''
    const address = addresses[index] || null
    const port = portOf(ports.length > 1 ? ports[index]! : (ports[0] ?? ''))
    if (name === '' && address === null) return socketFolders.map((folder) => ({ name: folder, address: null, port }))
    return [{ name, address, port }]
  }).flat()
}

function portOf(text: string): number {
  if (text.trim() === '') return portDefault
  const port = wholeNumber(text)
  if (port === null || port < 1 || port > 65_535)
    throw new BadConnectionString('port is not a number from 1 to 65535', { parameter: 'port' })
  return port
}

type Lookup = {
  readonly given: (keyword: string) => string | null
  readonly secret: (keyword: string) => Secret | null
  readonly defaultFolder: string | null
}

function tlsOf(values: ReadonlyMap<string, string>, { given, secret, defaultFolder }: Lookup): TlsSettings {
  const rootCertificates = given('sslrootcert')
  const system = rootCertificates === 'system'
  const mode = choice(values, 'sslmode', sslModes, system ? 'verify-full' : 'prefer')
  if (system && mode !== 'verify-full') {
    throw new BadConnectionString('sslmode is too weak for sslrootcert=system', {
      parameter: 'sslmode',
      remedy: 'Use sslmode=verify-full: anybody can get a certificate that the system trusts.',
    })
  }
  const negotiation = choice(values, 'sslnegotiation', ['postgres', 'direct'], 'postgres')
  if (negotiation === 'direct' && ['disable', 'allow', 'prefer'].includes(mode)) {
    throw new BadConnectionString('sslmode is too weak for sslnegotiation=direct', {
      parameter: 'sslmode',
      remedy: 'Use sslmode=require, verify-ca or verify-full.',
    })
  }
  const key = given('sslkey')
  if (key !== null && /^[a-z0-9]{2,}:/i.test(key)) {
    throw new BadConnectionString('sslkey names a key in a hardware engine, which Node cannot use', {
      parameter: 'sslkey',
      remedy: 'Name a PEM file.',
    })
  }
  const minimumVersion = choice(values, 'ssl_min_protocol_version', tlsVersions, 'TLSv1.2')
  const maximumVersion = choice(values, 'ssl_max_protocol_version', tlsVersions, 'TLSv1.3')
  if (tlsVersions.indexOf(minimumVersion) > tlsVersions.indexOf(maximumVersion)) {
    throw new BadConnectionString('ssl_min_protocol_version is above ssl_max_protocol_version', { parameter: 'ssl_min_protocol_version' })
  }
  return {
    mode,
    negotiation,
    rootCertificates: rootCertificates === null ? null : system ? { kind: 'system' } : { kind: 'file', path: rootCertificates },
    certificate: given('sslcert'),
    key,
    keyPassword: secret('sslpassword'),
    certificateMode: choice(
      values,
      'sslcertmode',
      ['disable', 'allow'],
      'allow',
      'Use disable or allow: Node does not tell whether the server asked for a certificate.',
    ),
    revocationList: given('sslcrl'),
    revocationFolder: given('sslcrldir'),
    serverNameIndication: choice(values, 'sslsni', ['0', '1'], '1') === '1',
    minimumVersion,
    maximumVersion,
    defaultFolder,
  }
}

/** `scram-sha-256,none` allows those; `!md5,!password` allows all others. The two ways cannot be mixed. */
function allowedAuthenticationOf(text: string | null): ReadonlySet<AuthenticationMethod> | null {
  if (text === null) return null
  const bad = (what: string): BadConnectionString =>
    new BadConnectionString(`require_auth ${what}`, {
      parameter: 'require_auth',
      remedy: `Use a comma list of ${authenticationMethods.join(', ')}, all or none of them with "!".`,
    })
  const items = text.split(',').map((item) => item.trim())
  const negated = items[0]!.startsWith('!')
  const named = new Set<AuthenticationMethod>()
  for (const item of items) {
    if (item.startsWith('!') !== negated) throw bad('mixes methods with and without "!"')
    const method = authenticationMethods.find((candidate) => candidate === (negated ? item.slice(1) : item))
    if (method === undefined) throw bad('names an unknown method')
    if (named.has(method)) throw bad(`names ${method} more than once`)
    named.add(method)
  }
  return negated ? new Set(authenticationMethods.filter((method) => !named.has(method))) : named
}

function protocolOf(values: ReadonlyMap<string, string>): { wanted: 0 | 2; least: 0 | 2 } {
  const versions = ['3.0', '3.2', 'latest', ''] as const
  const wanted = choice(values, 'max_protocol_version', versions, '')
  const least = choice(values, 'min_protocol_version', versions, '')
  const minorOf = (version: (typeof versions)[number]): 0 | 2 => (version === '3.0' || version === '' ? 0 : 2)
  // As in libpq, asking for at least 3.2 and nothing else asks for 3.2.
  const result = { wanted: wanted === '' ? minorOf(least) : minorOf(wanted), least: minorOf(least) }
  if (result.least > result.wanted)
    throw new BadConnectionString('min_protocol_version is above max_protocol_version', { parameter: 'min_protocol_version' })
  return result
}

function choice<const Value extends string>(
  values: ReadonlyMap<string, string>,
  keyword: string,
  allowed: readonly Value[],
  otherwise: Value,
  remedy = `Use ${allowed.filter((value) => value !== '').join(', ')}.`,
): Value {
  const text = values.get(keyword)
  if (text === undefined) return otherwise
  const value = allowed.find(
    (candidate) => candidate === text || (keyword.endsWith('_protocol_version') && candidate.toLowerCase() === text.toLowerCase()),
  )
  if (value === undefined) throw new BadConnectionString(`${keyword} has a value that cannot be used`, { parameter: keyword, remedy })
  return value
}

const seconds = (values: ReadonlyMap<string, string>, keyword: string, otherwiseMilliseconds: number): number =>
  values.has(keyword) ? integer(values, keyword, 0) * 1000 : otherwiseMilliseconds

function integer(values: ReadonlyMap<string, string>, keyword: string, otherwise: number): number {
  const text = values.get(keyword)
  if (text === undefined) return otherwise
  const value = wholeNumber(text)
  // A timer of Node ends at 2^31 milliseconds.
  if (value === null || Math.abs(value) > 2_000_000)
    throw new BadConnectionString(`${keyword} is not a whole number up to 2000000`, { parameter: keyword })
  return value
}

function wholeNumber(text: string): number | null {
  return /^\s*[+-]?\d{1,9}\s*$/.test(text) ? Number(text) : null
}
