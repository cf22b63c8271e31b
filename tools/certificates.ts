/**
 * Certificates for tests and the demo: a certificate authority, a server's and a client's certificate, and a foreign authority.
 *
 * Real X.509 (ECDSA P-256, SHA-256), valid for a week, made afresh for each server. Not for production: keys are written to disk in clear,
 * readable by their owner only.
 */
import 'reflect-metadata' // @peculiar/x509 resolves its parts through it and fails without.
import { randomBytes, webcrypto } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
  AuthorityKeyIdentifierExtension,
  SubjectKeyIdentifierExtension,
  cryptoProvider,
} from '@peculiar/x509'
import type { Extension, X509Certificate } from '@peculiar/x509'

cryptoProvider.set(webcrypto)

const keyAlgorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
const daysValid = 7
const millisecondsPerDay = 86_400_000
const serialBytes = 16

/** A certificate with its private key; both also as PEM. */
export type Issued = {
  readonly certificate: X509Certificate
  readonly keys: webcrypto.CryptoKeyPair
  readonly certificatePem: string
  readonly keyPem: string
}

/** Paths of PEM files. `other…` come from an authority that the server does not trust, and that a client should not either. */
export type CertificateFiles = {
  readonly ca: string
  readonly server: string
  readonly serverKey: string
  readonly client: string
  readonly clientKey: string
  readonly otherCa: string
  readonly otherClient: string
  readonly otherClientKey: string
}

async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify'])
}

function validity(): { notBefore: Date; notAfter: Date } {
  const now = Date.now()
  // A day back: a container's clock may run behind its host's.
  return { notBefore: new Date(now - millisecondsPerDay), notAfter: new Date(now + daysValid * millisecondsPerDay) }
}

function serialNumber(): string {
  const bytes = randomBytes(serialBytes)
  bytes[0] = (bytes.readUInt8(0) & 0x7f) | 0x01 // Positive and without a leading zero byte, as RFC 5280 asks.
  return bytes.toString('hex')
}

async function pemOf(key: webcrypto.CryptoKey): Promise<string> {
  const base64 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key)).toString('base64')
  return `-----BEGIN PRIVATE KEY-----\n${base64.replaceAll(/.{64}/g, '$&\n').trimEnd()}\n-----END PRIVATE KEY-----\n`
}

async function toIssued(certificate: X509Certificate, keys: webcrypto.CryptoKeyPair): Promise<Issued> {
  return { certificate, keys, certificatePem: `${certificate.toString('pem')}\n`, keyPem: await pemOf(keys.privateKey) }
}

/** A self-signed authority that may sign leaves and nothing deeper. */
export async function createAuthority(commonName: string): Promise<Issued> {
  const keys = await generateKeys()
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: `CN=${commonName}`,
    ...validity(),
    signingAlgorithm: keyAlgorithm,
    keys,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return toIssued(certificate, keys)
}

/** What a leaf is for: a server answers to `names` (DNS names and IP addresses), a client is its `commonName`, which PostgreSQL takes as the user. */
export type LeafPurpose =
  | { readonly kind: 'server'; readonly commonName: string; readonly names: readonly string[] }
  | { readonly kind: 'client'; readonly commonName: string }

/** A leaf signed by `authority`. */
export async function issueLeaf(authority: Issued, purpose: LeafPurpose): Promise<Issued> {
  const keys = await generateKeys()
  const extensions: Extension[] = [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension([purpose.kind === 'server' ? ExtendedKeyUsage.serverAuth : ExtendedKeyUsage.clientAuth]),
    await SubjectKeyIdentifierExtension.create(keys.publicKey),
    await AuthorityKeyIdentifierExtension.create(authority.keys.publicKey),
  ]
  if (purpose.kind === 'server') {
    const names = purpose.names.map((value) => ({ type: /^[\d.]+$|:/.test(value) ? ('ip' as const) : ('dns' as const), value }))
    extensions.push(new SubjectAlternativeNameExtension(names))
  }
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: `CN=${purpose.commonName}`,
    issuer: authority.certificate.subject,
    ...validity(),
    signingAlgorithm: keyAlgorithm,
    publicKey: keys.publicKey,
    signingKey: authority.keys.privateKey,
    extensions,
  })
  return toIssued(certificate, keys)
}

/** Writes a whole set into `folder` (which exists) and returns the paths. `user` is the database user of the client's certificates. */
export async function writeCertificates(folder: string, { user }: { readonly user: string }): Promise<CertificateFiles> {
  const [ca, otherCa] = await Promise.all([createAuthority('steno test authority'), createAuthority('a foreign authority')])
  const [server, client, otherClient] = await Promise.all([
    issueLeaf(ca, { kind: 'server', commonName: 'localhost', names: ['localhost', '127.0.0.1'] }),
    issueLeaf(ca, { kind: 'client', commonName: user }),
    issueLeaf(otherCa, { kind: 'client', commonName: user }),
  ])
  const files = {
    ca: join(folder, 'ca.crt'),
    server: join(folder, 'server.crt'),
    serverKey: join(folder, 'server.key'),
    client: join(folder, 'client.crt'),
    clientKey: join(folder, 'client.key'),
    otherCa: join(folder, 'other-ca.crt'),
    otherClient: join(folder, 'other-client.crt'),
    otherClientKey: join(folder, 'other-client.key'),
  }
  const ownerOnly = { mode: 0o600 } // libpq and the server refuse a key that others may read.
  await Promise.all([
    writeFile(files.ca, ca.certificatePem),
    writeFile(files.server, server.certificatePem),
    writeFile(files.serverKey, server.keyPem, ownerOnly),
    writeFile(files.client, client.certificatePem),
    writeFile(files.clientKey, client.keyPem, ownerOnly),
    writeFile(files.otherCa, otherCa.certificatePem),
    writeFile(files.otherClient, otherClient.certificatePem),
    writeFile(files.otherClientKey, otherClient.keyPem, ownerOnly),
  ])
  return files
}
