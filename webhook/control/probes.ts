/**
 * Whose the probes are that lie in the stores for a moment: in memory, since a probe lives for milliseconds and its name is a random UUID.
 *
 * After a restart of control nobody owns the ones before it: whoever knows such a name made it up, and may remove it. Bounded, in all and
 * for each pod: a probe that its pod does not remove stays in the store, and counts for ten minutes.
 */
import type { PodIdentity } from '../../cluster/identity/pod.ts'
import { Refusal } from './refusal.ts'

const probesMax = 10_000
/** A sidecar has one at a time, and leaves one behind when it is killed. */
const probesPerPodMax = 16
const countedMilliseconds = 600_000
const namePattern = /^probe\/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

export type Probes = ReturnType<typeof createProbes>

/** `now` is of a clock that never goes back. */
export function createProbes({ now = () => performance.now() }: { readonly now?: () => number } = {}) {
  /** In the order of coming. */
  const probes = new Map<string, { readonly podUid: string; readonly until: number }>()
  const counts = new Map<string, number>()

  function forget(key: string): void {
    const probe = probes.get(key)
    if (probe === undefined) return
    probes.delete(key)
    const left = (counts.get(probe.podUid) ?? 1) - 1
    if (left === 0) counts.delete(probe.podUid)
    else counts.set(probe.podUid, left)
  }

  function forgetOld(): void {
    for (const [key, { until }] of probes) {
      if (until > now() && probes.size <= probesMax) return
      forget(key)
    }
  }

  return {
    /** @throws Refusal for a name that cannot be a probe's, or is another pod's, and for a pod that leaves its probes behind */
    claim(key: string, { podUid }: PodIdentity): void {
      if (!namePattern.test(key)) throw new Refusal('OBJECT_UNFIT', 'a probe is named by a random UUID')
      forgetOld()
      const known = probes.get(key)
      if (known?.podUid === podUid) return
      if (known !== undefined) throw new Refusal('NOT_YOURS', 'the probe is another pod’s')
      const count = counts.get(podUid) ?? 0
      if (count >= probesPerPodMax) throw new Refusal('TOO_MANY_UPLOADS', `the pod has ${count} probes in the store and removes none`)
      probes.set(key, { podUid, until: now() + countedMilliseconds })
      counts.set(podUid, count + 1)
    },
    isOf: (key: string, { podUid }: PodIdentity): boolean => namePattern.test(key) && (probes.get(key)?.podUid ?? podUid) === podUid,
    forget,
  }
}
