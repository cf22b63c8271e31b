/**
 * How the store does, for `/metrics` and `/readyz`: since when it refuses, when it last took something, how much, what waits.
 *
 * Kept in shared memory by the sealing thread, which looks at its own calls of the store; the connection thread only reads. Knows
 * nothing of what is stored but its size and whether it is a segment.
 */
import { nameOf } from '../session/object-keys.ts'
import type { Store } from '../session/stores/store.ts'
import { isPassing, type Persist } from './sealing/persist.ts'

const slots = { failingSince: 0, lastStored: 1, storedBytes: 2, segmentsWaiting: 3 } as const

export type SharedStoreState = SharedArrayBuffer

/** `provenAt`: when the store last took something before the sealing thread began, in milliseconds since the epoch. */
export function createSharedStoreState({ provenAt }: { readonly provenAt: number }): SharedStoreState {
  const shared = new SharedArrayBuffer(Float64Array.BYTES_PER_ELEMENT * Object.keys(slots).length)
  new Float64Array(shared)[slots.lastStored] = provenAt
  return shared
}

export type StoreState = ReturnType<typeof storeState>

/** For the connection thread. */
export function storeState(shared: SharedStoreState) {
  const numbers = new Float64Array(shared)
  return {
    /** For how long something that has to be stored was refused again and again; 0 when nothing is. */
    failingMilliseconds: (): number => (numbers[slots.failingSince] === 0 ? 0 : Math.max(0, Date.now() - numbers[slots.failingSince]!)),
    /** When the store last said that it has an object, in milliseconds since the epoch. */
    lastStored: (): number => numbers[slots.lastStored]!,
    storedBytes: (): number => numbers[slots.storedBytes]!,
    /** Segments that are made and that the store has not taken. */
    segmentsWaiting: (): number => numbers[slots.segmentsWaiting]!,
  }
}

/** For the sealing thread: watches its store and its repeated attempts. What an earlier thread left unfinished no longer counts. */
export function watchStore(shared: SharedStoreState) {
  const numbers = new Float64Array(shared)
  const waiting = new Set<string>()
  let failing = 0
  numbers[slots.failingSince] = 0
  numbers[slots.segmentsWaiting] = 0

  function settled(key: string): void {
    if (waiting.delete(key)) numbers[slots.segmentsWaiting] = waiting.size
  }

  return {
    store: (watched: Store): Store => ({
      ...watched,
      async putIfAbsent(key, bytes) {
        if (nameOf(key).kind === 'segment') numbers[slots.segmentsWaiting] = waiting.add(key).size
        try {
          const outcome = await watched.putIfAbsent(key, bytes)
          settled(key)
          numbers[slots.lastStored] = Date.now()
          if (outcome === 'stored') numbers[slots.storedBytes]! += bytes.length
          return outcome
        } catch (error) {
          if (!isPassing(error)) settled(key) // It is not tried again.
          throw error
        }
      },
    }),
    persist:
      (persist: Persist): Persist =>
      async (attempt, repeats) => {
        let hasFailed = false
        try {
          return await persist(async () => {
            try {
              return await attempt()
            } catch (error) {
              if (!hasFailed && failing++ === 0) numbers[slots.failingSince] = Date.now()
              hasFailed = true
              throw error
            }
          }, repeats)
        } finally {
          if (hasFailed && --failing === 0) numbers[slots.failingSince] = 0
        }
      },
  }
}
