/**
 * Writes what sidecars say as conditions of their pods, `steno.dev/EgressClosed`, `steno.dev/RecordingStored` and `steno.dev/PolicyFollowed`: at a
 * change, otherwise every five minutes; and `NotReported` for one that has fallen silent for 45 s. The conditions of a pod are one write.
 *
 * Several controls may hear of one pod, one after the other. Who hears of a pod first writes always; who wants to say that it is silent looks first
 * whether somebody else has heard it since. Bounded: so many pods, so many writes at a time and a second. A pod that is gone is forgotten.
 */
import { messageOf } from '../../../base/errors.ts'
import type { Log } from '../../../base/log.ts'
import type { ClusterClient } from '../../../cluster/client.ts'
import { ClusterRefused } from '../../../cluster/errors.ts'
import type { PodIdentity } from '../../../cluster/identity/pod.ts'
import { egressCondition, stenoConditionOf, type StenoCondition } from '../../../cluster/pod-watch.ts'
import { pathOf, resources } from '../../../cluster/resources.ts'
import type { PodFacts } from '../../../session/pod-facts.ts'
import { conditionOf, silentVerdicts, verdictsOf, type PodCondition, type Verdict } from './facts.ts'

export const silenceMilliseconds = 45_000
const repeatMilliseconds = 300_000
/** Between two writes for one pod, however often its state changes. */
const writeMillisecondsMin = 2_000
const retryMilliseconds = 5_000
/** What an admission policy refuses it refuses again, as in a namespace that was taken out while its pods still speak. */
const refusedMilliseconds = 30_000
const lookMilliseconds = 1_000
const podsMax = 20_000
const writesPerLookMax = 50
const writesAtOnceMax = 8
const requestMillisecondsMax = 5_000

type Pod = Pick<PodIdentity, 'podUid' | 'podName' | 'podNamespace'>

/** What stood there of a type. */
type Before = (type: string) => Pick<StenoCondition, 'status' | 'lastTransitionTime' | 'lastProbeTime'> | null

type Entry = {
  readonly pod: Pod
  verdicts: readonly Verdict[]
  isSilent: boolean
  /** When it was heard and measured last, milliseconds since the epoch. */
  heardWall: number
  measured: number
  /** Of a clock that never goes back. */
  heardAt: number
  writtenAt: number
  /** Nothing is written before. */
  notBefore: number
  written: readonly PodCondition[] | null
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
    const { written, verdicts, isWriting, notBefore, writtenAt } = entry
    if (isWriting || now() < notBefore) return false
    if (written === null || now() - writtenAt >= repeatMilliseconds) return true
    return verdicts.some((verdict) => !isSame(of(written, verdict.type), verdict))
  }

  async function read(pod: Pod): Promise<Before | null> {
    const path = pathOf(resources.pods, { namespace: pod.podNamespace, name: pod.podName })
    const found = await cluster.request<{
      readonly metadata?: { readonly uid?: string }
      readonly status?: { readonly conditions?: Parameters<typeof stenoConditionOf>[0] }
    }>({ method: 'GET', path, timeoutMilliseconds: requestMillisecondsMax })
    if (found.metadata?.uid !== pod.podUid) return null
    return (type) => stenoConditionOf(found.status?.conditions, type)
  }

  /** Never throws. */
  async function write(entry: Entry): Promise<void> {
    const { pod, verdicts, isSilent, measured, heardWall, written } = entry
    entry.isWriting = true
    try {
      const before: Before | null = written === null || isSilent ? await read(pod) : (type) => of(written, type)
      if (before === null) return forget(entry)
      // Another control has heard the pod since: it is not silent, and no longer this one's to speak of.
      if (isSilent && Date.parse(before(egressCondition)?.lastProbeTime ?? '') > heardWall + 1_000) return forget(entry)
      const probed = (type: string): string => timeText(type === egressCondition ? measured : heardWall)
      const conditions = verdicts.map((verdict) => conditionOf(verdict, before(verdict.type), probed(verdict.type), timeText(wallClock())))
      await cluster.request({
        method: 'PATCH',
        path: pathOf(resources.pods, { namespace: pod.podNamespace, name: pod.podName, subresource: 'status' }),
        patch: 'strategic',
        // The UID keeps it from a pod that has got the same name meanwhile.
        body: { metadata: { uid: pod.podUid }, status: { conditions } },
        timeoutMilliseconds: requestMillisecondsMax,
      })
      entry.written = conditions
      entry.writtenAt = now()
      entry.notBefore = now() + writeMillisecondsMin
    } catch (error) {
      if (error instanceof ClusterRefused && (error.status === 404 || error.status === 409)) return forget(entry)
      entry.notBefore = now() + (error instanceof ClusterRefused && error.status === 422 ? refusedMilliseconds : retryMilliseconds)
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
    for (const entry of pods.values()) {
      if (entry.isSilent || now() - entry.heardAt < silenceMilliseconds) continue
      const spokeOf = new Set(entry.verdicts.map(({ type }) => type))
      Object.assign(entry, { isSilent: true, verdicts: silentVerdicts.filter(({ type }) => spokeOf.has(type)) })
    }
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
    heard({ podUid, podName, podNamespace }: Pod, facts: PodFacts): void {
      const known = pods.get(podUid)
      const verdicts = verdictsOf(facts)
      const { egress } = facts
      // Where nothing is measured it is the report that counts; what is said of times ahead would hide silence.
      const measured = egress.measured > 0 ? Math.min(egress.measured, wallClock()) : wallClock()
      if (known !== undefined) {
        Object.assign(known, { verdicts, isSilent: false, measured, heardAt: now(), heardWall: wallClock() })
        return
      }
      // The one silent longest makes room; it is heard of anew when it speaks.
      if (pods.size >= podsMax) pods.delete(pods.keys().next().value!)
      const pod = { podUid, podName, podNamespace }
      const times = { heardWall: wallClock(), measured, heardAt: now(), writtenAt: -Infinity, notBefore: -Infinity }
      pods.set(podUid, { pod, verdicts, isSilent: false, ...times, written: null, isWriting: false })
    },
    /** The pod is gone, as the watch says. */
    gone({ podUid }: { readonly podUid: string }): void {
      pods.delete(podUid)
    },
    look,
    /** Pods that have fallen silent. */
    get silent(): number {
      return [...pods.values()].filter(({ isSilent }) => isSilent).length
    },
    get size(): number {
      return pods.size
    },
    stop: (): void => clearInterval(timer),
  }
}

function of(conditions: readonly PodCondition[], wanted: string): PodCondition | null {
  return conditions.find(({ type }) => type === wanted) ?? null
}

function isSame(one: Verdict | null, other: Verdict): boolean {
  return one !== null && one.status === other.status && one.reason === other.reason && one.message === other.message
}

/** To the second, as Kubernetes writes times. */
function timeText(milliseconds: number): string {
  return `${new Date(milliseconds).toISOString().slice(0, 19)}Z`
}
