/**
 * A map that forgets its oldest entries when it holds too many, or too much.
 */
import { scarceNames, type Amount, type TrackerMemory } from './memory.ts'

export type BoundedMap<Value> = {
  get(key: string): Value | undefined
  set(key: string, value: Value): void
  delete(key: string): void
  clear(): void
  entries(): IterableIterator<[string, Value]>
  readonly size: number
  /** Of all that it holds. */
  readonly weight: number
  /** True once an entry was forgotten for lack of room. */
  readonly hasForgotten: boolean
}

/** `weigh` must give the same for a value as long as it is held; an entry heavier than `weightMax` is kept alone. */
export function createBoundedMap<Value>({
  ample,
  memory,
  weigh,
  onForgotten,
}: {
  /** While memory is not scarce. */
  readonly ample: Amount
  readonly memory: TrackerMemory
  readonly weigh: (value: Value) => number
  readonly onForgotten: (value: Value) => void
}): BoundedMap<Value> {
  const map = new Map<string, Value>()
  let weight = 0
  let hasForgotten = false

  function remove(key: string): Value | undefined {
    const value = map.get(key)
    if (value === undefined) return undefined
    map.delete(key)
    weight -= weigh(value)
    return value
  }

  return {
    get: (key) => map.get(key),
    set(key, value) {
      remove(key)
      map.set(key, value)
      weight += weigh(value)
      const { entriesMax, weightMax } = memory.isScarce ? scarceNames : ample
      while (map.size > 1 && (map.size > entriesMax || weight > weightMax)) {
        const oldest = map.keys().next().value!
        const forgotten = remove(oldest)!
        hasForgotten = true
        onForgotten(forgotten)
      }
    },
    delete(key) {
      remove(key)
    },
    clear() {
      map.clear()
      weight = 0
    },
    entries: () => map.entries(),
    get size() {
      return map.size
    },
    get weight() {
      return weight
    },
    get hasForgotten() {
      return hasForgotten
    },
  }
}
