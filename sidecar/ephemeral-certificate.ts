/**
 * A self-signed certificate for TLS towards agents, made anew by each process that is asked for it.
 *
 * A module of its own because its library costs 60 ms and several MB: it is loaded when the first agent wants TLS. The library's packages
 * are imported statically here, for a bundle gives a CommonJS package that is imported dynamically no named exports.
 */
import 'reflect-metadata' // @peculiar/x509 resolves its parts through it and fails without.
import { BasicConstraintsExtension, SubjectAlternativeNameExtension, X509CertificateGenerator } from '@peculiar/x509'

const validMilliseconds = 397 * 24 * 60 * 60 * 1000

/** PEM both; for localhost and the loopback addresses. */
export type EphemeralCertificate = { readonly key: string; readonly cert: string }

export async function createEphemeralCertificate(): Promise<EphemeralCertificate> {
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
  return { key: `-----BEGIN PRIVATE KEY-----\n${privateKey}\n-----END PRIVATE KEY-----\n`, cert: certificate.toString('pem') }
}
