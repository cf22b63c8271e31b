/**
 * What can go wrong on the way to the database, each with the SQLSTATE and the fields that the client is answered with.
 *
 * Messages name hosts, ports, users and files, never a password, a key or what either side sent during authentication.
 */
import { KnownError, messageOf, systemCodeOf } from '../../base/errors.ts'
import type { ErrorFields } from '../../postgres/statement.ts'

export abstract class UpstreamError extends KnownError {
  /** Nothing but the start-up was sent, so no statement ran. */
  readonly safeToRetry = true
  abstract readonly sqlState: string
  /** What the client gets as ErrorResponse. */
  get fields(): ErrorFields {
    return { severity: 'FATAL', code: this.sqlState, message: this.message, hint: this.remedy }
  }
}

/** The database itself refused: its own words, and the very frame it sent, so that the client sees what it would see directly. */
export class UpstreamRefused extends UpstreamError {
  readonly code = 'UPSTREAM_REFUSED'
  readonly remedy = 'This is the answer of the database itself: act on its message.'
  readonly sqlState: string
  /** The ErrorResponse as it came, header included. */
  readonly frame: Buffer
  readonly #fields: ErrorFields
  constructor(fields: ErrorFields, frame: Buffer) {
    super(`the database refused the session: ${fields.message}`)
    this.sqlState = fields.code
    this.frame = frame
    this.#fields = fields
  }
  override get fields(): ErrorFields {
    return this.#fields
  }
}

export type Attempt = {
  readonly host: string
  readonly port: number
  readonly reason: string
  /** What can be done about this very reason, where that is known. */
  readonly remedy?: string | null
}

const unreachableRemedy =
  'Check that the database runs, that its address and port are right, and that this machine may reach it; the message holds the reason for each host.'

/** No host of the connection string gave a usable session. */
export class UpstreamUnreachable extends UpstreamError {
  readonly code = 'UPSTREAM_UNREACHABLE'
  readonly remedy: string
  readonly sqlState = '08006'
  readonly attempts: readonly Attempt[]
  constructor(attempts: readonly Attempt[], cause: unknown) {
    super(`the database cannot be reached: ${attempts.map(({ host, port, reason }) => `${host}:${port}: ${reason}`).join('; ')}`, { cause })
    this.attempts = attempts
    const remedies = new Set(attempts.flatMap(({ remedy }) => (typeof remedy === 'string' ? [remedy] : [])))
    this.remedy = remedies.size > 0 ? [...remedies].join(' ') : unreachableRemedy
  }
}

/** One address did not do; the next is tried. Reaches nobody alone: `UpstreamUnreachable` collects these. */
export class AttemptFailed extends UpstreamError {
  readonly code = 'UPSTREAM_ATTEMPT_FAILED'
  readonly remedy = 'See the reason given for each host.'
  readonly sqlState = '08006'
  readonly stage: 'network' | 'tls' | 'protocol' | 'session'
  /** What can be done about it, where whoever failed said so. */
  get remedyOfReason(): string | null {
    return null
  }
  constructor(stage: 'network' | 'tls' | 'protocol' | 'session', reason: string, cause?: unknown) {
    super(reason, { cause })
    this.stage = stage
  }
}

/** Node's codes for a chain that ends at no authority that is trusted (OpenSSL, X509_V_ERR_…). */
const untrusted: readonly string[] = [
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
]

/** The database's TLS did not do. */
export class TlsFailed extends AttemptFailed {
  readonly #isUntrusted: boolean
  constructor(cause: unknown) {
    // What Node advises cannot be followed by those who read this.
    super('tls', `TLS failed: ${messageOf(cause).replace(/; if the root CA is installed locally.*$/s, '')}`, cause)
    this.#isUntrusted = untrusted.includes(systemCodeOf(cause) ?? '')
  }
  override get remedyOfReason(): string | null {
    return this.#isUntrusted
      ? "Name the authority that signed the database's certificate: databases[].tls.ca of the SessionPolicy in a cluster, sslrootcert in the connection string elsewhere."
      : null
  }
}

/** We will not, or cannot, sign in the way the server asks; trying another host would only hide it. */
export class SignInImpossible extends UpstreamError {
  readonly code = 'UPSTREAM_SIGN_IN_IMPOSSIBLE'
  readonly sqlState = '28000'
  readonly remedy: string
  constructor(what: string, remedy: string, cause?: unknown) {
    super(what, { cause })
    this.remedy = remedy
  }
}

/** A certificate, key or revocation list cannot be used. */
export class TlsFilesUnusable extends UpstreamError {
  readonly code = 'UPSTREAM_TLS_FILES'
  readonly sqlState = '08006'
  readonly remedy: string
  constructor(what: string, remedy: string, cause?: unknown) {
    super(what, { cause })
    this.remedy = remedy
  }
}

/** Whoever asked for the connection no longer wants it. */
export class ConnectAborted extends UpstreamError {
  readonly code = 'UPSTREAM_CONNECT_ABORTED'
  readonly remedy = 'Connect again; the client went away or steno is shutting down.'
  readonly sqlState = '57P01'
  constructor() {
    super('connecting to the database was given up')
  }
}
