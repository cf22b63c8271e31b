/**
 * The key with which a recorder signs its ledger and manifests, and the document that publishes its public half.
 *
 * Ed25519. The recorder's id is the first 32 hex digits of the SHA-256 of the public key's DER (SPKI) form, so an id
 * that somebody wrote down pins the key. The private half never leaves this module.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import { mkdir, open } from 'node:fs/promises'
import { join } from 'node:path'
import { KnownError, messageOf, systemCodeOf } from '../base/errors.ts'
import { sha256Of } from './digest.ts'
import { createFile } from './durable-file.ts'
import { recorderKey as recorderObjectKey } from './object-keys.ts'
import { putOnce } from './put-once.ts'
import { BadDocument, dictionary, object, oneOf, ordinal, text, type Check } from './shape.ts'
import { readSignedDocument, signDocument } from './signed-document.ts'
import type { Store } from './stores/store.ts'

export const recorderKeyFile = 'recorder-key.pem'
const keyFileBytesMax = 4096

export type RecorderKey = {
  /** The recorder's id: 32 hex digits. */
  readonly id: string
  readonly publicKey: KeyObject
  sign(bytes: Buffer): Buffer
}

/** The recorder's key file cannot be used. */
export class RecorderKeyUnusable extends KnownError {
  readonly code = 'RECORDER_KEY_UNUSABLE'
  readonly remedy: string
  readonly safeToRetry = true
  constructor(what: string, remedy: string, cause?: unknown) {
    super(what, { cause })
    this.remedy = remedy
  }
}

/** The id that belongs to a public key. */
export function recorderIdOf(publicKey: KeyObject): string {
  return sha256Of(publicKey.export({ type: 'spki', format: 'der' })).slice(0, 32)
}

export function recorderKeyOf(privateKey: KeyObject): RecorderKey {
  const publicKey = createPublicKey(privateKey)
  return { id: recorderIdOf(publicKey), publicKey, sign: (bytes) => sign(null, bytes, privateKey) }
}

/**
 * The key in `<folder>/recorder-key.pem`, made (mode 0600) when there is none. Two starts at once get the same key.
 * @throws RecorderKeyUnusable when others may read it, or when it is no Ed25519 key
 */
export async function loadOrCreateRecorderKey(folder: string): Promise<RecorderKey> {
  const path = join(folder, recorderKeyFile)
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const found = await readKeyFile(path)
    if (found !== null) return keyFrom(found, path)
    const { privateKey } = generateKeyPairSync('ed25519')
    const pem = Buffer.from(privateKey.export({ type: 'pkcs8', format: 'pem' }))
    if ((await createFile(path, pem, 0o600)) === 'created') return recorderKeyOf(privateKey)
    return keyFrom((await readKeyFile(path)) ?? Buffer.alloc(0), path)
  } catch (error) {
    if (error instanceof KnownError) throw error
    throw new RecorderKeyUnusable(`cannot use ${path}: ${messageOf(error)}`, 'Give the recorder a folder that it may write to.', error)
  }
}

async function readKeyFile(path: string): Promise<Buffer | null> {
  const handle = await open(path, 'r').catch((error: unknown) => {
    if (systemCodeOf(error) === 'ENOENT') return null
    throw error
  })
  if (handle === null) return null
  try {
    const status = await handle.stat()
    if (!status.isFile() || status.size > keyFileBytesMax) throw new RecorderKeyUnusable(`${path} is not a key file`, `Move ${path} away.`)
    if ((status.mode & 0o077) !== 0) {
      throw new RecorderKeyUnusable(
        `${path} can be read by others`,
        `Whoever read the key can forge recordings: move it away, and the next start makes another. If nobody can have read it, run \`chmod 600 ${path}\`.`,
      )
    }
    return await handle.readFile()
  } finally {
    await handle.close()
  }
}

function keyFrom(pem: Buffer, path: string): RecorderKey {
  let privateKey: KeyObject
  try {
    privateKey = createPrivateKey(pem)
  } catch {
    // The cause is left out: it may quote the key.
    throw new RecorderKeyUnusable(`${path} holds no private key`, `Move ${path} away; the next start makes another key.`)
  }
  if (privateKey.asymmetricKeyType !== 'ed25519') {
    throw new RecorderKeyUnusable(`${path} holds no Ed25519 key`, `Move ${path} away; the next start makes another key.`)
  }
  return recorderKeyOf(privateKey)
}

/** What `recorders/<id>.json` says. `formats` are the versions of the format that the recorder wrote when it first came. */
export type RecorderDocument = {
  readonly type: 'recorder'
  readonly version: 1
  readonly recorder: string
  readonly algorithm: 'Ed25519'
  /** Base64 of the DER (SPKI) form. */
  readonly publicKey: string
  readonly formats: Readonly<Record<string, number>>
}

const checkRecorder: Check<RecorderDocument> = object<RecorderDocument>({
  type: oneOf('recorder'),
  version: oneOf(1),
  recorder: text,
  algorithm: oneOf('Ed25519'),
  publicKey: text,
  formats: dictionary(ordinal),
})

export function recorderDocument(key: RecorderKey): { readonly bytes: Buffer; readonly sha256: string } {
  const document: RecorderDocument = {
    type: 'recorder',
    version: 1,
    recorder: key.id,
    algorithm: 'Ed25519',
    publicKey: key.publicKey.export({ type: 'spki', format: 'der' }).toString('base64'),
    formats: { record: 1, segment: 1, index: 1, ledger: 1, manifest: 1 },
  }
  return signDocument(document, key)
}

/**
 * The public key that `bytes` publish for `recorder`, proven: it has that id and signed the document.
 * @throws BadDocument
 */
export function readRecorderDocument(bytes: Buffer, recorder: string): KeyObject {
  const signed = readSignedDocument(bytes, 'recorder')
  const document = checkRecorder(signed.value, 'the recorder document')
  let publicKey: KeyObject
  try {
    publicKey = createPublicKey({ key: Buffer.from(document.publicKey, 'base64'), format: 'der', type: 'spki' })
  } catch (cause) {
    throw new BadDocument('the recorder document holds no public key', { cause })
  }
  if (publicKey.asymmetricKeyType !== 'ed25519') throw new BadDocument('the recorder document holds no Ed25519 key')
  if (recorderIdOf(publicKey) !== recorder || document.recorder !== recorder)
    throw new BadDocument('the recorder document holds the key of another recorder')
  if (!signed.isSignedBy(publicKey)) throw new BadDocument('the recorder document is not signed by its key')
  return publicKey
}

/**
 * Puts the public half into the store. Done again at every start, which changes nothing and gives `exists`.
 * @throws ObjectConflict when something else lies under the recorder's name, StoreUnavailable
 */
export async function publishRecorder(store: Store, key: RecorderKey): Promise<'stored' | 'exists'> {
  const { bytes } = recorderDocument(key)
  const objectKey = recorderObjectKey(key.id)
  const found = await store.get(objectKey)
  // A release with other format versions wrote another document for the same key; that one stays.
  if (found !== null && isDocumentOf(found, key.id)) return 'exists'
  return putOnce(store, objectKey, bytes)
}

function isDocumentOf(bytes: Buffer, recorder: string): boolean {
  try {
    readRecorderDocument(bytes, recorder)
    return true
  } catch (error) {
    if (error instanceof BadDocument) return false
    throw error
  }
}
