/**
 * What `/ship` does: has the spool sealed and stored now rather than when it is due, answers within a bound, and lets little wait from then
 * on, because whoever asks knows that the end is near.
 *
 * The kubelet asks when the pod's termination begins (preStop); the agent's containers go on for up to the grace period, and what they say
 * meanwhile should not be left for the last two seconds. Whoever reaches the pod may ask too, and it must not cost much: everything is sealed
 * at most once in `intervalMilliseconds`; and what makes a session have a segment a second ends after `hastenMilliseconds`, and begins again
 * for those in the pod after `hastenAgainMilliseconds` only. Over time a session has no more than twice the segments that it has anyway.
 */
import type { Recorder } from '../recorder.ts'
import type { TextAnswer } from '../metrics-server.ts'

const shipped: TextAnswer = { status: 200, text: 'shipped\n' }
const underWay: TextAnswer = { status: 202, text: 'under way; the spool keeps what is not stored yet\n' }

export type ShippingLimits = {
  readonly intervalMilliseconds: number
  readonly waitMillisecondsMax: number
  readonly hastenMilliseconds: number
  readonly hastenAgainMilliseconds: number
}

export function createShipping(
  recorder: Pick<Recorder, 'ship' | 'hasten' | 'waitingBytes'>,
  limits: ShippingLimits,
  { now = () => performance.now() }: { readonly now?: () => number } = {},
) {
  let begunAt = -Infinity
  let hastenedAt = -Infinity
  let last: Promise<boolean> = Promise.resolve(true)

  function hasten(fromPod: boolean): void {
    if (now() - hastenedAt < (fromPod ? limits.hastenAgainMilliseconds : limits.intervalMilliseconds)) return
    hastenedAt = now()
    recorder.hasten({ forMilliseconds: limits.hastenMilliseconds })
  }

  return {
    /** `fromPod`: whether one of the pod's own processes asks, and not the kubelet. */
    async ask({ fromPod }: { readonly fromPod: boolean }): Promise<TextAnswer> {
      hasten(fromPod)
      if (recorder.waitingBytes === 0) return shipped
      if (now() - begunAt >= limits.intervalMilliseconds) {
        begunAt = now()
        last = recorder.ship({ waitMilliseconds: limits.waitMillisecondsMax })
      }
      return (await last) ? shipped : underWay
    },
  }
}
