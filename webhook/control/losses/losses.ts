/**
 * Recorders whose pods are gone: told by the pod watch, and looked for at start and every ten minutes, since a watch tells nothing of what happened
 * while nobody watched. Each gets a grace in which uploads under way may end, is asked for once more, and then its ledger is closed.
 *
 * Bounded: so many recorders wait, so many are examined in one look (the next goes on behind them) and are known to be done. Knows of pods only what
 * `podState` says; a pod whose state nobody knows is not gone.
 */
import { messageOf } from '../../../base/errors.ts'
import type { Log } from '../../../base/log.ts'
import { findAttestation, type AttestedPod } from '../../../session/attestation.ts'
import { attestationsPrefix, lossesPrefix, nameOf } from '../../../session/object-keys.ts'
import type { LedgerHead } from '../../../session/ledger.ts'
import type { LossReason } from '../../../session/recorder-loss.ts'
import { BadDocument } from '../../../session/shape.ts'
import type { Store } from '../../../session/stores/store.ts'
import type { ControlKey } from '../control-key.ts'
import type { MarkKeeper } from '../marks/keep-marks.ts'
import type { MarkMemory } from '../marks/mark-memory.ts'
import { closeLedger } from './close-ledger.ts'

export type LossTiming = {
  /** From when the pod is known to be gone until its recorders' ledgers are closed. */
  readonly graceMilliseconds: number
  readonly sweepMilliseconds: number
  /** Until what failed for the store's or the API server's sake is tried again. */
  readonly retryMilliseconds: number
}

export const standardLossTiming: LossTiming = { graceMilliseconds: 30_000, sweepMilliseconds: 600_000, retryMilliseconds: 30_000 }

const examinedPerSweepMax = 5_000
const waitingMax = 20_000
const settledMax = 50_000
const atOnceMax = 4

export type GonePod = Pick<AttestedPod, 'podUid' | 'podName' | 'podNamespace'>
/** `ended`: the pod is there, and none of its containers runs again (phase Succeeded or Failed). @throws when the API server does not answer */
export type PodState = (pod: GonePod) => Promise<'live' | 'ended' | 'gone'>

type Waiting = { readonly store: string; readonly recorder: string; readonly pod: GonePod; readonly why: LossReason; dueAt: number }

