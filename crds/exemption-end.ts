/**
 * When exemptions end: a ClusterSessionPolicy as it holds at a moment, and the moment at which it means something else. Pure.
 *
 * An exemption without `until` has no end of its own. The API server judges the same by the pod's creation (charts/steno, policy `sidecar`), so that
 * one ends with all of steno down; here it ends for webhook, control, relay and people.
 */
import type { ClusterSessionPolicy } from './cluster-session-policy.ts'

/** `now` in milliseconds since the epoch. The same object where nothing of it has ended. */
export function withoutEnded(policy: ClusterSessionPolicy, now: number): ClusterSessionPolicy {
  const { exemptPods } = policy.spec
  const held = exemptPods.filter(({ until }) => !isOver(until, now))
  return held.length === exemptPods.length ? policy : { ...policy, spec: { ...policy.spec, exemptPods: held } }
}

/** Milliseconds since the epoch; null when nothing of them ends after `now`. */
export function nextEnd(policies: Iterable<ClusterSessionPolicy>, now: number): number | null {
  const ends = [...policies].flatMap(({ spec }) => spec.exemptPods.flatMap(({ until }) => (until === undefined ? [] : [Date.parse(until)])))
  const ahead = ends.filter((end) => end > now)
  return ahead.length === 0 ? null : Math.min(...ahead)
}

/** What no clock can read is over: the schema lets none in, and open is not the safe side. */
function isOver(until: string | undefined, now: number): boolean {
  return until !== undefined && !(Date.parse(until) > now)
}
