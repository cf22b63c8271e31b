/**
 * The files behind TLS settings: root certificates, revocation lists, the client's certificate and key.
 *
 * Read anew for each connection, so that rotated files are taken up; the finished context is kept while its contents stay the same.
 * As libpq, except that a file which was named and is missing is an error even where libpq would go on without verification.
 * Source: PostgreSQL documentation, "SSL Support".
 */
import { constants, createHash, createPrivateKey, X509Certificate } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import type { Stats } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { createSecureContext, getCACertificates } from 'node:tls'
import type { SecureContext } from 'node:tls'
import { messageOf, systemCodeOf } from '../../base/errors.ts'
import type { TlsSettings } from '../../postgres/connection-string.ts'
import { TlsFilesUnusable } from './errors.ts'

export type TlsContext = {
  readonly context: SecureContext
  /** True when root certificates were found: then the server's certificate is checked whatever the sslmode, as libpq does. */
  readonly verifies: boolean
}

const fileBytesMax = 8 * 1024 * 1024
const contextsMax = 8
const contexts = new Map<string, SecureContext>()
/** Where Linux distributions keep the bundle, should Node's own idea of the system's store be empty. */
const systemBundles = ['/etc/ssl/certs/ca-certificates.crt', '/etc/pki/tls/certs/ca-bundle.crt', '/etc/ssl/cert.pem']

/** @throws TlsFilesUnusable */
export async function loadTls(settings: TlsSettings): Promise<TlsContext> {
  const beside = (name: string): string | null => (settings.defaultFolder === null ? null : join(settings.defaultFolder, name))
  const ca = await rootCertificates(settings, beside('root.crt'))
  if (ca === null && settings.mode.startsWith('verify')) {
    throw new TlsFilesUnusable(
      `sslmode=${settings.mode} needs root certificates and there is no ${beside('root.crt') ?? 'default file'}`,
      'Name the file with sslrootcert, or use sslrootcert=system for a certificate from a public authority.',
    )
  }
  const crl = ca === null ? [] : await revocationLists(settings, beside('root.crl'))
  const client = await clientCertificate(settings, beside)
  const options = {
    ...(ca === null ? {} : { ca }),
    ...(crl.length === 0 ? {} : { crl }),
    ...(client === null ? {} : client),
    minVersion: settings.minimumVersion,
    maxVersion: settings.maximumVersion,
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  }
  const name = createHash('sha256').update(JSON.stringify(options)).digest('base64')
  const known = contexts.get(name)
  if (known !== undefined) return { context: known, verifies: ca !== null }
  try {
    const context = createSecureContext(options)
    contexts.set(name, context)
    if (contexts.size > contextsMax) contexts.delete(contexts.keys().next().value!)
    return { context, verifies: ca !== null }
  } catch (error) {
    throw new TlsFilesUnusable(
      `the TLS files do not fit: ${messageOf(error)}`,
      'Check that each file is PEM and that the key belongs to the certificate.',
      error,
    )
  }
}

async function rootCertificates({ rootCertificates: named }: TlsSettings, defaultFile: string | null): Promise<string[] | null> {
  switch (named?.kind) {
    case 'system':
      return systemCertificates()
    case 'public':
      return (await systemCertificatesFound()) ?? getCACertificates('bundled')
    case 'pem':
      return [named.text]
    case 'file':
    case undefined:
      break
    default:
      return named satisfies never
  }
  const path = named?.path ?? defaultFile
  if (path === null) return null
  const text = await readText(path, 'the root certificates', { mayBeMissing: named === null })
  if (text === null) return null
  if (!text.includes('-----BEGIN')) throw new TlsFilesUnusable(`the root certificate file ${path} holds no certificate`, 'Give a PEM file.')
  return [text]
}

async function systemCertificatesFound(): Promise<string[] | null> {
  const found = getCACertificates('system')
  if (found.length > 0) return found
  for (const path of systemBundles) {
    const text = await readText(path, 'the system certificates', { mayBeMissing: true })
    if (text !== null) return [text]
  }
  return null
}

async function systemCertificates(): Promise<string[]> {
  const found = await systemCertificatesFound()
  if (found !== null) return found
  throw new TlsFilesUnusable(
    'sslrootcert=system found no certificates on this machine',
    'Install ca-certificates, set SSL_CERT_FILE, or name a file with sslrootcert.',
  )
}

