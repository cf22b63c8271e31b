/**
 * The keywords of a connection string, the environment variable behind each, and what steno does with those it cannot honour.
 *
 * Data only. Source: PostgreSQL documentation, "Parameter Key Words" and "Environment Variables" (version 18).
 */

/** Keywords that steno honours, with the variable libpq reads when the string does not name them. */
const honoured: Readonly<Record<string, string | null>> = {
  host: 'PGHOST',
  hostaddr: 'PGHOSTADDR',
  port: 'PGPORT',
  dbname: 'PGDATABASE',
  // Not PGUSER: whether a user is named decides between custody and pass-through, so it must be said in the string itself.
  user: null,
  password: 'PGPASSWORD',
  passfile: 'PGPASSFILE',
  connect_timeout: 'PGCONNECT_TIMEOUT',
  client_encoding: 'PGCLIENTENCODING',
  options: 'PGOPTIONS',
  application_name: 'PGAPPNAME',
  fallback_application_name: null,
  keepalives: null,
  keepalives_idle: null,
  keepalives_interval: null,
  keepalives_count: null,
  sslmode: 'PGSSLMODE',
  sslnegotiation: 'PGSSLNEGOTIATION',
  sslrootcert: 'PGSSLROOTCERT',
  sslcert: 'PGSSLCERT',
  sslkey: 'PGSSLKEY',
  sslpassword: null,
  sslcertmode: 'PGSSLCERTMODE',
  sslcrl: 'PGSSLCRL',
  sslcrldir: 'PGSSLCRLDIR',
  sslsni: 'PGSSLSNI',
  ssl_min_protocol_version: 'PGSSLMINPROTOCOLVERSION',
  ssl_max_protocol_version: 'PGSSLMAXPROTOCOLVERSION',
  channel_binding: 'PGCHANNELBINDING',
  require_auth: 'PGREQUIREAUTH',
  target_session_attrs: 'PGTARGETSESSIONATTRS',
  load_balance_hosts: 'PGLOADBALANCEHOSTS',
  min_protocol_version: 'PGMINPROTOCOLVERSION',
  max_protocol_version: 'PGMAXPROTOCOLVERSION',
  gssencmode: 'PGGSSENCMODE',
}

/** Taken without effect, each because what it tunes is not there; `parseConnectionString` lists those that were given. */
const withoutEffect: Readonly<Record<string, string>> = {
  tcp_user_timeout: 'Node cannot set TCP_USER_TIMEOUT; keepalives find a dead server instead',
  krbsrvname: 'it concerns GSSAPI only, which steno does not speak',
  gsslib: 'it concerns GSSAPI only, which steno does not speak',
  gssdelegation: 'it concerns GSSAPI only, which steno does not speak',
  sslcompression: 'TLS compression is never used',
}

/** Refused whenever they hold a value: ignoring them would be less safe, or other, than what was asked. */
const refused: Readonly<Record<string, { readonly why: string; readonly remedy: string; readonly variable?: string }>> = {
  service: {
    why: 'steno reads no service file',
    remedy: 'Write the parameters of the service into the connection string.',
    variable: 'PGSERVICE',
  },
  servicefile: { why: 'steno reads no service file', remedy: 'Write the parameters of the service into the connection string.' },
  requirepeer: {
    why: 'Node cannot read the owner of a Unix socket',
    remedy: 'Leave it out and protect the socket folder by permissions, or use TCP with sslmode=verify-full.',
    variable: 'PGREQUIREPEER',
  },
  replication: {
    why: 'replication streams are not statements and cannot be recorded as such',
    remedy: 'Leave it out and connect replication clients directly.',
  },
  sslkeylogfile: { why: 'a key log lets anybody who reads it decrypt the connection', remedy: 'Leave it out.' },
  scram_client_key: { why: 'steno signs in by password', remedy: 'Give password or passfile instead.' },
  scram_server_key: { why: 'steno signs in by password', remedy: 'Give password or passfile instead.' },
  oauth_issuer: { why: 'steno does not sign in by OAuth', remedy: 'Use a user with a SCRAM password or a client certificate.' },
  oauth_client_id: { why: 'steno does not sign in by OAuth', remedy: 'Use a user with a SCRAM password or a client certificate.' },
  oauth_client_secret: { why: 'steno does not sign in by OAuth', remedy: 'Use a user with a SCRAM password or a client certificate.' },
  oauth_scope: { why: 'steno does not sign in by OAuth', remedy: 'Use a user with a SCRAM password or a client certificate.' },
}

export const keywords = { honoured, withoutEffect, refused } as const

/** Keywords whose value is a secret. */
export const secretKeywords: ReadonlySet<string> = new Set([
  'password',
  'sslpassword',
  'scram_client_key',
  'scram_server_key',
  'oauth_client_secret',
])

export function isKeyword(word: string): boolean {
  return Object.hasOwn(honoured, word) || Object.hasOwn(withoutEffect, word) || Object.hasOwn(refused, word)
}
