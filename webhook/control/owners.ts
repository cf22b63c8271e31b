/**
 * Whose a recorder is and whose a session is, as the store itself remembers: nothing here is lost when control is.
 *
 * A recorder belongs to the pod that `attested/<recorder>.json` names, which is put once, before anything else of the recorder. A session
 * belongs to the recorder that the header of its first segment names, which is put once, before anything else of the session. Neither ever
 * changes, so both are kept in memory, so many of each. Control's chain of attestations names a recorder when its ledger begins and when it ends.
 *
 * Limit: a session's id is its maker's secret only until its first segment is stored, some seconds after it opened. A pod that knows it by
 * then, and has a sidecar's token, could come first; the recorder that made the id is then refused, says so, and sets the session aside. It could as well
 * have its own ledger name the session; `steno verify` then says that two recorders do.
 */
import type { KeyObject } from 'node:crypto'
import { sha256Of } from '../../session/digest.ts'
import { findAttestation, sealAttestation, type AttestedPod } from '../../session/attestation.ts'
import type { LedgerEvent, LedgerHead } from '../../session/ledger.ts'
import { attestationKey, ledgerKey, recorderKey, segmentKey } from '../../session/object-keys.ts'
import { readRecorderDocument, type RecorderKey } from '../../session/recorder-key.ts'
import { BadSegment, readSegmentHeader, segmentHeaderEnd, SegmentNotReadable } from '../../session/segment.ts'
import { BadDocument } from '../../session/shape.ts'
import type { Store } from '../../session/stores/store.ts'
import type { PodIdentity } from '../../cluster/identity/pod.ts'
import type { AttestationChain } from './attestation-chain.ts'
import type { DescribePod, PodDescription } from './pod-description.ts'
import { Refusal } from './refusal.ts'

const keptMax = 20_000
/** A pod's spool keeps its one recorder; each that is made anew costs objects, questions to the API server, and a place in the memories. */
const recordersPerPodMax = 16
/** How long a pod that may not record is told so without being looked at again. */
const unfitMilliseconds = 5_000
/** Most headers are shorter, and one read then does. */
const headerGuessBytes = 8 * 1024

export type Owners = ReturnType<typeof createOwners>