async function revocationLists({ revocationList, revocationFolder }: TlsSettings, defaultFile: string | null): Promise<string[]> {
  const lists: string[] = []
  if (revocationList !== null) lists.push((await readText(revocationList, 'the revocation list', { mayBeMissing: false }))!)
  if (revocationFolder !== null) {
    let entries: string[]
    try {
      entries = await readdir(revocationFolder)
    } catch (error) {
      throw new TlsFilesUnusable(
        `the revocation folder ${revocationFolder} cannot be read: ${messageOf(error)}`,
        'Check sslcrldir and its permissions.',
        error,
      )
    }
    // OpenSSL's own naming: the issuer's hash and a number.
    for (const entry of entries.filter((candidate) => /^[0-9a-f]{8}\.r\d+$/.test(candidate))) {
      lists.push((await readText(join(revocationFolder, entry), 'a revocation list', { mayBeMissing: false }))!)
    }
  }
  if (revocationList === null && revocationFolder === null && defaultFile !== null) {
    const text = await readText(defaultFile, 'the revocation list', { mayBeMissing: true })
    if (text !== null) lists.push(text)
  }
  // Node takes only the first list of a text.
  return lists.flatMap((text) => text.match(/-----BEGIN X509 CRL-----[^-]*-----END X509 CRL-----/g) ?? [text])
}

async function clientCertificate(
  settings: TlsSettings,
  beside: (name: string) => string | null,
): Promise<{ cert: string; key: string } | null> {
  if (settings.certificateMode === 'disable') return null
  const certificatePath = settings.certificate ?? beside('postgresql.crt')
  const keyPath = settings.key ?? beside('postgresql.key')
  if (certificatePath === null) return null
  const cert = await readText(certificatePath, 'the client certificate', { mayBeMissing: settings.certificate === null })
  if (cert === null) return null
  if (keyPath === null) throw new TlsFilesUnusable('there is a client certificate, but no private key', 'Name the key with sslkey.')
  const facts = await factsOf(keyPath)
  if (facts === null) throw new TlsFilesUnusable(`the private key file ${keyPath} does not exist`, 'Name the key with sslkey.')
  if (!facts.isFile()) throw new TlsFilesUnusable(`the private key ${keyPath} is not a regular file`, 'Name a regular file with sslkey.')
  // root's keys may be readable by a group, as Debian and Kubernetes secret volumes with an fsGroup have them.
  const forbidden = facts.uid === 0 ? 0o037 : 0o077
  if (process.platform !== 'win32' && (facts.mode & forbidden) !== 0) {
    throw new TlsFilesUnusable(`others may read the private key file ${keyPath}`, 'Run chmod 0600 on it, or 0640 if root owns it.')
  }
  const pem = (await readText(keyPath, 'the private key', { mayBeMissing: false }))!
  let key: KeyObject
  try {
    key = createPrivateKey({ key: pem, passphrase: settings.keyPassword?.reveal() ?? '' })
  } catch (error) {
    const encrypted = pem.includes('ENCRYPTED')
    throw new TlsFilesUnusable(
      `the private key file ${keyPath} cannot be ${encrypted ? 'decrypted' : 'used'}`,
      encrypted ? 'Give the right passphrase with sslpassword.' : 'Give a PEM file.',
      error,
    )
  }
  // OpenSSL keeps a key of another kind beside the certificate without a word, and the server would only see no certificate.
  if (!belongs(cert, key))
    throw new TlsFilesUnusable(
      `the private key ${keyPath} does not belong to the certificate ${certificatePath}`,
      'Name the pair with sslcert and sslkey.',
    )
  return { cert, key: key.export({ type: 'pkcs8', format: 'pem' }) as string }
}

function belongs(certificate: string, key: KeyObject): boolean {
  try {
    return new X509Certificate(certificate).checkPrivateKey(key)
  } catch (error) {
    throw new TlsFilesUnusable(`the client certificate cannot be used: ${messageOf(error)}`, 'Give a PEM file.', error)
  }
}

async function factsOf(path: string): Promise<Stats | null> {
  try {
    return await stat(path)
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT' || systemCodeOf(error) === 'ENOTDIR') return null
    throw new TlsFilesUnusable(`${path} cannot be looked at: ${messageOf(error)}`, 'Check the permissions of its folder.', error)
  }
}

async function readText(path: string, what: string, { mayBeMissing }: { readonly mayBeMissing: boolean }): Promise<string | null> {
  const facts = await factsOf(path)
  if (facts === null && mayBeMissing) return null
  if (facts === null) throw new TlsFilesUnusable(`${what} ${path} does not exist`, 'Check the path in the connection string.')
  if (facts.size > fileBytesMax) throw new TlsFilesUnusable(`${what} ${path} is larger than ${fileBytesMax} bytes`, 'Name a PEM file.')
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    throw new TlsFilesUnusable(`${what} ${path} cannot be read: ${messageOf(error)}`, 'Check its permissions.', error)
  }
}
