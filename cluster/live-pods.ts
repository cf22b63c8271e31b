/**
 * What a running pod is judged to be, looked up when somebody asks and remembered as long as neither the pod nor what judges it has changed.
 *
 * A GET only when the part of the pod by which it is judged (`judged-part.ts`) is another than the one that was judged, or when the policies
 * changed so that the pod itself must be seen again; many askers of one pod share it. The memory is one verdict for each pod of the watch. A watch that has fallen silent
 * is not believed: then each question is a GET. What the API server cannot answer is an error, never a verdict; so is every question while
 * `world` is null, as it is when its watches are silent.
 * Holds no opinion on pods: `judge` is injection/judge-live-pod.ts, which this folder does not import.
 */
import type { V1Pod } from '@kubernetes/client-node'
import { messageOf } from '../base/errors.ts'
import type { Labels } from '../crds/label-selector.ts'
import type { ClusterClient } from './client.ts'
import { ClusterRefused } from './errors.ts'
import { doubtedMilliseconds } from './heard.ts'
import { NotIdentified } from './identity/not-identified.ts'
import type { PodIdentity } from './identity/pod.ts'
import { judgedDigestOf, judgedPartOf } from './judged-part.ts'
import type { PodWatch } from './pod-watch.ts'
import { pathOf, resources } from './resources.ts'

export type Unfit = { readonly kind: 'unfit'; readonly reason: string }

/** Where the verdict stands beside what else is known of the pod at that version. */
export type LivePod<Verdict> = {
  readonly uid: string
  readonly name: string
  readonly namespace: string
  readonly labels: Labels
  readonly podIPs: readonly string[]
  readonly resourceVersion: string
  readonly isBeingDeleted: boolean
  readonly verdict: Verdict
}

export type LivePods<Verdict> = {
  /**
   * Unfit for a pod that is gone, or whose name another pod has by now. `atLeast`: a resourceVersion that somebody has seen of the pod; what is
   * remembered of an older one does not count.
   * @throws NotIdentified (from the result) CLUSTER_UNAVAILABLE when the API server does not answer or its policies are not read yet; BUSY
   */
  look(identity: Pick<PodIdentity, 'podUid' | 'podName' | 'podNamespace'>, atLeast?: string): Promise<LivePod<Verdict> | Unfit>
  /** Verdicts that are remembered. */
  readonly size: number
}

export type LivePodsOptions<World extends object, Verdict> = {
  readonly cluster: Pick<ClusterClient, 'request'>
  readonly pods: PodWatch
  /** What pods are judged by: another object whenever anything of it has changed; null while it is not known. */
  readonly world: () => World | null
  /** Is shown the judged part of the pod alone. */
  readonly judge: (pod: V1Pod, world: World) => Verdict
  /** The verdict in another world, without the pod; null when it must be looked at again. Without it, always. */
  readonly judgeAgain?: (pod: { readonly namespace: string; readonly labels: Labels }, before: Verdict, world: World) => Verdict | null
}

const getMillisecondsMax = 5_000
/** At a time; so many more wait for their turn. */
const getsMax = 32
const waitingMax = 10_000
/** The largest object that etcd takes is 1.5 MiB, unless it is set otherwise. */
const podBytesMax = 4 * 1024 * 1024
/** Of pods that the watch does not have yet, or does not have at all. */
const strangersMax = 1_000

/** `worldNumber` tells worlds apart without holding those that are gone; `judged` is of the part of the pod that the verdict is on. */
type Kept<Verdict> = { readonly live: LivePod<Verdict>; readonly judged: string; readonly worldNumber: number }

