/**
 * The chain of attestations: numbered documents of control's that name every recorder that it took recordings of, each with the digest of the one before.
 *
 * It covers a whole store, so that who removes all of one recorder leaves a name behind: `attested/chain/<number>.json`, each put once and signed with
 * control's key. A recorder is named with the last entry of its ledger when that begins and when it ends, perhaps more often. Whether the key that signed
 * an entry is *yours* is for the reader to say, as with attestations. Limit: the chain's last entries can be cut off together with what they name.
 */
import type { KeyObject } from 'node:crypto'
import { findLastNumber } from './last-number.ts'
import type { LedgerHead } from './ledger.ts'
import { attestationChainKey } from './object-keys.ts'
import type { RecorderKey } from './recorder-key.ts'
import { BadDocument, list, matching, nullable, object, oneOf, ordinal, sha256Hex, text, time, type Check } from './shape.ts'
import { keyThatSigned, readSignedDocument, signDocument } from './signed-document.ts'
import type { Store } from './stores/store.ts'

/** An entry of so many recorders has about 250 KB. */
export const recordersPerChainEntryMax = 1_000
export const chainEntryBytesMax = 512 * 1024

export type ChainedRecorder = {
  readonly recorder: string
  /** SHA-256 of the whole file `attested/<recorder>.json`. */
  readonly attestation: string
  /** The last entry of its ledger when it was named. */
  readonly ledger: LedgerHead
}

export type ChainEntry = {
  readonly type: 'attestation-chain'
  readonly version: 1
  /** From 1, without a hole. */
  readonly number: number
  /** SHA-256 of the whole file of the entry before; null for the first. */
  readonly previous: string | null
  /** Milliseconds since the epoch. */
  readonly time: number
  readonly recorders: readonly ChainedRecorder[]
  /** Of control: base64 of the DER (SPKI) form. */
  readonly publicKey: string
}

/** The last entry: what a reader keeps elsewhere, to find out that the chain was cut. */
export type ChainHead = { readonly number: number; readonly sha256: string }

/** `publicKey` is the key that signed it. */
export type ReadChainEntry = { readonly entry: ChainEntry; readonly publicKey: KeyObject }

const checkEntry: Check<ChainEntry> = object<ChainEntry>({
  type: oneOf('attestation-chain'),
  version: oneOf(1),
  number: ordinal,
  previous: nullable(sha256Hex),
  time,
  recorders: list(
    object<ChainedRecorder>({
      recorder: matching(/^[0-9a-f]{32}$/, 'a recorder id'),
      attestation: sha256Hex,
      ledger: object<LedgerHead>({ number: ordinal, sha256: sha256Hex }),
    }),
  ),
  publicKey: text,
})

/** The entry behind `head`, which is null for the first. */
export function sealChainEntry(
  { head, time: at, recorders }: { readonly head: ChainHead | null } & Pick<ChainEntry, 'time' | 'recorders'>,
  key: Pick<RecorderKey, 'publicKey' | 'sign'>,
): { readonly number: number; readonly bytes: Buffer; readonly sha256: string } {
  const publicKey = key.publicKey.export({ type: 'spki', format: 'der' }).toString('base64')
  const number = (head?.number ?? 0) + 1
  const entry: ChainEntry = {
    ...{ type: 'attestation-chain', version: 1, number, previous: head?.sha256 ?? null },
    ...{ time: at, recorders, publicKey },
  }
  return { number, ...signDocument(entry, key) }
}

/** Signed by the key that it names, which is the caller's to trust, and lying under its own name. @throws BadDocument */
export function readChainEntry(bytes: Buffer, number: number): ReadChainEntry {
  if (bytes.length > chainEntryBytesMax) throw new BadDocument(`the entry of the chain is ${bytes.length} bytes long`)
  const signed = readSignedDocument(bytes, 'attestation-chain')
  const entry = checkEntry(signed.value, 'the entry of the chain')
  if (entry.number !== number) throw new BadDocument(`this is entry ${entry.number} of the chain`)
  const publicKey = keyThatSigned(signed, entry.publicKey, 'the entry of the chain')
  return { entry, publicKey }
}

/** The number of the last entry that the store has, looked for as ledgers' are; 0 without any. @throws StoreUnavailable */
export function findLastChainNumber(store: Store, from = 0): Promise<number> {
  return findLastNumber(async (number) => (await store.head(attestationChainKey(number))) !== null, from)
}
