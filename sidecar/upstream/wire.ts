/**
 * One socket to the database, plain or TLS, whose bytes go to whoever receives at the moment; nobody receiving, nothing is read.
 *
 * Knows nothing of PostgreSQL.
 */
import type { X509Certificate } from 'node:crypto'
import net from 'node:net'
import tls from 'node:tls'
import type { ConnectionSettings, UpstreamHost } from '../../postgres/connection-string.ts'
import { asError, opened, type Dial, type Dialed, type Place } from './dial.ts'
import { AttemptFailed, TlsFailed } from './errors.ts'
import { certificateFits } from './host-name.ts'
import type { TlsContext } from './tls-files.ts'

/** `pin` and `address` are those of the server that was reached. */
export type Wire = Dialed & {
  /** As `TLSv1.3 TLS_AES_256_GCM_SHA384`, or null for plain. */
  readonly tls: string | null
  /** The server's certificate as DER; null for plain. */
  readonly certificate: Buffer | null
  /** From now on all bytes go to `sink`; reading starts or goes on. */
  receive(sink: (bytes: Buffer) => void): void
  /** Stops reading; takes all listeners off but the one for errors, which are followed by `close` anyway. */
  hold(): void
  /** Ends the watch over the abort signal: the socket is the caller's from now on. */
  release(): void
}

type WireOptions = { readonly signal: AbortSignal }
const alpn = 'postgresql'

/** @throws AttemptFailed */
export async function connectWire(
  place: Place,
  keepalive: ConnectionSettings['keepalive'],
  { signal, dial }: WireOptions & { readonly dial: Dial },
): Promise<Wire> {
  const { socket, pin, address } = await dial.connect(place, keepalive, { signal })
  return { socket, pin, address, tls: null, certificate: null, ...watched(socket, signal), ...streamSink(socket) }
}

/**
 * TLS over a wire whose bytes so far were all consumed.
 * @throws AttemptFailed when the handshake fails, or the certificate does not stand the checks that `settings` ask for
 */
export async function wrapTls(
  plain: Wire,
  host: UpstreamHost,
  settings: ConnectionSettings['tls'],
  { context, verifies }: TlsContext,
  { signal }: WireOptions,
): Promise<Wire> {
  if (settings.mode === 'verify-full' && host.name === '') {
    throw new AttemptFailed('tls', 'sslmode=verify-full needs a host name beside hostaddr')
  }
  plain.hold()
  plain.release()
  const socket = tls.connect({
    socket: plain.socket,
    secureContext: context,
    ALPNProtocols: [alpn],
    rejectUnauthorized: verifies,
    servername: settings.serverNameIndication && net.isIP(host.name) === 0 && /^[^/@]/.test(host.name) ? host.name : '',
    // The name is checked below by libpq's rules; Node's own differ in wildcards and common names.
    checkServerIdentity: () => undefined,
  })
  socket.pause()
  // Asked for once: a second call gives nothing.
  let certificate: X509Certificate | undefined
  try {
    await opened(socket, 'secureConnect', signal)
    certificate = socket.getPeerX509Certificate()
    check(socket.alpnProtocol, certificate, host, settings)
  } catch (error) {
    socket.destroy()
    throw error instanceof AttemptFailed ? error : new TlsFailed(error)
  }
  const cipher = socket.getCipher()
  return {
    socket,
    pin: plain.pin,
    address: plain.address,
    tls: `${socket.getProtocol() ?? 'TLS'} ${cipher.standardName ?? cipher.name}`,
    certificate: certificate === undefined ? null : certificate.raw,
    ...watched(socket, signal),
    ...streamSink(socket),
  }
}

function check(
  chosen: tls.TLSSocket['alpnProtocol'],
  certificate: X509Certificate | undefined,
  host: UpstreamHost,
  settings: ConnectionSettings['tls'],
): void {
  if (settings.negotiation === 'direct' && chosen !== alpn)
    throw new AttemptFailed('tls', 'the server took direct TLS without agreeing on the PostgreSQL protocol (ALPN)')
  if (typeof chosen === 'string' && chosen !== alpn)
    throw new AttemptFailed('tls', 'the server agreed on another protocol than PostgreSQL (ALPN)')
  if (settings.mode !== 'verify-full') return
  if (certificate === undefined || !certificateFits(certificate, host.name)) {
    throw new AttemptFailed('tls', `the server's certificate is not for the host name ${host.name}`)
  }
}

/** Reading by 'data' events; after `hold` the stream keeps what comes until somebody else reads. */
function streamSink(socket: net.Socket): { receive(sink: (bytes: Buffer) => void): void; hold(): void } {
  let listener: ((bytes: Buffer) => void) | null = null
  const hold = (): void => {
    if (listener !== null) socket.off('data', listener)
    listener = null
    socket.pause()
  }
  return {
    receive(sink) {
      hold()
      listener = sink
      socket.on('data', sink)
      socket.resume()
    },
    hold,
  }
}

function watched(socket: net.Socket, signal: AbortSignal): { release(): void } {
  const stop = (): void => void socket.destroy(asError(signal.reason))
  if (signal.aborted) stop()
  else signal.addEventListener('abort', stop, { once: true })
  return { release: () => signal.removeEventListener('abort', stop) }
}
