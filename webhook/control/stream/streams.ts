/**
 * The open streams of sidecars: each gets the document of its pod at once, then whenever what it says has changed, and a sign of life between.
 *
 * Bounded: so many streams, two for each pod, nothing queued. A reader that is slow gets the newest document once it has taken the one
 * before. The work of a change is that of the pods it concerns, in slices, so that a thousand documents hold up nobody; each pod's document
 * is signed once for a change. Of a stream little more is held than its connection and the pod's labels.
 */
import type { Log } from '../../../base/log.ts'
import type { Labels } from '../../../crds/label-selector.ts'
import { podName, type PodIdentity } from '../../../cluster/identity/pod.ts'
import type { ControlKey } from '../control-key.ts'
import { hasReached, type PolicyPositions } from '../../../session/policy-document.ts'
import { Refusal } from '../refusal.ts'
import { createHeldBack, type HeldBack } from './held-back.ts'
import { fingerprintOf, meaningOf, policyLine } from './pod-document.ts'
import type { Concern, PolicyIndex } from './policy-index.ts'

/** What is written to: an HTTP answer whose head is out. */
export type Sink = {
  /** False: nothing more until `onDrain`. */
  write(line: Buffer): boolean
  end(): void
}

export type StreamLimits = {
  readonly streamsMax: number
  readonly perPodMax: number
  readonly aliveMilliseconds: number
  /** A stream ends after so long, or up to a tenth sooner, and its sidecar shows its token anew. */
  readonly lifeMilliseconds: number
}

export const standardStreamLimits: StreamLimits = {
  streamsMax: 6_000,
  perPodMax: 2,
  aliveMilliseconds: 10_000,
  lifeMilliseconds: 60 * 60_000,
}

export type OpenStream = {
  /** The sink takes more again. */
  drained(): void
  /** The client is gone. */
  closed(): void
}

export type StreamFacts = {
  readonly onlyWithdrawn?: boolean
  /** The revision of the pod that the labels are of. */
  readonly version?: bigint
  /** Of the document that the sidecar has. */
  readonly positions?: PolicyPositions | null
}

export type Streams = ReturnType<typeof createStreams>

type Stream = {
  readonly sink: Sink
  readonly pod: PodState
  readonly openedAt: number
  readonly endsAt: number
  lastSentAt: number
  isBlocked: boolean
  /** What it was sent last is not what holds now. */
  isBehind: boolean
  /** Where the document of its sidecar stands: one behind it is not sent, for it would be refused. */
  readonly awaited: Awaited
  /** Of a pod that was not judged as a whole: it ends when a policy is in force again, and its sidecar comes to be judged. */
  readonly onlyWithdrawn: boolean
}

/** `positions` null: of a sidecar that goes by generations. */
type Awaited = { readonly generation: bigint; readonly positions: PolicyPositions | null }

type PodState = {
  readonly identity: PodIdentity
  labels: Labels
  /** The revision of the pod that the labels are of; 0 when it is not known. */
  version: bigint
  readonly streams: Set<Stream>
  /** Of what was sent last; null before the first document. */
  fingerprint: string | null
}

const lookMilliseconds = 1_000
const podsPerSlice = 32
/** So long a stream has what its sidecar knows more than this control looked for; after that bookmarks bring it, about once a minute. */
const catchUpMilliseconds = 10_000
/** For a sidecar that goes by generations nobody looks, so bookmarks alone bring them, some of which may be lost. */
const bookmarksMilliseconds = 120_000