export function createLosses({
  storeNames,
  storeNamed,
  memory,
  keeper,
  podState,
  key,
  log,
  nameInChain,
  timing = standardLossTiming,
  now = () => performance.now(),
  onLoss = () => undefined,
}: {
  /** The RecordingStores of the cluster. */
  readonly storeNames: () => readonly string[]
  readonly storeNamed: (name: string) => Store
  readonly memory: MarkMemory
  readonly keeper: MarkKeeper
  readonly podState: PodState
  readonly key: Pick<ControlKey, 'publicKey' | 'sign'>
  readonly log: Log
  /** Has the chain of attestations of a store name the end of a ledger. @throws what the store throws */
  readonly nameInChain: (store: string, recorder: string, ledger: LedgerHead) => Promise<void>
  readonly timing?: LossTiming
  readonly now?: () => number
  readonly onLoss?: () => void
}) {
  const waiting = new Map<string, Waiting>()
  /** Recorders that ended or whose loss is stated. */
  const settled = new Set<string>()
  /** Of recorders that a look found alive. */
  const attested = new Map<string, { readonly store: string; readonly recorder: string; readonly pod: GonePod }>()
  let isStopped = false

  function settle(name: string): void {
    waiting.delete(name)
    attested.delete(name)
    settled.add(name)
    if (settled.size > settledMax) settled.delete(settled.values().next().value!)
  }

  function wait(store: string, recorder: string, pod: GonePod, why: LossReason): void {
    const name = `${store}/${recorder}`
    if (waiting.has(name) || settled.has(name) || waiting.size >= waitingMax) return
    waiting.set(name, { store, recorder, pod, why, dueAt: now() + timing.graceMilliseconds })
  }

  async function close(name: string, due: Waiting): Promise<void> {
    const { store: storeName, recorder, pod, why } = due
    try {
      const state = await podState(pod)
      if (state === 'live') return void waiting.delete(name)
      const closed = await closeLedger({
        ...{ storeName, store: storeNamed(storeName), recorder, podUid: pod.podUid, why, memory, keeper, key, log },
        nameInChain: (ledger) => nameInChain(storeName, recorder, ledger),
      })
      if (closed.kind === 'lost') onLoss()
      settle(name)
    } catch (error) {
      due.dueAt = now() + timing.retryMilliseconds
      log.warn(
        { store: storeName, recorder, pod: pod.podUid },
        `the ledger of a vanished recorder cannot be closed yet: ${messageOf(error)}`,
      )
    }
  }

  let closing: Promise<void> | null = null
  /** Closes what is due. Never throws. */
  function closeDue(): Promise<void> {
    closing ??= eachAtOnce(
      [...waiting].filter(([, { dueAt }]) => dueAt <= now()),
      ([name, due]) => close(name, due),
    ).finally(() => (closing = null))
    return closing
  }

  /** Where the last look at a store ended, because there was too much. */
  const goneThrough = new Map<string, string>()

  async function sweepStore(storeName: string): Promise<void> {
    const store = storeNamed(storeName)
    for await (const { key: objectKey } of store.list(lossesPrefix)) {
      const found = nameOf(objectKey)
      if (found.kind === 'loss') settle(`${storeName}/${found.recorder}`)
    }
    const behind = goneThrough.get(storeName) ?? ''
    goneThrough.delete(storeName)
    const candidates: string[] = []
    for await (const { key: objectKey } of store.list(attestationsPrefix)) {
      const found = nameOf(objectKey)
      if (found.kind !== 'attestation' || found.recorder <= behind) continue
      if (settled.has(`${storeName}/${found.recorder}`) || waiting.has(`${storeName}/${found.recorder}`)) continue
      candidates.push(found.recorder)
      if (candidates.length < examinedPerSweepMax) continue
      goneThrough.set(storeName, found.recorder)
      break
    }
    await eachAtOnce(candidates, (recorder) => examine(storeName, store, recorder))
  }

  async function examine(storeName: string, store: Store, recorder: string): Promise<void> {
    const name = `${storeName}/${recorder}`
    try {
      const pod = attested.get(name)?.pod ?? (await findAttestation(store, recorder))?.attestation.pod
      if (pod === undefined || isStopped) return
      const { podUid, podName, podNamespace } = pod
      const known = { podUid, podName, podNamespace }
      const state = await podState(known)
      if (state !== 'live') return wait(storeName, recorder, known, state === 'ended' ? 'pod-ended' : 'pod-not-found')
      if (attested.size < waitingMax) attested.set(name, { store: storeName, recorder, pod: known })
    } catch (error) {
      if (error instanceof BadDocument) settle(name) // Nothing can be said of whose it is; `steno verify` says that.
      else log.debug({ store: storeName, recorder }, `a recorder could not be looked at, and is at the next look: ${messageOf(error)}`)
    }
  }

  let sweeping: Promise<void> | null = null
  /** Looks at all recorders that are not known to be done. Never throws. */
  function sweep(): Promise<void> {
    sweeping ??= eachAtOnce(storeNames(), (storeName) =>
      sweepStore(storeName).catch((error: unknown) =>
        log.warn({ store: storeName }, `vanished recorders cannot be looked for: ${messageOf(error)}`),
      ),
    ).finally(() => (sweeping = null))
    return sweeping
  }

  async function eachAtOnce<T>(all: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
    const queue = [...all]
    const take = async (): Promise<void> => {
      for (let item = queue.shift(); item !== undefined && !isStopped; item = queue.shift()) await work(item)
    }
    await Promise.all(Array.from({ length: Math.min(atOnceMax, queue.length) }, take))
  }

  const dueTimer = setInterval(() => void closeDue(), Math.min(1_000, timing.graceMilliseconds + 1)).unref()
  const sweepTimer = setInterval(() => void sweep(), timing.sweepMilliseconds).unref()

  return {
    /** The watch says that a pod is gone, or ended. */
    podGone(pod: { readonly podUid: string }, why: Extract<LossReason, 'pod-deleted' | 'pod-ended'>): void {
      for (const { store, recorder, pod: marked } of memory.ofPod(pod.podUid)) if (marked !== null) wait(store, recorder, marked, why)
      for (const { store, recorder, pod: known } of attested.values()) if (known.podUid === pod.podUid) wait(store, recorder, known, why)
    },
    sweep,
    closeDue,
    get waiting(): number {
      return waiting.size
    },
    async stop(): Promise<void> {
      isStopped = true
      clearInterval(dueTimer)
      clearInterval(sweepTimer)
      await Promise.all([sweeping, closing])
    },
  }
}