export function createLivePods<World extends object, Verdict>(options: LivePodsOptions<World, Verdict>): LivePods<Verdict> {
  const { cluster, pods, judge, judgeAgain } = options
  /** By UID; in the order of their last use. */
  const kept = new Map<string, Kept<Verdict>>()
  const underWay = new Map<string, Promise<LivePod<Verdict> | Unfit>>()
  const turns: (() => void)[] = []
  let gets = 0
  let lastWorld: World | null = null
  let worldNumber = 0

  function keep(found: Kept<Verdict>): LivePod<Verdict> {
    const { uid } = found.live
    kept.delete(uid)
    kept.set(uid, found)
    // As many as there are pods, and a few that the watch is about to have.
    while (kept.size > pods.size + strangersMax) kept.delete(kept.keys().next().value!)
    return found.live
  }

  function remembered(uid: string, key: string, now: World): LivePod<Verdict> | null {
    const before = kept.get(uid)
    const watched = pods.get(key)
    if (before === undefined || watched?.uid !== uid || !pods.isSynced() || pods.silentMilliseconds() > doubtedMilliseconds) return null
    const isOld = isOlder(before.live.resourceVersion, watched.resourceVersion)
    if (isOld && before.judged !== watched.judged) return null
    const { judged } = before
    // All else that is told of a pod comes from the judged part, and is the same.
    const live = isOld ? { ...before.live, resourceVersion: watched.resourceVersion } : before.live
    if (before.worldNumber === worldNumber) return keep({ live, judged, worldNumber })
    const verdict = judgeAgain?.(live, live.verdict, now) ?? null
    return verdict === null ? null : keep({ live: { ...live, verdict }, judged, worldNumber })
  }

  async function get(podNamespace: string, podName: string): Promise<V1Pod | null> {
    try {
      return await cluster.request<V1Pod>({
        method: 'GET',
        path: pathOf(resources.pods, { namespace: podNamespace, name: podName }),
        timeoutMilliseconds: getMillisecondsMax,
        answerBytesMax: podBytesMax,
      })
    } catch (error) {
      if (error instanceof ClusterRefused && error.status === 404) return null
      throw new NotIdentified('CLUSTER_UNAVAILABLE', `the pod could not be looked up: ${messageOf(error)}`, { cause: error })
    }
  }

  async function inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (gets >= getsMax) await new Promise<void>((resolve) => turns.push(resolve))
    else gets++
    try {
      return await work()
    } finally {
      const next = turns.shift() // Which takes over this turn.
      if (next === undefined) gets--
      else next()
    }
  }

  async function lookAt(uid: string, podNamespace: string, podName: string): Promise<LivePod<Verdict> | Unfit> {
    const pod = await inTurn(() => get(podNamespace, podName))
    const now = worldNow()
    if (pod === null) return gone(uid, 'the cluster has no such pod')
    const part = judgedPartOf(pod)
    const { metadata, status } = part
    if (metadata?.uid !== uid) return gone(uid, 'another pod has its name by now')
    const live: LivePod<Verdict> = {
      uid,
      name: podName,
      namespace: podNamespace,
      labels: metadata.labels ?? {},
      podIPs: (status?.podIPs ?? []).flatMap(({ ip }) => ip ?? []),
      resourceVersion: pod.metadata?.resourceVersion ?? '',
      isBeingDeleted: metadata.deletionTimestamp !== undefined,
      verdict: judge(part, now),
    }
    return keep({ live, judged: judgedDigestOf(pod), worldNumber })
  }

  function gone(uid: string, reason: string): Unfit {
    kept.delete(uid)
    return { kind: 'unfit', reason }
  }

  function worldNow(): World {
    const now = options.world()
    if (now !== lastWorld) {
      lastWorld = now
      worldNumber++
    }
    if (now === null)
      throw new NotIdentified(
        'CLUSTER_UNAVAILABLE',
        'the policies of the cluster are not read yet, or nothing was heard of them for too long',
      )
    return now
  }

  return {
    async look({ podUid, podName, podNamespace }, atLeast) {
      const known = remembered(podUid, `${podNamespace}/${podName}`, worldNow())
      if (known !== null && (atLeast === undefined || !isOlder(known.resourceVersion, atLeast))) return known
      const name = `${podNamespace}/${podName}/${podUid}`
      const running = underWay.get(name)
      if (running !== undefined) return running
      if (underWay.size >= waitingMax) throw new NotIdentified('BUSY', 'too many pods are being looked up')
      const begun = lookAt(podUid, podNamespace, podName)
      underWay.set(name, begun)
      const forget = (): void => void underWay.delete(name)
      begun.then(forget, forget)
      return begun
    },
    get size() {
      return kept.size
    },
  }
}

/** Resource versions are numbers that only rise (Kubernetes 1.35 says so; etcd's revisions before it are too); what is none compares as text. */
function isOlder(version: string, than: string): boolean {
  if (version === than) return false
  return /^\d{1,20}$/.test(version) && /^\d{1,20}$/.test(than) ? BigInt(version) < BigInt(than) : true
}
