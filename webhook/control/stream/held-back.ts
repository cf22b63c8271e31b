/**
 * Tells an operator that policies are held back from sidecars because these know a later state of the cluster than this control can find.
 *
 * That lasts when the cluster's own store went back, as after a restore from a backup: nothing is wrong with control then, and nothing else
 * would say so. One warning for each episode, however many pods, documents and streams it has: an episode ends when nothing was held back for
 * a minute, which is longer than a sidecar needs to come again. Decides nothing; holds a count and one example.
 */
import type { Log } from '../../../base/log.ts'
import { positionsText, type PolicyPositions } from '../../../session/policy-document.ts'

/** What is held back from one pod, for people: where its sidecar's document stands, and where this control's would. */
export type HeldBack = {
  readonly podUid: string
  readonly pod: string
  readonly awaited: { readonly generation: bigint; readonly positions: PolicyPositions | null }
  readonly reached: { readonly generation: bigint; readonly positions: PolicyPositions }
}

const calmMilliseconds = 60_000
const remedy =
  'Was etcd restored from a backup? Then make these pods again (docs/operations.md, "etcd restored from a backup"): they keep the policy that they have until the cluster’s revision has passed it. Was it not, see why this control hears less than others: steno_watch_silence_seconds, and the API server’s own health.'

export function createHeldBack(log: Log) {
  let pods = 0
  /** When something was last held back; null: outside of an episode. */
  let lastSeen: number | null = null
  return {
    /** All that is held back at this moment, for longer than a control that merely lags needs. `now` in milliseconds. */
    look(held: readonly HeldBack[], now: number): void {
      pods = new Set(held.map(({ podUid }) => podUid)).size
      const [example] = held
      if (example !== undefined) {
        if (lastSeen === null) log.warn({ ...wordsOf(example), pods, remedy }, `policies are held back from ${pods} pods: ${reason}`)
        lastSeen = now
      } else if (lastSeen !== null && now - lastSeen >= calmMilliseconds) {
        lastSeen = null
        log.info('no policy is held back from any pod of this control')
      }
    },
    /** Pods from which something is held back now. */
    get pods(): number {
      return pods
    },
  }
}

const reason = 'their sidecars go by a later state of the cluster than the API server tells, and take no earlier one'

function wordsOf({ pod, awaited, reached }: HeldBack): {
  readonly example: string
  readonly sidecarHas: string
  readonly controlHas: string
} {
  const ofPositions = awaited.positions === null ? null : positionsText(awaited.positions)
  return {
    example: pod,
    sidecarHas: ofPositions ?? String(awaited.generation),
    controlHas: ofPositions === null ? String(reached.generation) : positionsText(reached.positions),
  }
}
