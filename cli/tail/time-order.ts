/**
 * Puts into the order of time what comes in several orders at once: a session's lines are in order, sessions of different recorders are not.
 *
 * What belongs together (`within`) never changes its order, whatever its times say: a clock may be set back. Holds what was not taken yet.
 */
type Placed<Value> = { readonly value: Value; readonly time: number; readonly at: number }

/** `time` in milliseconds since the epoch. */
export type Place = { readonly time: number; readonly within: string }

export function createTimeOrder<Value>() {
  let held: Placed<Value>[] = []
  /** How far each that is held has come. */
  let reached = new Map<string, number>()
  let added = 0
  return {
    add(value: Value, { time, within }: Place): void {
      const placed = Math.max(time, reached.get(within) ?? -Infinity)
      reached.set(within, placed)
      held.push({ value, time: placed, at: added++ })
    },
    /** Everything up to `time`, the earliest first; of equal times what was added first. */
    take(time: number): Value[] {
      const sorted = held.sort((a, b) => a.time - b.time || a.at - b.at)
      const end = sorted.findIndex((each) => each.time > time)
      const taken = end < 0 ? sorted : sorted.slice(0, end)
      held = end < 0 ? [] : sorted.slice(end)
      if (held.length === 0) reached = new Map()
      return taken.map(({ value }) => value)
    },
  }
}
