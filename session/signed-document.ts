/**
 * A signed document: line 1 is JSON, line 2 the base64 of the Ed25519 signature (RFC 8032) over line 1's bytes.
 *
 * The JSON's `type` field is signed too, so one kind of document never passes for another. There is exactly one
 * spelling of a document: anything before, between or behind the lines is refused.
 */
import { createPublicKey, verify, type KeyObject } from 'node:crypto'
import { sha256Of } from './digest.ts'
import type { RecorderKey } from './recorder-key.ts'
import { BadDocument, isObject, parseJson } from './shape.ts'

/** A manifest of 100,000 segments stays below it. */
export const signedDocumentBytesMax = 64 * 1024 * 1024

const signatureBytes = 64
/** Base64 with padding, and a line feed. */
const signatureLineBytes = 89

export type SignedDocument = {
  readonly value: Readonly<Record<string, unknown>>
  /** Of the whole file. */
  readonly sha256: string
  /** True when the key that belongs to `publicKey` signed exactly this. */
  isSignedBy(publicKey: KeyObject): boolean
}

export function signDocument(value: object, key: Pick<RecorderKey, 'sign'>): { readonly bytes: Buffer; readonly sha256: string } {
  const line = Buffer.from(JSON.stringify(value), 'utf8')
  const bytes = Buffer.concat([line, Buffer.from(`\n${key.sign(line).toString('base64')}\n`, 'latin1')])
  return { bytes, sha256: sha256Of(bytes) }
}

/** The two lines of a signed document: what was signed, and the signature. @throws BadDocument */
export function signedLinesOf(bytes: Buffer, type: string): { readonly line: Buffer; readonly signature: Buffer } {
  if (bytes.length > signedDocumentBytesMax) throw new BadDocument(`the ${type} is ${bytes.length} bytes long`)
  const lineEnd = bytes.indexOf(0x0a)
  if (lineEnd < 0) throw new BadDocument(`the ${type} has no signature line`)
  // Base64 has several spellings of the same bytes; only the one that steno writes counts.
  const isOfLength = bytes.length - lineEnd - 1 === signatureLineBytes
  const encoded = isOfLength ? bytes.toString('latin1', lineEnd + 1) : ''
  const signature = Buffer.from(encoded, 'base64')
  if (signature.length !== signatureBytes || `${signature.toString('base64')}\n` !== encoded) {
    throw new BadDocument(`the ${type} has no well-formed signature line`)
  }
  return { line: bytes.subarray(0, lineEnd), signature }
}

/** @throws BadDocument; the signature is not checked yet, since only the content says whose it must be */
export function readSignedDocument(bytes: Buffer, type: string): SignedDocument {
  const { line, signature } = signedLinesOf(bytes, type)
  const value = parseJson(line, `the ${type}`)
  if (!isObject(value) || value['type'] !== type) throw new BadDocument(`this is not a ${type}`)
  if (value['version'] !== 1) throw new BadDocument(`the ${type} is not of version 1, which this release reads`)
  return { value, sha256: sha256Of(bytes), isSignedBy: (publicKey) => verify(null, line, publicKey, signature) }
}

/**
 * The Ed25519 key that a document names, in base64 of the DER (SPKI) form, once it is proven that it signed it. Whether to trust it is the caller's to say.
 * `what` is the document, for errors.
 * @throws BadDocument
 */
export function keyThatSigned(signed: Pick<SignedDocument, 'isSignedBy'>, named: string, what: string): KeyObject {
  let publicKey: KeyObject
  try {
    publicKey = createPublicKey({ key: Buffer.from(named, 'base64'), format: 'der', type: 'spki' })
  } catch (cause) {
    throw new BadDocument(`${what} names no public key`, { cause })
  }
  if (publicKey.asymmetricKeyType !== 'ed25519') throw new BadDocument(`${what} names no Ed25519 key`)
  if (!signed.isSignedBy(publicKey)) throw new BadDocument(`${what} is not signed by the key that it names`)
  return publicKey
}
