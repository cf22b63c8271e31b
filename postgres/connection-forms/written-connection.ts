/**
 * What every written form of a connection has in common: what it says, as libpq's keywords, and the same form for another place.
 *
 * Data only. `url-form.ts`, `jdbc-form.ts` and `keyword-form.ts` read and write the forms.
 */
import { keywords } from '../connection-string-keywords.ts'

export const proxyHost = '127.0.0.1'

/** Where the rewritten form leads. */
export type Target = {
  readonly port: number
  /** Null leaves the user as it is written. */
  readonly user: string | null
  /** The run's token; null writes no password. */
  readonly password: string | null
  /** Null leaves the database as it is written. */
  readonly database: string | null
}

export type WrittenConnection = {
  /** What concerns the way to the database, by libpq's keywords. What concerns the session stays with the command. */
  readonly values: ReadonlyMap<string, string>
  /** Whether drivers that read this form complete it from the PG… variables. */
  readonly readsPgVariables: boolean
  /** The same form, with all that a driver was told beside the way to the database. */
  write(target: Target): string
}

/** The command asks for these by itself: its session start passes through the proxy unchanged. */
const ofTheSession: ReadonlySet<string> = new Set(['options', 'application_name', 'fallback_application_name', 'client_encoding'])

/** True for what the proxy has to know, or has to refuse, to reach the database as the form says. */
export function concernsTheWay(keyword: string): boolean {
  return (Object.hasOwn(keywords.honoured, keyword) && !ofTheSession.has(keyword)) || Object.hasOwn(keywords.refused, keyword)
}

/**
 * Parameters, in lower case, of libpq, JDBC and others, that say how to reach or trust the database, or hold a credential: to the
 * proxy they would be wrong, or refused by the driver beside a plain connection.
 */
export const notForTheProxy: ReadonlySet<string> = new Set([
  ...[
    'host',
    'hostaddr',
    'port',
    'password',
    'passfile',
    'target_session_attrs',
    'targetservertype',
    'load_balance_hosts',
    'loadbalancehosts',
  ],
  ...[
    'ssl',
    'sslmode',
    'sslrootcert',
    'sslcert',
    'sslkey',
    'sslpassword',
    'sslcertmode',
    'sslcrl',
    'sslcrldir',
    'sslsni',
    'sslcompression',
  ],
  ...['sslnegotiation', 'ssl_min_protocol_version', 'ssl_max_protocol_version', 'sslfactory', 'sslfactoryarg', 'sslhostnameverifier'],
  ...[
    'sslpasswordcallback',
    'sslidentity',
    'sslaccept',
    'channel_binding',
    'channelbinding',
    'require_auth',
    'requireauth',
    'uselibpqcompat',
  ],
  ...['gssencmode', 'gsslib', 'gssdelegation', 'krbsrvname', 'kerberosservername'],
])

/** `sslmode` for what drivers beside libpq write as `ssl=…` and `sslmode=no-verify`; null for what none of them knows. */
export function sslModeOf(value: string, whenTrue: 'require' | 'verify-full'): string | null {
  if (['', 'true', '1', 'on', 'yes'].includes(value)) return whenTrue
  if (['false', '0', 'off', 'no'].includes(value)) return 'disable'
  if (value === 'no-verify') return 'require'
  return ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'].includes(value) ? value : null
}
