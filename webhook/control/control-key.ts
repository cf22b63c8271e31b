/**
 * Control's Ed25519 key, with which it signs receipts and attestations: kept in Secret `steno-control-key`, made by whoever comes first.
 *
 * Creating a Secret that is there already fails, so of any number of starts at once all get the same key. It is never replaced: pods pin
 * its public half. Held in memory; never logged.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import { KnownError } from '../../base/errors.ts'
import { signReceipt, type Receipt, type ReceiptFacts } from '../../session/stores/receipt.ts'

export type ControlKey = {
  readonly publicKey: KeyObject
  /** SPKI PEM, as pods get it in STENO_CONTROL_PUBLIC_KEY. */
  readonly publicKeyPem: string
  sign(bytes: Buffer): Buffer
  receipt(facts: ReceiptFacts): Receipt
}

/** PKCS#8 and SPKI, both PEM. */
export type KeyPems = { readonly privatePem: string; readonly publicPem: string }

/** Where the key is kept: a Secret, or a test's variable. */
export type KeyPlace = {
  /** For messages, as `Secret steno-system/steno-control-key`. */
  readonly name: string
  /** Null when there is none. */
  read(): Promise<{ readonly privatePem: string | undefined } | null>
  /** Atomic: of several at once one gets `created`. */
  create(pems: KeyPems): Promise<'created' | 'exists'>
}

/** The place holds something that is no key. */
export class ControlKeyUnusable extends KnownError {
  readonly code = 'CONTROL_KEY_UNUSABLE'
  readonly remedy =
    'Restore the Secret from a copy. If there is none, delete it and restart steno-control and steno-webhook: a key is made, and pods with a sidecar must be made anew to trust it.'
  readonly safeToRetry = true
}

/** @throws ControlKeyUnusable, and what the place throws */
export async function loadOrCreateControlKey(place: KeyPlace): Promise<ControlKey> {
  const found = await place.read()
  if (found !== null) return controlKeyFrom(found.privatePem, place.name)
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const pems = {
    privatePem: String(privateKey.export({ type: 'pkcs8', format: 'pem' })),
    publicPem: String(publicKey.export({ type: 'spki', format: 'pem' })),
  }
  if ((await place.create(pems)) === 'created') return controlKeyOf(privateKey)
  const others = await place.read()
  if (others === null) throw new ControlKeyUnusable(`${place.name} came and went while it was read`)
  return controlKeyFrom(others.privatePem, place.name)
}

export function controlKeyOf(privateKey: KeyObject): ControlKey {
  const publicKey = createPublicKey(privateKey)
  return {
    publicKey,
    publicKeyPem: String(publicKey.export({ type: 'spki', format: 'pem' })),
    sign: (bytes) => sign(null, bytes, privateKey),
    receipt: (facts) => signReceipt(facts, privateKey),
  }
}

/** `name` is what the key is called in messages. @throws ControlKeyUnusable, which does not quote it */
export function controlKeyFrom(pem: string | undefined, name: string): ControlKey {
  let privateKey: KeyObject
  try {
    privateKey = createPrivateKey(pem ?? '')
  } catch {
    // The cause is left out: it may quote the key.
    throw new ControlKeyUnusable(`${name} holds no private key in private.pem`)
  }
  if (privateKey.asymmetricKeyType !== 'ed25519') throw new ControlKeyUnusable(`${name} holds no Ed25519 key`)
  return controlKeyOf(privateKey)
}
