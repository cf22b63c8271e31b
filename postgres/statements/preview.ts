/**
 * What names would mean if the server had taken messages that it skipped or never answered.
 *
 * Lets a skipped Execute show the text and parameters that were sent for it, without touching the real names. Bounded as those
 * are: what it forgets shows as the real name's, or as unknown.
 */
import { createBoundedMap } from './bounded-map.ts'
import { boundPortalWeight, preparedWeight, type Entry, type Portal, type Prepared } from './entries.ts'
import type { Amount, TrackerMemory } from './memory.ts'
import type { SessionNames } from './names.ts'

export type Preview = {
  /** Takes a Parse, Bind or Close into account; other entries change nothing. */
  apply(entry: Entry): void
  portal(name: string): Portal | undefined
  /** True from the second time on: a further Execute of the same Bind is the same statement. */
  wasExecuted(portal: Portal): boolean
  /** Of what it holds, in characters. */
  readonly weight: number
}

const ample: Amount = { entriesMax: 1024, weightMax: 4 * 1024 * 1024 }

/** A closed name is null. */
const createOverlay = <Value>(memory: TrackerMemory, weigh: (value: Value) => number) =>
  createBoundedMap<Value | null>({ ample, memory, weigh: (value) => (value === null ? 0 : weigh(value)), onForgotten: () => {} })

export function createPreview(names: SessionNames): Preview {
  const statements = createOverlay<Prepared>(names.memory, preparedWeight)
  const portals = createOverlay<Portal>(names.memory, boundPortalWeight)
  const executed = new WeakSet<Portal>()

  return {
    apply(entry) {
      if (entry.kind === 'parse') statements.set(entry.prepared.name, entry.prepared)
      else if (entry.kind === 'bind') {
        const { portal } = entry
        const overlaid = statements.get(portal.statementName)
        portal.prepared = overlaid === undefined ? (names.statement(portal.statementName) ?? null) : overlaid
        portals.set(portal.name, portal)
      } else if (entry.kind === 'close') {
        const closed = entry.target === 'statement' ? statements : portals
        closed.set(entry.name, null)
      }
    },
    portal(name) {
      const overlaid = portals.get(name)
      return overlaid === undefined ? names.portal(name) : (overlaid ?? undefined)
    },
    wasExecuted(portal) {
      const was = executed.has(portal)
      executed.add(portal)
      return was
    },
    get weight() {
      return statements.weight + portals.weight
    },
  }
}
