/**
 * Writes what sidecars measured as the condition `steno.dev/EgressClosed` of their pods: at a change, otherwise every five minutes; and `NotReported`
 * for one that has fallen silent for 45 s.
 *
 * Several controls may hear of one pod, one after the other. Who hears of a pod first writes always; who wants to say that it is silent looks first
 * whether somebody else has heard it since. Bounded: so many pods, so many writes at a time and a second. A pod that is gone is forgotten.
 */
import { messageOf } from '../../../base/errors.ts'
import type { Log } from '../../../base/log.ts'
import type { ClusterClient } from '../../../cluster/client.ts'
import { ClusterRefused } from '../../../cluster/errors.ts'
import type { PodIdentity } from '../../../cluster/identity/pod.ts'
import { egressOf } from '../../../cluster/pod-watch.ts'
import { pathOf, resources } from '../../../cluster/resources.ts'
import { conditionOf, notReported, verdictOf, type Egress, type EgressVerdict, type PodCondition } from './facts.ts'

export const silenceMilliseconds = 45_000
const repeatMilliseconds = 300_000
/** Between two writes for one pod, however often its state changes. */
const writeMillisecondsMin = 2_000
const retryMilliseconds = 5_000
const lookMilliseconds = 1_000
const podsMax = 20_000
const writesPerLookMax = 50
const writesAtOnceMax = 8
const requestMillisecondsMax = 5_000

type Pod = Pick<PodIdentity, 'podUid' | 'podName' | 'podNamespace'>

type Entry = {
  readonly pod: Pod
  verdict: EgressVerdict
  /** When it was heard and measured last, milliseconds since the epoch. */
  heardWall: number
  measured: number
  /** Of a clock that never goes back. */
  heardAt: number
  writtenAt: number
  /** Nothing is written before. */
  notBefore: number
  written: { readonly verdict: EgressVerdict; readonly condition: PodCondition } | null
  isWriting: boolean
}

export type PodConditions = ReturnType<typeof createPodConditions>

export function createPodConditions({
  cluster,
  log,
  now = () => performance.now(),
  wallClock = Date.now,
}: {
  readonly cluster: Pick<ClusterClient, 'request'>
  readonly log: Log
  readonly now?: () => number
  readonly wallClock?: () => number
}) {
  const pods = new Map<string, Entry>()

  function isDue(entry: Entry): boolean {
    const { written, verdict, isWriting, notBefore, writtenAt } = entry
    if (isWriting || now() < notBefore) return false
    return written === null || !isSame(written.verdict, verdict) || now() - writtenAt >= repeatMilliseconds
  }

  async function read(pod: Pod) {
    const path = pathOf(resources.pods, { namespace: pod.podNamespace, name: pod.podName })
    const found = await cluster.request<{
      readonly metadata?: { readonly uid?: string }
      readonly status?: { readonly conditions?: Parameters<typeof egressOf>[0] }
    }>({ method: 'GET', path, timeoutMilliseconds: requestMillisecondsMax })
    return found.metadata?.uid === pod.podUid ? { egress: egressOf(found.status?.conditions) } : null
  }

  /** Never throws. */
  async function write(entry: Entry): Promise<void> {
    const { pod, verdict, measured, heardWall } = entry
    entry.isWriting = true
    try {
      const isSilent = verdict === notReported
      const before = entry.written === null || isSilent ? await read(pod) : { egress: entry.written.condition }
      if (before === null) return forget(entry)
      // Another control has heard the pod since: it is not silent, and no longer this one's to speak of.
      if (isSilent && Date.parse(before.egress?.lastProbeTime ?? '') > heardWall + 1_000) return forget(entry)
      const condition = conditionOf(verdict, before.egress, timeText(measured), timeText(wallClock()))
      await cluster.request({
        method: 'PATCH',
        path: pathOf(resources.pods, { namespace: pod.podNamespace, name: pod.podName, subresource: 'status' }),
        patch: 'strategic',
        // The UID keeps it from a pod that has got the same name meanwhile.
        body: { metadata: { uid: pod.podUid }, status: { conditions: [condition] } },
        timeoutMilliseconds: requestMillisecondsMax,
      })
      entry.written = { verdict, condition }
      entry.writtenAt = now()
      entry.notBefore = now() + writeMillisecondsMin
    } catch (error) {
      if (error instanceof ClusterRefused && (error.status === 404 || error.status === 409)) return forget(entry)
      entry.notBefore = now() + retryMilliseconds
      log.warn({ pod: `${pod.podNamespace}/${pod.podName}` }, `the condition of a pod cannot be written: ${messageOf(error)}`)
    } finally {
      entry.isWriting = false
    }
  }

  function forget(entry: Entry): void {
    if (pods.get(entry.pod.podUid) === entry) pods.delete(entry.pod.podUid)
  }

  /** Writes what is due. Never throws. */
  async function look(): Promise<void> {
    for (const entry of pods.values()) if (now() - entry.heardAt >= silenceMilliseconds) entry.verdict = notReported
    const due: Entry[] = []
    for (const entry of pods.values()) {
      if (due.length >= writesPerLookMax) break
      if (isDue(entry)) due.push(entry)
    }
    const work = async (): Promise<void> => {
      for (let entry = due.shift(); entry !== undefined; entry = due.shift()) await write(entry)
    }
    await Promise.all(Array.from({ length: Math.min(writesAtOnceMax, due.length) }, work))
  }
  const timer = setInterval(() => void look(), lookMilliseconds).unref()

  return {
    heard({ podUid, podName, podNamespace }: Pod, egress: Egress): void {
      const known = pods.get(podUid)
      const verdict = verdictOf(egress)
      // Where nothing is measured it is the report that counts; what is said of times ahead would hide silence.
      const measured = egress.measured > 0 ? Math.min(egress.measured, wallClock()) : wallClock()
      if (known !== undefined) {
        Object.assign(known, { verdict, measured, heardAt: now(), heardWall: wallClock() })
        return
      }
      // The one silent longest makes room; it is heard of anew when it speaks.
      if (pods.size >= podsMax) pods.delete(pods.keys().next().value!)
      const pod = { podUid, podName, podNamespace }
      const times = { heardWall: wallClock(), measured, heardAt: now(), writtenAt: -Infinity, notBefore: -Infinity }
      pods.set(podUid, { pod, verdict, ...times, written: null, isWriting: false })
    },
    /** The pod is gone, as the watch says. */
    gone({ podUid }: { readonly podUid: string }): void {
      pods.delete(podUid)
    },
    look,
    /** Pods that have fallen silent. */
    get silent(): number {
      return [...pods.values()].filter(({ verdict }) => verdict === notReported).length
    },
    get size(): number {
      return pods.size
    },
    stop: (): void => clearInterval(timer),
  }
}

function isSame(one: EgressVerdict, other: EgressVerdict): boolean {
  return one.status === other.status && one.reason === other.reason && one.message === other.message
}

/** To the second, as Kubernetes writes times. */
function timeText(milliseconds: number): string {
  return `${new Date(milliseconds).toISOString().slice(0, 19)}Z`
}
