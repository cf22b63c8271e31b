/**
 * `GET /v1/stream`: control's side of a sidecar's stream, from the request to what ends it.
 *
 * A pod that is not fit has none, but for one that nothing but its policies makes so: it is told that its policy is withdrawn, or else it would go on
 * by the one that it had. What the watches say of a pod later ends its stream, or has it judged anew: who may have a stream is asked
 * when something of the pod has changed that a policy selects by, and at the latest when the stream has lived its hour.
 */
import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import { Gauge, type Registry } from 'prom-client'
import { messageOf } from '../../../base/errors.ts'
import type { Labels } from '../../../crds/label-selector.ts'
import { podName, type PodIdentity } from '../../../cluster/identity/pod.ts'
import type { Change } from '../../../cluster/watch-resource.ts'
import { Refusal } from '../refusal.ts'
import type { Route, RouteAsk } from '../routes.ts'
import type { ControlParts } from '../start.ts'
import { positionsIn, type PolicyPositions } from '../../../session/policy-document.ts'
import { highestOf, type PolicyIndex } from './policy-index.ts'
import { createStreams, type Sink, type StreamLimits, type Streams } from './streams.ts'

/**
 * Whether a pod may have a stream, and its labels as the API server has them. `withdrawn`: its policies make it unfit, and the rest of it was not
 * judged. @throws NotIdentified, Refusal
 */
export type JudgePod = (
  pod: PodIdentity,
  /** A resourceVersion of the pod that its sidecar has heard of; an older one is not to be judged. */
  atLeast?: string,
) => Promise<
  | { readonly kind: 'fit' | 'withdrawn'; readonly labels: Labels; readonly resourceVersion?: string }
  | { readonly kind: 'unfit'; readonly reason: string }
>

/** What a watch of pods tells. */
export type StreamedPod = {
  readonly uid: string
  readonly name: string
  readonly namespace: string
  readonly labels: Labels
  readonly resourceVersion?: string
}

export type PolicyStream = {
  readonly route: Route
  /** For the watch of pods. */
  podChanged(change: Pick<Change<StreamedPod>, 'before' | 'after'>): void
  readonly size: number
}

/** What a sidecar says that it has: the generation of the document that it took last, and since there are positions these too. */
export const generationHeader = 'steno-generation'
export const positionsHeader = 'steno-positions'

export function createPolicyStream(
  { key, log, metrics, stopping }: Pick<ControlParts, 'key' | 'log' | 'metrics' | 'stopping'>,
  {
    index,
    podsVersion,
    judgePod,
    limits,
  }: {
    readonly index: PolicyIndex
    readonly podsVersion: () => bigint
    readonly judgePod: JudgePod
    readonly limits?: StreamLimits
  },
): PolicyStream {
  const streams = createStreams({ index, podsVersion, key, log, ...(limits === undefined ? {} : { limits }) })
  stopping.addEventListener('abort', () => streams.stop())
  addMetrics(metrics.registry, streams)

  async function serve({ request, response, pod, signal }: RouteAsk): Promise<void> {
    const awaited = generationIn(request.headers)
    const positions = positionsOf(request.headers)
    if (!index.isSynced()) throw new Refusal('CLUSTER_UNAVAILABLE', 'the policies of the cluster are not read yet')
    streams.checkRoom()
    const verdict = await judgePod(pod, positions?.pod)
    if (verdict.kind === 'unfit') throw new Refusal('POD_UNFIT', `this pod gets no policy: ${verdict.reason}`)
    streams.checkRoom()
    if (signal.aborted || stopping.aborted) throw new Refusal('STOPPING', 'this control is stopping')
    response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' })
    const version = highestOf([verdict.resourceVersion ?? ''])
    const facts = { onlyWithdrawn: verdict.kind === 'withdrawn', version, positions }
    const stream = streams.open(pod, verdict.labels, awaited, sinkOf(response), facts)
    response.on('drain', () => stream.drained())
    response.on('close', () => stream.closed())
    response.on('error', (error) => log.debug({ pod: podName(pod) }, `a stream broke: ${messageOf(error)}`))
  }

  async function judgeAgain({ uid, name, namespace, labels, resourceVersion = '' }: StreamedPod): Promise<void> {
    const identity: PodIdentity = { podUid: uid, podName: name, podNamespace: namespace, serviceAccount: '', nodeName: null }
    try {
      const verdict = await judgePod(identity)
      if (verdict.kind !== 'unfit') return streams.relabel(uid, verdict.labels, highestOf([verdict.resourceVersion ?? resourceVersion]))
      log.warn({ pod: podName(identity) }, `the stream of a pod ends: ${verdict.reason}`)
      streams.endPod(uid)
    } catch (error) {
      // By the labels that the watch has told; whether it is fit is asked at its next stream.
      log.warn({ pod: podName(identity) }, `a pod cannot be judged anew: ${messageOf(error)}`)
      streams.relabel(uid, labels, highestOf([resourceVersion]))
    }
  }

  return {
    route: { method: 'GET', path: '/v1/stream', isLong: true, handle: serve },
    podChanged({ before, after }) {
      if (before !== undefined && before.uid !== after?.uid) streams.endPod(before.uid)
      if (after === undefined) return
      const known = streams.labelsOf(after.uid)
      if (known === null) return
      if (sameLabels(known, after.labels)) streams.advance(after.uid, highestOf([after.resourceVersion ?? '']))
      else void judgeAgain(after)
    },
    get size() {
      return streams.size
    },
  }
}

function addMetrics(registry: Registry, streams: Pick<Streams, 'size' | 'documentsSent' | 'podsHeldBack'>): void {
  const asked = (name: string, help: string, read: () => number): Gauge =>
    new Gauge({
      ...{ name, help, registers: [registry] },
      collect() {
        this.set(read())
      },
    })
  asked('steno_control_streams', 'Streams of policy changes that are open to sidecars.', () => streams.size)
  asked('steno_control_policy_documents_sent', 'Signed policy documents sent to sidecars since the start.', () => streams.documentsSent)
  asked(
    'steno_control_pods_policy_held_back',
    'Pods whose sidecars know a later state of the cluster than this control finds, so that no policy is sent to them.',
    () => streams.podsHeldBack,
  )
}

function sinkOf(response: ServerResponse): Sink {
  return {
    write: (line) => response.write(line),
    end: () => void response.end(),
  }
}

/** @throws Refusal BAD_REQUEST */
function generationIn({ [generationHeader]: known = '0' }: IncomingHttpHeaders): bigint {
  if (typeof known !== 'string' || !/^[0-9]{1,20}$/.test(known))
    throw new Refusal('BAD_REQUEST', `the header ${generationHeader} holds no generation`)
  return BigInt(known)
}

/** @throws Refusal BAD_REQUEST */
function positionsOf({ [positionsHeader]: known }: IncomingHttpHeaders): PolicyPositions | null {
  if (known === undefined) return null
  const positions = typeof known === 'string' ? positionsIn(known) : null
  if (positions === null) throw new Refusal('BAD_REQUEST', `the header ${positionsHeader} holds no positions`)
  return positions
}

function sameLabels(a: Labels, b: Labels): boolean {
  const names = Object.keys(a)
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name])
}
