/**
 * X.509: a certificate authority, a leaf that it signs, and its certificate as an older authority vouches for it.
 *
 * ECDSA P-256 with SHA-256 throughout. Each authority has a name and a key identifier of its own, so that a client that trusts two of
 * them finds the right one (RFC 5280, 4.1.2.4 and 4.2.1.1). Reads no clock: whoever calls says when a certificate begins and ends.
 */
import 'reflect-metadata' // @peculiar/x509 resolves its parts through it and fails without.
import { createPrivateKey, randomBytes, webcrypto, X509Certificate as NodeCertificate } from 'node:crypto'
import { isIP } from 'node:net'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
  cryptoProvider,
} from '@peculiar/x509'

cryptoProvider.set(webcrypto)

const keyAlgorithm = { name: 'ECDSA', namedCurve: 'P-256' }
const signingAlgorithm = { ...keyAlgorithm, hash: 'SHA-256' }
const serialBytes = 16

/** A certificate and its private key (PKCS#8), both as PEM. */
export type Issued = { readonly cert: string; readonly key: string }
export type Validity = { readonly notBefore: Date; readonly notAfter: Date }

/** A self-signed authority. The name gets a random part: no two have the same. */
export async function createAuthority(validity: Validity): Promise<Issued> {
  const keys = await webcrypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify'])
  const serialNumber = serial()
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber,
    name: [{ CN: [`steno ${serialNumber.slice(0, 12)}`] }],
    ...validity,
    signingAlgorithm,
    keys,
    extensions: [...authorityExtensions(), await SubjectKeyIdentifierExtension.create(keys.publicKey)],
  })
  return { cert: pemOf(certificate), key: await keyPemOf(keys.privateKey) }
}

/** The authority's certificate, signed by `older`: who trusts only that one trusts the authority by it, until `older` ends. */
export async function crossCertify(authority: string, older: Issued): Promise<string> {
  const subject = new X509Certificate(authority)
  const issuer = new X509Certificate(older.cert)
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: subject.subject,
    issuer: issuer.subject,
    notBefore: subject.notBefore,
    notAfter: earlier(subject.notAfter, issuer.notAfter),
    signingAlgorithm,
    publicKey: subject.publicKey,
    signingKey: await signingKeyOf(older.key),
    extensions: [
      ...authorityExtensions(),
      await SubjectKeyIdentifierExtension.create(subject.publicKey),
      await AuthorityKeyIdentifierExtension.create(issuer.publicKey),
    ],
  })
  return pemOf(certificate)
}

/** A server's certificate for DNS names and IP addresses; it ends no later than its authority. */
export async function issueLeaf(authority: Issued, names: readonly string[], validity: Validity): Promise<Issued> {
  const keys = await webcrypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify'])
  const issuer = new X509Certificate(authority.cert)
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serial(),
    // Beyond 64 characters a common name is malformed (X.520), and names of Services may be longer; clients read the names below.
    subject: [{ CN: [(names[0] ?? 'steno').slice(0, 64)] }],
    issuer: issuer.subject,
    notBefore: validity.notBefore,
    notAfter: earlier(validity.notAfter, issuer.notAfter),
    signingAlgorithm,
    publicKey: keys.publicKey,
    signingKey: await signingKeyOf(authority.key),
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
      await AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      new SubjectAlternativeNameExtension(names.map((value) => ({ type: isIP(value) > 0 ? ('ip' as const) : ('dns' as const), value }))),
    ],
  })
  return { cert: pemOf(certificate), key: await keyPemOf(keys.privateKey) }
}

/** The certificates of a PEM text, each with one line feed behind it; whatever stands between them is left out. */
export function certificatesIn(pem: string): string[] {
  return (pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).map((text) => `${text.trim()}\n`)
}

/** When a certificate ends, in milliseconds since 1970. @throws when it is none */
export function endOf(cert: string): number {
  return new NodeCertificate(cert).validToDate.getTime()
}

/** Whether the key is the certificate's. @throws when one of them cannot be read */
export function fits({ cert, key }: Issued): boolean {
  return new NodeCertificate(cert).checkPrivateKey(createPrivateKey(key))
}

function authorityExtensions(): [BasicConstraintsExtension, KeyUsagesExtension] {
  // No limit of the path: between an old root and a leaf stand the certificates of all roots between them.
  return [
    new BasicConstraintsExtension(true, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
  ]
}

function serial(): string {
  const bytes = randomBytes(serialBytes)
  bytes[0] = (bytes.readUInt8(0) & 0x7f) | 0x01 // Positive and without a leading zero byte, as RFC 5280 asks.
  return bytes.toString('hex')
}

function earlier(one: Date, other: Date): Date {
  return one < other ? one : other
}

function pemOf(certificate: X509Certificate): string {
  return `${certificate.toString('pem').trim()}\n`
}

async function keyPemOf(key: webcrypto.CryptoKey): Promise<string> {
  const base64 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key)).toString('base64')
  return `-----BEGIN PRIVATE KEY-----\n${base64.replaceAll(/.{64}/g, '$&\n').trimEnd()}\n-----END PRIVATE KEY-----\n`
}

function signingKeyOf(pem: string): Promise<webcrypto.CryptoKey> {
  const der = createPrivateKey(pem).export({ format: 'der', type: 'pkcs8' })
  return webcrypto.subtle.importKey('pkcs8', der, keyAlgorithm, false, ['sign'])
}
