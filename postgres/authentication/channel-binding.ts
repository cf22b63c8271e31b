/**
 * The hash of a server's certificate that SCRAM-SHA-256-PLUS signs (tls-server-end-point).
 *
 * Reads just enough DER to find the certificate's signature algorithm; bad bytes give null, never an exception.
 * Source: RFC 5929 section 4.1; RFC 4055 for RSASSA-PSS; X.690 for DER.
 */
import { createHash } from 'node:crypto'

/** Object identifiers as the hexadecimal of their DER contents. MD5 and SHA-1 are replaced by SHA-256, as the RFC says. */
const hashOfSignature: Readonly<Record<string, string>> = {
  '2a864886f70d010104': 'sha256', // md5WithRSAEncryption
  '2a864886f70d010105': 'sha256', // sha1WithRSAEncryption
  '2a864886f70d01010b': 'sha256',
  '2a864886f70d01010c': 'sha384',
  '2a864886f70d01010d': 'sha512',
  '2a864886f70d01010e': 'sha224',
  '2a864886f70d01010f': 'sha512-224',
  '2a864886f70d010110': 'sha512-256',
  '2a8648ce380403': 'sha256', // dsa-with-sha1
  '608648016503040301': 'sha224', // dsa-with-sha224
  '608648016503040302': 'sha256',
  '2a8648ce3d0401': 'sha256', // ecdsa-with-SHA1
  '2a8648ce3d040301': 'sha224',
  '2a8648ce3d040302': 'sha256',
  '2a8648ce3d040303': 'sha384',
  '2a8648ce3d040304': 'sha512',
}
const rsassaPss = '2a864886f70d01010a'
const hashOfDigest: Readonly<Record<string, string>> = {
  '2b0e03021a': 'sha256', // sha1
  '608648016503040201': 'sha256',
  '608648016503040202': 'sha384',
  '608648016503040203': 'sha512',
  '608648016503040204': 'sha224',
}

/** Null when the certificate's signature has no single hash (Ed25519) or is unknown: then there is no binding. */
export function certificateHash(certificate: Buffer): Buffer | null {
  const hash = hashName(certificate)
  return hash === null ? null : createHash(hash).update(certificate).digest()
}

function hashName(certificate: Buffer): string | null {
  const tag = { sequence: 0x30, objectIdentifier: 0x06, hashParameter: 0xa0 }
  const outer = read(certificate, 0, tag.sequence)
  if (outer === null) return null
  const toBeSigned = read(certificate, outer.start, tag.sequence)
  const algorithm = toBeSigned && read(certificate, toBeSigned.end, tag.sequence)
  const identifier = algorithm && read(certificate, algorithm.start, tag.objectIdentifier)
  if (!identifier) return null
  const name = certificate.toString('hex', identifier.start, identifier.end)
  if (name !== rsassaPss) return hashOfSignature[name] ?? null
  const parameters = read(certificate, identifier.end, tag.sequence)
  const parameter = parameters && read(certificate, parameters.start, tag.hashParameter)
  if (!parameter) return parameters === null ? null : 'sha256' // The default is SHA-1, replaced by SHA-256.
  const digest = read(certificate, parameter.start, tag.sequence)
  const digestName = digest && read(certificate, digest.start, tag.objectIdentifier)
  return digestName ? (hashOfDigest[certificate.toString('hex', digestName.start, digestName.end)] ?? null) : null
}

/** Where the contents of the element with `wanted` as its tag stand, or null when another or none is there. */
function read(bytes: Buffer, at: number, wanted: number): { readonly start: number; readonly end: number } | null {
  if (at + 2 > bytes.length || bytes[at] !== wanted) return null
  const first = bytes[at + 1]!
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f
  if (lengthBytes > 4 || at + 2 + lengthBytes > bytes.length) return null
  const length = lengthBytes === 0 ? first & 0x7f : bytes.readUIntBE(at + 2, lengthBytes)
  const start = at + 2 + lengthBytes
  return start + length > bytes.length ? null : { start, end: start + length }
}
