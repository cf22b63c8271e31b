/**
 * Whether copies of the cluster may still be believed: a watch that has said nothing for longer than bookmarks take may be half open, while
 * others of the same process live.
 *
 * One that is silent lists again by itself (`watch-resource.ts`), and at once when somebody asks here before it has come to that: so a server
 * which sends no bookmarks is no reason to stop. Only when that brings nothing either is the copy too old to decide anything.
 */
import type { ResourceWatch } from './watch-resource.ts'

/** Bookmarks come about once a minute, so a watch that was silent for longer may have missed something. */
export const doubtedMilliseconds = 100_000
/** What the API server does not confirm for so long decides nothing any more. */
export const believedMillisecondsMax = 130_000

export type Heard = Pick<ResourceWatch<unknown>, 'silentMilliseconds' | 'refresh'>

export function areHeard(watches: readonly Heard[]): boolean {
  let isHeard = true
  for (const watch of watches) {
    const silent = watch.silentMilliseconds()
    if (silent > doubtedMilliseconds) watch.refresh()
    if (silent > believedMillisecondsMax) isHeard = false
  }
  return isHeard
}
