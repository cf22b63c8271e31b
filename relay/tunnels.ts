/**
 * The tunnels that are open: how many each pod may have, and which of them have to end because what allowed them is gone.
 *
 * A change in the cluster has the pods that it concerns judged again, at most `judgedAtOnceMax` at a time, and every pod is judged again
 * every few seconds whatever was heard. A pod that cannot be judged keeps its tunnels until it can: the API server's absence ends no session.
 */
import type net from 'node:net'
import type { Log } from '../base/log.ts'
import { messageOf } from '../base/errors.ts'
import { NotIdentified } from '../cluster/identity/not-identified.ts'
import { podName, type PodIdentity } from '../cluster/identity/pod.ts'
import type { AddressForms } from './address-forms.ts'
import { faultOfTunnel } from './choose-addresses.ts'
import type { WhatForbids } from './forbidden-addresses.ts'
import type { JudgePod } from './pod-verdict.ts'
import { Refusal } from './refusal.ts'
import type { Counts, RelayMetrics } from './relay-metrics.ts'
import { splice, type EndReason, type Splice } from './splice.ts'
import { nameOfTarget, type Target } from './target.ts'
import { createTokenBuckets, type Rate } from '../base/token-bucket.ts'

export type TunnelLimits = {
  /** Of all pods together. */
  readonly tunnelsMax: number
  readonly tunnelsPerPodMax: number
  /** Tunnels that a pod may open. */
  readonly openRate: Rate
  /** A tunnel in which nothing moved for so long ends; null: never. */
  readonly idleMillisecondsMax: number | null
}

export const standardTunnelLimits: TunnelLimits = {
  tunnelsMax: 10_000,
  tunnelsPerPodMax: 320,
  openRate: { perSecond: 50, burst: 400 },
  idleMillisecondsMax: 24 * 60 * 60 * 1000,
}

export type TunnelsOptions = {
  readonly limits: TunnelLimits
  readonly judgePod: JudgePod
  readonly whatForbids: WhatForbids
  readonly log: Log
  readonly metrics: () => RelayMetrics
  readonly lookMilliseconds?: number
}

type Opening = {
  readonly pod: PodIdentity
  readonly target: Target
  readonly address: AddressForms
  readonly podSocket: net.Socket
  readonly databaseSocket: net.Socket
  readonly head: Uint8Array
}

type Tunnel = { readonly target: Target; readonly address: AddressForms; readonly splice: Splice; quiet: { bytes: number; since: number } }
type OfPod = { readonly pod: PodIdentity; opening: number; readonly tunnels: Set<Tunnel> }

const lookMilliseconds = 4_000
const judgedAtOnceMax = 16
const withdrawnCode = { kind: 'withdrawn' } as const

export type Tunnels = ReturnType<typeof createTunnels>