/** `store` is one RecordingStore's, `storeName` its name; `key` signs attestations, `chain` is the store's. */
export function createOwners({
  store,
  storeName,
  key,
  chain,
  describePod,
  now = () => performance.now(),
}: {
  readonly store: Store
  readonly storeName: string
  readonly key: Pick<RecorderKey, 'publicKey' | 'sign'>
  readonly chain: AttestationChain
  readonly describePod: DescribePod
  /** Of a clock that never goes back. */
  readonly now?: () => number
}) {
  const pods = createMemory<string>()
  const recorders = createMemory<string>()
  const keys = createMemory<KeyObject>()
  const fit = createMemory<true>()
  const unfit = new Map<string, { readonly refusal: Refusal; readonly until: number }>()
  /** Of recorders the number of the last ledger entry with which the chain names them; 0 when it does not, 1 when some control named them. */
  const chained = new Map<string, number>()
  /** The recorders that each pod has brought since control started, each once however often a store refused it; the oldest pod is forgotten. */
  const brought = new Map<string, Set<string>>()

  function rememberChained(recorder: string, number: number): void {
    chained.delete(recorder)
    chained.set(recorder, number)
    if (chained.size > keptMax) chained.delete(chained.keys().next().value!)
  }

  /** False when its attestation is gone. @throws what the chain throws */
  async function nameInChain(recorder: string, ledger: LedgerHead): Promise<boolean> {
    if ((chained.get(recorder) ?? 0) >= ledger.number) return true
    const attestation = await store.get(attestationKey(recorder))
    if (attestation === null) return false
    await chain.name({ recorder, attestation: sha256Of(attestation), ledger })
    rememberChained(recorder, ledger.number)
    return true
  }

  /** @throws Refusal POD_UNFIT, CLUSTER_UNAVAILABLE */
  async function describe(pod: PodIdentity): Promise<Extract<PodDescription, { kind: 'fit' }>> {
    checkNotUnfit(pod)
    const description = await describePod(pod)
    if (description.kind === 'unfit') throw tellUnfit(pod, `the pod may not record: ${description.reason}`)
    if (description.store !== storeName)
      throw tellUnfit(pod, `the pod was told to store into RecordingStore ${description.store}, not ${storeName}`)
    return description
  }

  function tellUnfit({ podUid }: PodIdentity, what: string): Refusal {
    const refusal = new Refusal('POD_UNFIT', what)
    unfit.delete(podUid)
    unfit.set(podUid, { refusal, until: now() + unfitMilliseconds })
    if (unfit.size > keptMax) unfit.delete(unfit.keys().next().value!)
    return refusal
  }

  function checkNotUnfit({ podUid }: PodIdentity): void {
    const known = unfit.get(podUid)
    if (known === undefined) return
    if (now() < known.until) throw known.refusal
    unfit.delete(podUid)
  }

  function countBrought(podUid: string, recorder: string): void {
    const own = brought.get(podUid) ?? new Set()
    if (own.has(recorder)) return
    if (own.size >= recordersPerPodMax) throw new Refusal('TOO_MANY_UPLOADS', `the pod has brought ${own.size} recorders already`)
    brought.delete(podUid)
    brought.set(podUid, own.add(recorder))
    if (brought.size > keptMax) brought.delete(brought.keys().next().value!)
  }

  /** The UID of the pod that `recorder` belongs to, or null when it has never come. @throws Refusal */
  async function podOf(recorder: string): Promise<string | null> {
    return pods.known(recorder, async () => {
      try {
        return (await findAttestation(store, recorder))?.attestation.pod.podUid ?? null
      } catch (error) {
        if (!(error instanceof BadDocument)) throw error
        throw new Refusal('STORE_UNAVAILABLE', `the attestation of recorder ${recorder} is damaged: ${error.message}`, {
          remedy: 'Run `steno verify` on the store, and restore the object from a copy.',
          cause: error,
        })
      }
    })
  }

  return {
    podOf,
    isOf: async (recorder: string, { podUid }: PodIdentity): Promise<boolean> => (await podOf(recorder)) === podUid,

    /** What a pod puts before it has a recorder, only a pod with a sidecar for this store may put. @throws Refusal as `bind` */
    checkFit: (pod: PodIdentity): Promise<true | null> => fit.known(pod.podUid, () => describe(pod).then((): true => true)),

    /**
     * That a pod may put something at all: one whose recorder is known, or that may bring one. `recorder` is what it says.
     * @throws Refusal POD_UNFIT, CLUSTER_UNAVAILABLE
     */
    async checkPutter(recorder: string | null, pod: PodIdentity): Promise<void> {
      await fit.known(pod.podUid, async () => {
        checkNotUnfit(pod)
        if (recorder !== null && (await podOf(recorder)) === pod.podUid) return true
        await describe(pod)
        return true
      })
    },

    /**
     * Gives `recorder` to `pod`, for good, unless it has an owner. The caller has seen that the pod holds the recorder's key.
     * @throws Refusal NOT_YOURS, POD_UNFIT, TOO_MANY_UPLOADS, CLUSTER_UNAVAILABLE
     */
    async bind(recorder: string, pod: PodIdentity): Promise<void> {
      pods.forget(recorder) // Who brings a recorder's document again met a store that was emptied, with its attestation.
      const owner = await podOf(recorder)
      if (owner === pod.podUid) return
      if (owner !== null) throw notYours(recorder)
      const description = await describe(pod)
      countBrought(pod.podUid, recorder)
      const { owner: controller, image } = description
      const attested: AttestedPod = { ...pod, nodeName: pod.nodeName ?? description.nodeName, owner: controller, image }
      const { bytes } = sealAttestation({ recorder, time: Date.now(), pod: attested }, key)
      if ((await store.putIfAbsent(attestationKey(recorder), bytes)) === 'stored') rememberChained(recorder, 0)
      // Whoever came first, perhaps through another control, is whose it is.
      if ((await podOf(recorder)) !== pod.podUid) throw notYours(recorder)
    },

    /**
     * That the chain names a recorder whose ledger begins, goes on after a start, or ends with `ledger`, which is stored and which nobody was told of:
     * a recorder goes on behind the first entry once it has a receipt for it.
     * @throws Refusal RECORDER_UNKNOWN when its attestation is gone, and what the chain throws
     */
    async nameEntered(recorder: string, ledger: LedgerHead, events: readonly LedgerEvent[]): Promise<void> {
      const isEdge = events.some(({ kind }) => kind === 'recorder-started' || kind === 'recorder-stopped')
      // Whoever has a first entry got a receipt for it; in a store that was emptied nobody has one.
      if (!chained.has(recorder) && !isEdge && (await store.head(ledgerKey(recorder, 1))) !== null) rememberChained(recorder, 1)
      if (!isEdge && (chained.get(recorder) ?? 0) > 0) return
      if (await nameInChain(recorder, ledger)) return
      pods.forget(recorder)
      throw new Refusal('RECORDER_UNKNOWN', `the attestation of recorder ${recorder} is gone from this store`)
    },

    /** That the chain names the last entry of a ledger that control closes. @throws what the chain throws */
    async nameLost(recorder: string, ledger: LedgerHead): Promise<void> {
      await nameInChain(recorder, ledger)
    },

    /** The recorder of a session, or null when its first segment is not there. @throws Refusal OBJECT_UNFIT when that is damaged */
    recorderOf: (session: string): Promise<string | null> =>
      recorders.known(session, async () => {
        const objectKey = segmentKey(session, 1)
        try {
          let bytes = await store.range(objectKey, 0, headerGuessBytes)
          if (bytes === null) return null
          const end = segmentHeaderEnd(bytes)
          if (end > bytes.length) bytes = (await store.range(objectKey, 0, end)) ?? bytes
          const header = readSegmentHeader(bytes)
          if (header.session !== session) throw new BadSegment('it is of another session')
          return header.recorder
        } catch (error) {
          if (!(error instanceof BadSegment || error instanceof SegmentNotReadable)) throw error
          throw new Refusal('OBJECT_UNFIT', `the first segment of session ${session} cannot be read: ${error.message}`, { cause: error })
        }
      }),

    /** The key by which what `recorder` signs is checked. @throws Refusal RECORDER_UNKNOWN */
    async publicKeyOf(recorder: string): Promise<KeyObject> {
      const found = await keys.known(recorder, async () => {
        const bytes = await store.get(recorderKey(recorder))
        try {
          return bytes === null ? null : readRecorderDocument(bytes, recorder)
        } catch (error) {
          if (error instanceof BadDocument) return null // What is there is of no use.
          throw error
        }
      })
      if (found === null) throw new Refusal('RECORDER_UNKNOWN', `recorder ${recorder} has not published its key in this store`)
      return found
    },
  }
}

export function notYours(recorder: string): Refusal {
  return new Refusal('NOT_YOURS', `recorder ${recorder} belongs to another pod`)
}

/** What never changes once it is there; the oldest is asked for again when there is too much. */
function createMemory<T>() {
  const kept = new Map<string, T>()
  return {
    async known(name: string, ask: () => Promise<T | null>): Promise<T | null> {
      const found = kept.get(name)
      if (found !== undefined) return found
      const answer = await ask()
      if (answer !== null) {
        kept.set(name, answer)
        if (kept.size > keptMax) kept.delete(kept.keys().next().value!)
      }
      return answer
    },
    forget: (name: string): boolean => kept.delete(name),
  }
}
