/**
 * TLS towards an agent whose client insists on it: a self-signed certificate made when the first one asks, gone with the process.
 *
 * It keeps bystanders on the same machine from reading along. It proves nothing about steno to a client that verifies
 * certificates, because nobody vouches for it; such a client is told to use sslmode=require or a plain connection to localhost.
 */
import { constants } from 'node:crypto'
import { once } from 'node:events'
import type net from 'node:net'
import tls from 'node:tls'
import { PeerGone } from './startup-reader.ts'

/** The application protocol that PostgreSQL clients name when they start TLS without asking (sslnegotiation=direct). */
const applicationProtocol = 'postgresql'

let secureContext: Promise<tls.SecureContext> | null = null

async function createEphemeralContext(): Promise<tls.SecureContext> {
  const { createEphemeralCertificate } = await import('./ephemeral-certificate.ts')
  // As PostgreSQL does: a write that meets a renegotiation may never complete, and nobody needs one.
  return tls.createSecureContext({ ...(await createEphemeralCertificate()), secureOptions: constants.SSL_OP_NO_RENEGOTIATION })
}

/**
 * Speaks TLS as the server on a socket whose unread bytes are in its own buffer (`unshift` them first).
 * @throws whatever the handshake failed with
 */
export async function acceptTls(socket: net.Socket, { direct }: { readonly direct: boolean }): Promise<tls.TLSSocket> {
  secureContext ??= createEphemeralContext()
  const secured = new tls.TLSSocket(socket, {
    isServer: true,
    secureContext: await secureContext,
    ALPNProtocols: [applicationProtocol],
    allowHalfOpen: true,
  } as tls.TLSSocketOptions)
  const settled = new AbortController()
  // A client that leaves in the middle of its handshake gives no error, and `once` rejects for an error alone.
  const closed = once(secured, 'close', { signal: settled.signal }).then(() => {
    throw new PeerGone('the client left during its TLS handshake')
  })
  try {
    await Promise.race([once(secured, 'secure', { signal: settled.signal }), closed])
  } finally {
    settled.abort()
    closed.catch(() => undefined) // Nobody waits for it any more.
  }
  if (direct && secured.alpnProtocol !== applicationProtocol) {
    secured.destroy()
    throw new Error('a direct TLS connection must name the application protocol "postgresql"')
  }
  return secured
}

/** For the recording: `TLSv1.3 TLS_AES_256_GCM_SHA384`, or null for a plain socket. */
export function tlsDescription(socket: net.Socket): string | null {
  return socket instanceof tls.TLSSocket ? `${socket.getProtocol() ?? 'TLS'} ${socket.getCipher().name}` : null
}
