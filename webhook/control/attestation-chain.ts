/**
 * Control's chain of attestations in one store (session/attestation-chain.ts): takes recorders that are to be named and answers once an entry that
 * names them is stored.
 *
 * One entry is under way at a time; what comes meanwhile goes into the next one together, so that a burst of pods makes few entries. Of several replicas
 * a number is taken by the one whose conditional put came first; the others go on behind it. The head that a replica has seen stays in its memory, and it
 * never puts a number that is not above it: when somebody cuts the end off, or empties the store, the next entry leaves a hole that `steno verify` names.
 * A control that starts knows only what the store has. Bounded: so many recorders wait.
 */
import type { Log } from '../../base/log.ts'
import {
  chainEntryBytesMax,
  findLastChainNumber,
  readChainEntry,
  recordersPerChainEntryMax,
  sealChainEntry,
  type ChainedRecorder,
  type ChainHead,
} from '../../session/attestation-chain.ts'
import { sha256Of } from '../../session/digest.ts'
import { attestationChainKey } from '../../session/object-keys.ts'
import type { RecorderKey } from '../../session/recorder-key.ts'
import { BadDocument } from '../../session/shape.ts'
import type { Store } from '../../session/stores/store.ts'
import { Refusal } from './refusal.ts'

/** Uploads that are taken at once are far fewer. */
const waitingMax = 10_000
/** Each means that another replica was faster. */
const attemptsMax = 20

type Waiting = { readonly named: ChainedRecorder; readonly resolve: () => void; readonly reject: (error: unknown) => void }

export type AttestationChain = ReturnType<typeof createAttestationChain>

/** `store` is one RecordingStore's; `key` signs. */
export function createAttestationChain({
  store,
  key,
  log,
  wallClock = Date.now,
}: {
  readonly store: Store
  readonly key: Pick<RecorderKey, 'publicKey' | 'sign'>
  readonly log: Log
  /** Milliseconds since the epoch. */
  readonly wallClock?: () => number
}) {
  const waiting: Waiting[] = []
  let isWriting = false
  /** Undefined until the store was asked, null where the chain is to begin. */
  let head: ChainHead | null | undefined

  async function headAt(number: number): Promise<ChainHead> {
    return { number, sha256: sha256Of(await read(number)) }
  }

  /** Of one that is too long, and so no entry, the beginning. */
  async function read(number: number): Promise<Buffer> {
    const bytes = await store.range(attestationChainKey(number), 0, chainEntryBytesMax + 1)
    if (bytes === null) throw new Refusal('STORE_UNAVAILABLE', `entry ${number} of the chain of attestations vanished while it was read`)
    return bytes
  }

  async function findHead(): Promise<ChainHead | null> {
    const last = await findLastChainNumber(store)
    return last === 0 ? null : headAt(last)
  }

  /** Behind entry `number`, which holds `found` in the place of one of this control's. */
  async function headBehind(number: number, found: Buffer): Promise<ChainHead> {
    if (!follows(found, number, head ?? null))
      log.error(
        { store: store.url, number },
        'an entry of the chain of attestations does not follow the one that was seen before it: run `steno verify --all`',
      )
    const last = await findLastChainNumber(store, number)
    return last > number ? headAt(last) : { number, sha256: sha256Of(found) }
  }

  async function append(recorders: readonly ChainedRecorder[]): Promise<void> {
    if (head === undefined) head = await findHead()
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      const { number, bytes, sha256 } = sealChainEntry({ head, time: wallClock(), recorders }, key)
      const outcome = await store.putIfAbsent(attestationChainKey(number), bytes)
      const found = outcome === 'exists' ? await read(number) : bytes
      // What a store took without saying so is there as well.
      if (found.equals(bytes)) {
        head = { number, sha256 }
        return
      }
      head = await headBehind(number, found)
    }
    throw new Refusal('BUSY', 'other replicas of control were faster to name their recorders in the chain of attestations')
  }

  async function write(): Promise<void> {
    if (isWriting) return
    isWriting = true
    while (waiting.length > 0) {
      const batch = waiting.splice(0, recordersPerChainEntryMax)
      try {
        await append(batch.map(({ named }) => named))
        for (const { resolve } of batch) resolve()
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
    isWriting = false
  }

  return {
    /** Resolves once an entry that names it is stored. @throws Refusal BUSY, and what the store throws: then it may be named or not */
    async name(named: ChainedRecorder): Promise<void> {
      if (waiting.length >= waitingMax)
        throw new Refusal('BUSY', `${waiting.length} recorders wait to be named in the chain of attestations`)
      const stored = new Promise<void>((resolve, reject) => void waiting.push({ named, resolve, reject }))
      void write()
      await stored
    },
  }
}

function follows(bytes: Buffer, number: number, head: ChainHead | null): boolean {
  try {
    return readChainEntry(bytes, number).entry.previous === (head?.sha256 ?? null)
  } catch (error) {
    if (error instanceof BadDocument) return false
    throw error
  }
}
