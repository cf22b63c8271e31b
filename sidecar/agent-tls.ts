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
const validMilliseconds = 397 * 24 * 60 * 60 * 1000

let secureContext: Promise<tls.SecureContext> | null = null

/** The certificate library costs 60 ms and several MB to load: it is not loaded before an agent wants TLS. */
async function createEphemeralContext(): Promise<tls.SecureContext> {
  await import('reflect-metadata')
  const { X509CertificateGenerator, SubjectAlternativeNameExtension, BasicConstraintsExtension } = await import('@peculiar/x509')
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: Buffer.from(crypto.getRandomValues(new Uint8Array(8))).toString('hex'),
    name: 'CN=steno proxy (ephemeral)',
    notBefore: new Date(Date.now() - 60 * 60 * 1000),
    notAfter: new Date(Date.now() + validMilliseconds),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new BasicConstraintsExtension(false),
      new SubjectAlternativeNameExtension([
        { type: 'dns', value: 'localhost' },
        { type: 'ip', value: '127.0.0.1' },
        { type: 'ip', value: '::1' },
      ]),
    ],
  })
  const privateKey = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64')
  const pem = `-----BEGIN PRIVATE KEY-----\n${privateKey}\n-----END PRIVATE KEY-----\n`
  // As PostgreSQL does: a write that meets a renegotiation may never complete, and nobody needs one.
  return tls.createSecureContext({ key: pem, cert: certificate.toString('pem'), secureOptions: constants.SSL_OP_NO_RENEGOTIATION })
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
