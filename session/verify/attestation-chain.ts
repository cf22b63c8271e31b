/**
 * Control's chain of attestations, checked entry by entry, and the recorders that it names held against what the store has of them.
 *
 * A recorder that is named had an attestation, a key and a ledger when it was named, so that each of these is missed when it is gone, the ledger up to
 * the entry that was its last. One whose ledger went on and that nobody names was named behind the chain's end, which was cut. Without trusted keys every
 * key's entries count, as with attestations. Holds about 400 bytes for each recorder.
 */
import type { KeyObject } from 'node:crypto'
import { chainEntryBytesMax, readChainEntry, type ChainEntry, type ChainHead } from '../attestation-chain.ts'
import { sha256Of } from '../digest.ts'
import type { LedgerHead } from '../ledger.ts'
import { attestationChainKey, attestationKey } from '../object-keys.ts'
import { recorderIdOf } from '../recorder-key.ts'
import { BadDocument } from '../shape.ts'
import type { Store } from '../stores/store.ts'
import { finding, type Finding } from './finding.ts'
import type { LedgerBooks } from './ledger-books.ts'

/** What a reader is told of the chain: its last entry that could be believed, and how many recorders it names. */
export type ChainCounts = ChainHead & { readonly recorders: number }

type Named = { readonly entry: number; readonly attestations: Set<string>; ledger: LedgerHead }

/** `head` is one that the reader kept; null without. */
export function createAttestationChain(
  store: Store,
  { attesters, head }: { readonly attesters: readonly KeyObject[]; readonly head: ChainHead | null },
) {
  const trusted = new Set(attesters.map(recorderIdOf))
  const named = new Map<string, Named>()
  let last = 0
  /** Null behind an entry that could not be believed. */
  let lastSha256: string | null = null
  /** Time of the first entry, milliseconds since the epoch. */
  let began: number | null = null
  let believed: ChainHead | null = null

  /** Takes the next entry that the store has; entries must come in the order of their numbers. */
  async function* take(number: number): AsyncGenerator<Finding> {
    const key = attestationChainKey(number)
    const follows = number === last + 1
    if (!follows) {
      const missing = number === last + 2 ? `entry ${last + 1} is` : `entries ${last + 1} to ${number - 1} are`
      yield finding('CHAIN_HOLE', `${missing} missing from the chain of attestations`, { key: attestationChainKey(last + 1) })
    }
    const before = lastSha256
    last = number
    lastSha256 = null
    const { bytes, entry } = yield* read(number)
    if (head?.number === number && bytes !== null && sha256Of(bytes) !== head.sha256)
      yield finding('CHAIN_FORKED', `entry ${number} of the chain of attestations is not the one that you kept`, { key })
    if (bytes === null || entry === null) return
    if (follows && entry.previous !== before && (number === 1 || before !== null))
      yield finding('CHAIN_BROKEN', `entry ${number} of the chain of attestations follows another entry than number ${number - 1}`, { key })
    lastSha256 = sha256Of(bytes)
    believed = { number, sha256: lastSha256 }
    began ??= entry.time
    for (const { recorder, attestation, ledger } of entry.recorders) {
      const known = named.get(recorder) ?? { entry: number, attestations: new Set(), ledger }
      named.set(recorder, known)
      known.attestations.add(attestation)
      if (ledger.number > known.ledger.number) known.ledger = ledger
    }
  }

  async function* read(number: number): AsyncGenerator<Finding, { readonly bytes: Buffer | null; readonly entry: ChainEntry | null }> {
    const key = attestationChainKey(number)
    let bytes: Buffer | null = null
    try {
      const found = await store.head(key)
      if (found !== null && found.bytes > chainEntryBytesMax) throw new BadDocument(`the entry of the chain is ${found.bytes} bytes long`)
      bytes = found === null ? null : await store.get(key)
      if (bytes === null) throw new BadDocument('the entry of the chain is no readable object')
      const { entry, publicKey } = readChainEntry(bytes, number)
      const by = recorderIdOf(publicKey)
      if (trusted.size === 0 || trusted.has(by)) return { bytes, entry }
      yield finding('CHAIN_SIGNATURE', `key ${by} signed entry ${number} of the chain of attestations, and you do not trust it`, { key })
    } catch (error) {
      if (!(error instanceof BadDocument)) throw error
      yield finding('CHAIN_DAMAGED', error.message, { key })
    }
    return { bytes, entry: null }
  }

  /** What came while the store was listed. */
  async function* goOn(): AsyncGenerator<Finding> {
    while ((await store.head(attestationChainKey(last + 1))) !== null) yield* take(last + 1)
  }

  return {
    take,
    /** The last entry that control saw of the recorder's ledger, or null when no entry names it. */
    ledgerOf: (recorder: string): LedgerHead | null => named.get(recorder)?.ledger ?? null,
    /** Null without an entry that could be believed. */
    counts: (): ChainCounts | null => (believed === null ? null : { ...believed, recorders: named.size }),

    /** Opens the books of all that are named. To be called once all objects that the store listed of chain, ledgers and recorders were taken. */
    async *meetNamed(books: LedgerBooks): AsyncGenerator<Finding> {
      yield* goOn()
      if (head !== null && last < head.number)
        yield finding('CHAIN_TAIL_MISSING', `the chain of attestations ends at entry ${last}, and you kept entry ${head.number}`, {
          key: attestationChainKey(last + 1),
        })
      for (const [recorder, { entry, attestations }] of named) {
        const key = attestationKey(recorder)
        const attested = yield* books.attestations.of(recorder)
        if (attested.kind === 'absent')
          yield finding('ATTESTATION_MISSING', `entry ${entry} of the chain names recorder ${recorder}, and its attestation is gone`, {
            key,
          })
        else if (attested.kind === 'attested' && !attestations.has(attested.sha256))
          yield finding('ATTESTATION_NOT_CHAINED', `the chain names another attestation of recorder ${recorder} than this one`, { key })
        yield* books.meet(recorder)
      }
    },

    /** Recorders that are attested and not named. To be called once the books are finished. */
    async *findUnnamed(books: LedgerBooks): AsyncGenerator<Finding> {
      yield* goOn()
      let earlier = 0
      for (const { recorder, last: entries } of books.all()) {
        const attested = yield* books.attestations.of(recorder)
        if (attested.kind !== 'attested' || (trusted.size > 0 && !attested.isTrusted) || named.has(recorder)) continue
        // Control answers the first entry of a ledger once the recorder is named.
        if (entries <= 1) continue
        if (began === null || attested.time < began) earlier += 1
        else
          yield finding('ATTESTATION_NOT_CHAINED', `the chain of attestations does not name recorder ${recorder}`, {
            key: attestationKey(recorder),
          })
      }
      if (earlier === 0) return
      const since = began === null ? 'there is no chain of attestations' : `the chain of attestations begins at ${isoTime(began)}`
      const who = earlier === 1 ? 'a recorder was' : `${earlier} recorders were`
      yield finding('ATTESTED_BEFORE_CHAIN', `${since}, and ${who} attested without: one that is removed is not missed`, {
        key: attestationChainKey(1),
      })
    },
  }
}

function isoTime(milliseconds: number): string {
  return new Date(Math.trunc(milliseconds)).toISOString()
}
