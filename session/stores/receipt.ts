/**
 * Control's receipt for one object: which bytes the store has under which key, signed with Ed25519 (RFC 8032).
 *
 * The signature is over the JSON of all other fields in the order of their names, without spaces. A recording leaves its spool only after
 * a receipt for exactly its bytes, so whoever stands between sidecar and store, with whatever certificate, cannot make one disappear.
 */
import { sign, verify, type KeyObject } from 'node:crypto'
import { KnownError } from '../../base/errors.ts'
import { BadDocument, matching, natural, object, oneOf, sha256Hex, text, time, type Check } from '../shape.ts'

export const receiptBytesMax = 8 * 1024

export type ReceiptFacts = {
  readonly version: 1
  /** Name of the RecordingStore. */
  readonly store: string
  readonly key: string
  /** Of the object that the store has: of the bytes given, or, when something was there already, of that. */
  readonly sha256: string
  readonly bytes: number
  /** Milliseconds since the epoch. */
  readonly at: number
}
/** `signature` is base64 with padding, 88 characters. */
export type Receipt = ReceiptFacts & { readonly signature: string }

/** There is no receipt, or not one that proves that the object is stored. The object counts as not stored. */
export class ReceiptRefused extends KnownError {
  readonly code = 'RECEIPT_REFUSED'
  readonly remedy =
    'The recording stays in the spool. Compare public.pem of Secret steno-control-key with STENO_CONTROL_PUBLIC_KEY of the pod: after that Secret was made anew, make the pod anew.'
  readonly safeToRetry = true
}

const checkReceipt: Check<Receipt> = object<Receipt>({
  version: oneOf(1),
  store: text,
  key: text,
  sha256: sha256Hex,
  bytes: natural,
  at: time,
  signature: matching(/^[A-Za-z0-9+/]{86}==$/, 'a signature'),
})

function signedBytes({ version, store, key, sha256, bytes, at }: ReceiptFacts): Buffer {
  return Buffer.from(JSON.stringify({ at, bytes, key, sha256, store, version }), 'utf8')
}

export function signReceipt(facts: ReceiptFacts, privateKey: KeyObject): Receipt {
  return { ...facts, signature: sign(null, signedBytes(facts), privateKey).toString('base64') }
}

/**
 * The receipt in `answer`, proven to be of `expected` and signed by the owner of `publicKey`. Says nothing of the digest, which the caller
 * compares: something else may have been there already.
 * @throws ReceiptRefused
 */
export function provenReceipt(answer: unknown, expected: { readonly store: string; readonly key: string }, publicKey: KeyObject): Receipt {
  let receipt: Receipt
  try {
    receipt = checkReceipt(answer, 'the receipt')
  } catch (error) {
    if (!(error instanceof BadDocument)) throw error
    throw new ReceiptRefused(`control gave no receipt for ${expected.key}: ${error.message}`, { cause: error })
  }
  if (receipt.store !== expected.store || receipt.key !== expected.key)
    throw new ReceiptRefused(`control gave a receipt for another object than ${expected.key}`)
  if (!verify(null, signedBytes(receipt), publicKey, Buffer.from(receipt.signature, 'base64')))
    throw new ReceiptRefused(`the receipt for ${expected.key} is not signed by the key that this pod was given`)
  return receipt
}