export function createTunnels(options: TunnelsOptions) {
  const { limits, judgePod, whatForbids, log, metrics } = options
  const pods = new Map<string, OfPod>()
  const rates = createTokenBuckets(limits.openRate)
  let size = 0
  let opening = 0
  /** Of tunnels that have ended. */
  const ended = { bytesToDatabase: 0, bytesToPod: 0 }
  /** Rises with every change that may concern a tunnel. */
  let changes = 0
  /** UIDs of pods to judge again. */
  const due = new Set<string>()
  let judging: Promise<void> | null = null

  const timer = setInterval(() => {
    endIdle(performance.now())
    for (const uid of pods.keys()) due.add(uid)
    judgeDue()
  }, options.lookMilliseconds ?? lookMilliseconds)
  timer.unref()

  function ofPod(pod: PodIdentity): OfPod {
    const known = pods.get(pod.podUid)
    if (known !== undefined) return known
    const made: OfPod = { pod, opening: 0, tunnels: new Set() }
    pods.set(pod.podUid, made)
    return made
  }

  function forgetIfEmpty({ pod, opening: begun, tunnels }: OfPod): void {
    if (begun === 0 && tunnels.size === 0) pods.delete(pod.podUid)
  }

  /** Room for one tunnel; what it returns gives that back, once. @throws Refusal TOO_MANY_TUNNELS, BUSY */
  function reserve(pod: PodIdentity): () => void {
    const of = pods.get(pod.podUid)
    if (of !== undefined && of.opening + of.tunnels.size >= limits.tunnelsPerPodMax)
      throw new Refusal('TOO_MANY_TUNNELS', `the pod has ${limits.tunnelsPerPodMax} tunnels, which is all that one may have`)
    if (!rates.take(pod.podUid)) throw new Refusal('TOO_MANY_TUNNELS', 'the pod opens tunnels too fast')
    if (opening + size >= limits.tunnelsMax) throw new Refusal('BUSY', 'the relay has as many tunnels as it may')
    const held = ofPod(pod)
    held.opening++
    opening++
    let isHeld = true
    return () => {
      if (!isHeld) return
      isHeld = false
      held.opening--
      opening--
      forgetIfEmpty(held)
    }
  }

  function open({ pod, target, address, podSocket, databaseSocket, head }: Opening): void {
    const begun = performance.now()
    const of = ofPod(pod)
    size++
    const onEnd = (reason: EndReason): void => {
      size--
      of.tunnels.delete(tunnel)
      forgetIfEmpty(of)
      const { bytesToDatabase, bytesToPod } = joined
      ended.bytesToDatabase += bytesToDatabase
      ended.bytesToPod += bytesToPod
      metrics().closed(reason.kind)
      const where = {
        pod: podName(pod),
        podUid: pod.podUid,
        database: target.database,
        target: nameOfTarget(target),
        address: address.text,
      }
      const milliseconds = Math.round(performance.now() - begun)
      log.info({ ...where, bytesToDatabase, bytesToPod, milliseconds, reason: reason.kind, detail: reason.detail }, 'tunnel ended')
    }
    const joined = splice({ pod: podSocket, database: databaseSocket, head, onEnd })
    const tunnel: Tunnel = { target, address, splice: joined, quiet: { bytes: -1, since: begun } }
    of.tunnels.add(tunnel)
  }

  function endIdle(now: number): void {
    if (limits.idleMillisecondsMax === null) return
    for (const { tunnels } of pods.values())
      for (const tunnel of tunnels) {
        const bytes = tunnel.splice.bytesToDatabase + tunnel.splice.bytesToPod
        if (bytes !== tunnel.quiet.bytes) tunnel.quiet = { bytes, since: now }
        else if (now - tunnel.quiet.since > limits.idleMillisecondsMax) tunnel.splice.cut({ kind: 'idle', detail: null })
      }
  }

  function judgeDue(): void {
    judging ??= judgeAll().finally(() => {
      judging = null
      if (due.size > 0) judgeDue()
    })
  }

  async function judgeAll(): Promise<void> {
    // All that a burst of changes concerns is judged once, behind it.
    await new Promise((resolve) => setImmediate(resolve))
    const uids = [...due]
    due.clear()
    let next = 0
    const work = async (): Promise<void> => {
      while (next < uids.length) await judge(pods.get(uids[next++]!))
    }
    await Promise.all(Array.from({ length: Math.min(judgedAtOnceMax, uids.length) }, work))
  }

  async function judge(of: OfPod | undefined): Promise<void> {
    if (of === undefined || of.tunnels.size === 0) return
    try {
      const verdict = await judgePod(of.pod)
      for (const { target, address, splice: joined } of [...of.tunnels]) {
        const fault = verdict.kind === 'unfit' ? verdict.reason : (faultOfTunnel(target, address, verdict, whatForbids)?.message ?? null)
        if (fault !== null) joined.cut({ ...withdrawnCode, detail: fault })
      }
    } catch (error) {
      const level = error instanceof NotIdentified ? 'warn' : 'error'
      log[level](
        { pod: podName(of.pod), error: messageOf(error) },
        'a pod with tunnels could not be judged again; its tunnels stay meanwhile',
      )
    }
  }

  return {
    reserve,
    open,
    /** Something of the cluster is another: of one pod (its UID), or of any. */
    changed(podUid: string | null): void {
      changes++
      if (podUid === null) for (const uid of pods.keys()) due.add(uid)
      else if (pods.has(podUid)) due.add(podUid)
      if (due.size > 0) judgeDue()
    },
    get changes() {
      return changes
    },
    get size() {
      return size
    },
    counts(): Counts {
      let { bytesToDatabase, bytesToPod } = ended
      for (const { tunnels } of pods.values())
        for (const { splice: joined } of tunnels) {
          bytesToDatabase += joined.bytesToDatabase
          bytesToPod += joined.bytesToPod
        }
      return { tunnels: size, bytesToDatabase, bytesToPod }
    },
    cutAll(reason: EndReason): void {
      for (const { tunnels } of [...pods.values()]) for (const { splice: joined } of [...tunnels]) joined.cut(reason)
    },
    stop: () => clearInterval(timer),
  }
}
