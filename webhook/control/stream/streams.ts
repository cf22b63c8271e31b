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
import { Refusal } from '../refusal.ts'
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

export type Streams = ReturnType<typeof createStreams>

type Stream = {
  readonly sink: Sink
  readonly pod: PodState
  readonly endsAt: number
  lastSentAt: number
  isBlocked: boolean
  /** What it was sent last is not what holds now. */
  isBehind: boolean
  /** The highest generation that its sidecar has: one below is not sent, for it would be refused. */
  readonly awaited: bigint
  /** Of a pod that was not judged as a whole: it ends when a policy is in force again, and its sidecar comes to be judged. */
  readonly onlyWithdrawn: boolean
}

type PodState = {
  readonly identity: PodIdentity
  labels: Labels
  readonly streams: Set<Stream>
  /** Of what was sent last; null before the first document. */
  fingerprint: string | null
}

const lookMilliseconds = 1_000
const podsPerSlice = 32

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

  /** Of two documents of one generation the later counts, so no two of one pod have the same time. */
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
    const at = generation()
    const waiting = [...pod.streams].filter(
      ({ isBehind, isBlocked, awaited, onlyWithdrawn }) =>
        isBehind && !isBlocked && awaited <= at && (!onlyWithdrawn || meaning.state === 'withdrawn'),
    )
    if (waiting.length === 0) return
    const line = policyLine(pod.identity, meaning, { generation: at, time: signingTime(), key })
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
    for (const pod of pods.values()) {
      for (const stream of pod.streams) {
        if (at >= stream.endsAt) stream.sink.end()
        else if (!stream.isBlocked && at - stream.lastSentAt >= limits.aliveMilliseconds) send(stream, aliveLine)
        if (stream.isBehind) changed.add(pod)
      }
    }
    schedule()
  }

  function podStateOf(identity: PodIdentity, labels: Labels): PodState {
    const known = pods.get(identity.podUid)
    if (known !== undefined) {
      known.labels = labels
      return known
    }
    const made: PodState = { identity, labels, streams: new Set(), fingerprint: null }
    pods.set(identity.podUid, made)
    const ofNamespace = byNamespace.get(identity.podNamespace) ?? new Set()
    byNamespace.set(identity.podNamespace, ofNamespace.add(made))
    return made
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
    open(identity: PodIdentity, labels: Labels, awaited: bigint, sink: Sink, { onlyWithdrawn = false } = {}): OpenStream {
      const pod = podStateOf(identity, labels)
      const at = now()
      const stream: Stream = {
        ...{ sink, pod, awaited, onlyWithdrawn, lastSentAt: at, isBlocked: false, isBehind: true },
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
    relabel(podUid: string, labels: Labels): void {
      const pod = pods.get(podUid)
      if (pod === undefined) return
      pod.labels = labels
      changed.add(pod)
      schedule()
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
    get documentsSent(): number {
      return documentsSent
    },
  }
}

const aliveLine = Buffer.from('{"kind":"alive"}\n', 'latin1')
