/**
 * The watch of ClusterSessionPolicies as they hold now: exemptions whose `until` is over are left out, and whoever watches is told at that moment.
 *
 * Nothing of the object changes when an exemption ends, its generation neither. So it is told as an object that went and another that came, which is
 * what it means to all who judge by it. Looks at least once a minute, for clocks jump. Holds one timer.
 */
import { nextEnd, withoutEnded } from '../crds/exemption-end.ts'
import type { ClusterSessionPolicy } from '../crds/cluster-session-policy.ts'
import type { KeptPolicy } from './policy-world.ts'
import type { Change, ResourceWatch } from './watch-resource.ts'

type Kept = KeptPolicy<ClusterSessionPolicy>

const lookMillisecondsMax = 60_000

export function createExemptionEnds({
  tell,
  wallClock = Date.now,
}: {
  readonly tell: (change: Change<Kept>) => void
  /** Milliseconds since the epoch. */
  readonly wallClock?: () => number
}) {
  let watched: ResourceWatch<Kept> | null = null
  let lookedAt = wallClock()
  let timer: NodeJS.Timeout | null = null

  function at(kept: Kept, now: number): Kept {
    if (kept.policy === null) return kept
    const policy = withoutEnded(kept.policy, now)
    return policy === kept.policy ? kept : { ...kept, policy }
  }

  function look(): void {
    if (watched === null) return
    const before = lookedAt
    const now = (lookedAt = wallClock())
    const policies: ClusterSessionPolicy[] = []
    for (const kept of watched.values()) {
      if (kept.policy === null) continue
      policies.push(kept.policy)
      const [was, is] = [at(kept, before), at(kept, now)]
      if (was.policy?.spec.exemptPods.length === is.policy?.spec.exemptPods.length) continue
      tell({ key: kept.name, before: was, after: undefined })
      tell({ key: kept.name, before: undefined, after: is })
    }
    if (timer !== null) clearTimeout(timer)
    const next = nextEnd(policies, now)
    timer = next === null ? null : setTimeout(look, Math.min(next - now, lookMillisecondsMax)).unref()
  }

  return {
    /** What the watch says, as it holds now. */
    changed({ key, before, after }: Change<Kept>): void {
      const now = wallClock()
      const shown = (kept: Kept | undefined): Kept | undefined => (kept === undefined ? undefined : at(kept, now))
      tell({ key, before: shown(before), after: shown(after) })
      look()
    },
    over(watch: ResourceWatch<Kept>): ResourceWatch<Kept> {
      watched = watch
      void watch.synced.then(look)
      return {
        get(key) {
          const kept = watch.get(key)
          return kept === undefined ? undefined : at(kept, wallClock())
        },
        *values() {
          const now = wallClock()
          for (const kept of watch.values()) yield at(kept, now)
        },
        get size() {
          return watch.size
        },
        synced: watch.synced,
        isSynced: () => watch.isSynced(),
        get version() {
          return watch.version
        },
        refresh: () => watch.refresh(),
        silentMilliseconds: () => watch.silentMilliseconds(),
        stop() {
          if (timer !== null) clearTimeout(timer)
          watched = null
          watch.stop()
        },
      }
    },
    look,
  }
}
