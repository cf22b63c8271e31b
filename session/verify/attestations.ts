/**
 * What control attested of recorders, read once each, and whether the reader trusts the key that signed it.
 *
 * An attestation lies in the same store as what it speaks of, so by itself it proves nothing: whoever can write there can write one. It
 * counts for as much as the key that signed it, which is the reader's to name. Holds about 400 bytes for each recorder.
 */
import type { KeyObject } from 'node:crypto'
import { attestationBytesMax, readAttestation, type AttestedPod } from '../attestation.ts'
import { sha256Of } from '../digest.ts'
import type { SessionIdentity } from '../identity.ts'
import { attestationKey } from '../object-keys.ts'
import { recorderIdOf } from '../recorder-key.ts'
import { BadDocument } from '../shape.ts'
import type { Store } from '../stores/store.ts'
import { finding, type Finding } from './finding.ts'

export type Attested =
  | { readonly kind: 'absent' }
  | { readonly kind: 'damaged' }
  | {
      readonly kind: 'attested'
      /** The id of the key, made as a recorder's is. */
      readonly by: string
      readonly isTrusted: boolean
      /** Milliseconds since the epoch. */
      readonly time: number
      readonly pod: AttestedPod
      /** Of the whole file. */
      readonly sha256: string
    }

/** `attesters` are the keys that the reader trusts. */
export function createAttestations(store: Store, attesters: readonly KeyObject[]) {
  const trusted = new Set(attesters.map(recorderIdOf))
  const known = new Map<string, Attested>()

  async function* read(recorder: string): AsyncGenerator<Finding, Attested> {
    try {
      const key = attestationKey(recorder)
      const head = await store.head(key)
      if (head !== null && head.bytes > attestationBytesMax) throw new BadDocument(`the attestation is ${head.bytes} bytes long`)
      const bytes = head === null ? null : await store.get(key)
      if (bytes === null) return { kind: 'absent' }
      const found = readAttestation(bytes, recorder)
      const by = recorderIdOf(found.publicKey)
      const { time, pod } = found.attestation
      return { kind: 'attested', by, isTrusted: trusted.has(by), time, pod, sha256: sha256Of(bytes) }
    } catch (error) {
      if (!(error instanceof BadDocument)) throw error
      yield finding('ATTESTATION_DAMAGED', error.message, { key: attestationKey(recorder) })
      return { kind: 'damaged' }
    }
  }

  return {
    /** At the first time with what is wrong with it. */
    async *of(recorder: string): AsyncGenerator<Finding, Attested> {
      const before = known.get(recorder)
      if (before !== undefined) return before
      const judged = yield* read(recorder)
      known.set(recorder, judged)
      return judged
    },

    /** A recorder may say of its pod only what control saw of it. */
    *compare(recorder: string, { session, attested }: SessionIdentity): Generator<Finding> {
      const found = known.get(recorder)
      if (found?.kind !== 'attested') return
      const { pod } = found
      const wrong = (['podUid', 'podName', 'podNamespace', 'serviceAccount'] as const).filter(
        (fact) => attested[fact] !== undefined && attested[fact] !== pod[fact],
      )
      if (wrong.length > 0)
        yield finding(
          'ATTESTATION_CONTRADICTED',
          `the session says another ${wrong.join(', ')} than was attested of recorder ${recorder}`,
          {
            session,
          },
        )
    },
  }
}