export function createStreams({
  index,
  podsVersion,
  key,
  log,
  limits = standardStreamLimits,
  now = () => performance.now(),
}: {
  readonly index: PolicyIndex
  /** The highest revision that was heard of pods. */
  readonly podsVersion: () => bigint
  readonly key: Pick<ControlKey, 'sign'>
  readonly log: Log
  readonly limits?: StreamLimits
  readonly now?: () => number
}) {
  /** By UID. */
  const pods = new Map<string, PodState>()
  const byNamespace = new Map<string, Set<PodState>>()
  const changed = new Set<PodState>()
  const heldBack = createHeldBack(log)
  let streams = 0
  let documentsSent = 0
  let slice: NodeJS.Immediate | null = null
  let lastSignedAt = 0
  const timer = setInterval(look, Math.min(lookMilliseconds, limits.aliveMilliseconds / 2))
  timer.unref()
  const forget = index.subscribe(concerns)

  function generation(): bigint {
    const [policies, ofPods] = [index.generation(), podsVersion()]
    return policies > ofPods ? policies : ofPods
  }

  function positionsOf({ version }: PodState): PolicyPositions {
    return { ...index.positions(), pod: String(version) }
  }

  function hasCaughtUp({ pod, awaited: { generation: ofSidecar, positions } }: Stream): boolean {
    return positions === null ? ofSidecar <= generation() : hasReached(positionsOf(pod), positions)
  }

  function mayBeSent(stream: Stream): boolean {
    if (hasCaughtUp(stream)) return true
    const { awaited, openedAt } = stream
    if (awaited.positions !== null && now() - openedAt < catchUpMilliseconds) index.catchUp(awaited.positions)
    return false
  }

  /** What is held back from a stream's sidecar though this control had the time to catch up; null for nothing. */
  function heldBackFrom(stream: Stream, at: number): HeldBack | null {
    const { pod, awaited, openedAt, isBehind } = stream
    const patience = awaited.positions === null ? bookmarksMilliseconds : catchUpMilliseconds
    if (!isBehind || at - openedAt < patience || hasCaughtUp(stream)) return null
    const reached = { generation: generation(), positions: positionsOf(pod) }
    return { podUid: pod.identity.podUid, pod: podName(pod.identity), awaited, reached }
  }

  /** Of two documents that know equally much the later counts, so no two of one pod have the same time. */
  function signingTime(): number {
    lastSignedAt = Math.max(Date.now(), lastSignedAt + 0.001)
    return lastSignedAt
  }

  function concerns({ namespace, includesNamespace, includesPod }: Concern): void {
    for (const name of namespace === null ? byNamespace.keys() : [namespace]) {
      const ofNamespace = byNamespace.get(name)
      if (ofNamespace === undefined) continue
      if (!includesNamespace(index.labelsOf(name) ?? {})) continue
      for (const pod of ofNamespace) if (includesPod(pod.labels)) changed.add(pod)
    }
    schedule()
  }

  /** After what the event loop has at hand: of a burst of changes the pods hear the last. */
  function schedule(): void {
    if (changed.size > 0) slice ??= setImmediate(runSlice)
  }

  function runSlice(): void {
    slice = null
    let done = 0
    for (const pod of changed) {
      changed.delete(pod)
      bringUpToDate(pod)
      if (++done === podsPerSlice) break
    }
    schedule()
  }

  /** Sends what holds to those of the pod's streams that were sent something else. */
  function bringUpToDate(pod: PodState): void {
    const meaning = meaningOf(index.policyOf({ namespace: pod.identity.podNamespace, labels: pod.labels }))
    if (meaning === null) return
    const fingerprint = fingerprintOf(meaning)
    if (fingerprint !== pod.fingerprint) for (const stream of pod.streams) stream.isBehind = true
    pod.fingerprint = fingerprint
    if (meaning.state === 'in-force') for (const stream of pod.streams) if (stream.onlyWithdrawn) stream.sink.end()
    const waiting = [...pod.streams].filter((stream) => {
      const { isBehind, isBlocked, onlyWithdrawn } = stream
      return isBehind && !isBlocked && (!onlyWithdrawn || meaning.state === 'withdrawn') && mayBeSent(stream)
    })
    if (waiting.length === 0) return
    const at = { generation: generation(), positions: positionsOf(pod), time: signingTime() }
    const line = policyLine(pod.identity, meaning, { ...at, key })
    if (line === null) {
      log.error({ pod: podName(pod.identity) }, 'the policy of a pod is too large to be sent; what it has stays in force')
      for (const stream of waiting) stream.isBehind = false
      return
    }
    for (const stream of waiting) {
      stream.isBehind = false
      documentsSent++
      send(stream, line)
    }
  }

  function send(stream: Stream, line: Buffer): void {
    stream.lastSentAt = now()
    stream.isBlocked = !stream.sink.write(line)
  }

  function look(): void {
    const at = now()
    const held: HeldBack[] = []
    for (const pod of pods.values()) {
      for (const stream of pod.streams) {
        const heldFrom = heldBackFrom(stream, at)
        if (heldFrom !== null) held.push(heldFrom)
        if (at >= stream.endsAt) stream.sink.end()
        else if (!stream.isBlocked && at - stream.lastSentAt >= limits.aliveMilliseconds) send(stream, aliveLine)
        if (stream.isBehind) changed.add(pod)
      }
    }
    heldBack.look(held, at)
    schedule()
  }

  function podStateOf(identity: PodIdentity, labels: Labels, version: bigint): PodState {
    const known = pods.get(identity.podUid)
    if (known !== undefined) {
      takeLabels(known, labels, version)
      return known
    }
    const made: PodState = { identity, labels, version, streams: new Set(), fingerprint: null }
    pods.set(identity.podUid, made)
    const ofNamespace = byNamespace.get(identity.podNamespace) ?? new Set()
    byNamespace.set(identity.podNamespace, ofNamespace.add(made))
    return made
  }

  /** False for those of an earlier revision than is known: answers may come later than what happened after them. */
  function takeLabels(pod: PodState, labels: Labels, version: bigint): boolean {
    if (version < pod.version) return false
    pod.labels = labels
    pod.version = version
    return true
  }

  function closed(stream: Stream): void {
    const { pod } = stream
    if (!pod.streams.delete(stream)) return
    streams--
    if (pod.streams.size > 0) return
    const { podUid, podNamespace } = pod.identity
    pods.delete(podUid)
    changed.delete(pod)
    const ofNamespace = byNamespace.get(podNamespace)
    ofNamespace?.delete(pod)
    if (ofNamespace?.size === 0) byNamespace.delete(podNamespace)
  }

  return {
    /** Whether there is room; asked before the head of the answer is out. @throws Refusal BUSY */
    checkRoom(): void {
      if (streams >= limits.streamsMax) throw new Refusal('BUSY', `${limits.streamsMax} streams are open`)
    },
    /** Of the pod's streams the oldest gives way when there are too many: a sidecar that comes again has lost it. */
    open(
      identity: PodIdentity,
      labels: Labels,
      awaited: bigint,
      sink: Sink,
      { onlyWithdrawn = false, version = 0n, positions = null }: StreamFacts = {},
    ): OpenStream {
      const pod = podStateOf(identity, labels, version)
      const at = now()
      const stream: Stream = {
        ...{ sink, pod, onlyWithdrawn, openedAt: at, lastSentAt: at, isBlocked: false, isBehind: true },
        awaited: { generation: awaited, positions },
        endsAt: at + limits.lifeMilliseconds * (1 - Math.random() / 10),
      }
      pod.streams.add(stream)
      streams++
      send(stream, aliveLine)
      bringUpToDate(pod)
      if (pod.streams.size > limits.perPodMax) {
        const [oldest] = pod.streams
        if (oldest !== undefined) {
          oldest.sink.end()
          closed(oldest)
        }
      }
      return {
        drained() {
          stream.isBlocked = false
          if (stream.isBehind) bringUpToDate(pod)
        },
        closed: () => closed(stream),
      }
    },
    has: (podUid: string): boolean => pods.has(podUid),
    /** The pod has other labels by now. */
    relabel(podUid: string, labels: Labels, version = 0n): void {
      const pod = pods.get(podUid)
      if (pod === undefined || !takeLabels(pod, labels, version)) return
      changed.add(pod)
      schedule()
    },
    /** The pod has changed in something else: its labels are of a later revision. */
    advance(podUid: string, version: bigint): void {
      const pod = pods.get(podUid)
      if (pod !== undefined && version > pod.version) pod.version = version
    },
    labelsOf: (podUid: string): Labels | null => pods.get(podUid)?.labels ?? null,
    /** The pod is gone, or is none that may have a stream. */
    endPod(podUid: string): void {
      for (const stream of pods.get(podUid)?.streams ?? []) stream.sink.end()
    },
    /** Ends all of them, as replicas do that stop; their sidecars go to another. */
    stop(): void {
      forget()
      clearInterval(timer)
      if (slice !== null) clearImmediate(slice)
      for (const { streams: ofPod } of pods.values()) for (const { sink } of ofPod) sink.end()
    },
    get size(): number {
      return streams
    },
    /** Pods whose sidecars know a later state of the cluster than this control can find, and are sent nothing. */
    get podsHeldBack(): number {
      return heldBack.pods
    },
    get documentsSent(): number {
      return documentsSent
    },
  }
}

const aliveLine = Buffer.from('{"kind":"alive"}\n', 'latin1')
