/**
 * What names would mean if the server had taken messages that it skipped or never answered.
 *
 * Lets a skipped Execute show the text and parameters that were sent for it, without touching the real names.
 */
import type { Entry, Portal, Prepared } from './entries.ts'
import type { SessionNames } from './names.ts'

export type Preview = {
  /** Takes a Parse, Bind or Close into account; other entries change nothing. */
  apply(entry: Entry): void
  portal(name: string): Portal | undefined
}

/** Beyond this many names the preview forgets: then texts are the real names' or unknown. */
const namesMax = 1024

export function createPreview(names: SessionNames): Preview {
  const statements = new Map<string, Prepared | undefined>()
  const portals = new Map<string, Portal | undefined>()

  function set<Value>(map: Map<string, Value>, name: string, value: Value): void {
    if (map.size >= namesMax) map.clear()
    map.set(name, value)
  }

  return {
    apply(entry) {
      if (entry.kind === 'parse') set(statements, entry.prepared.name, entry.prepared)
      else if (entry.kind === 'bind') {
        const { portal } = entry
        const known = statements.has(portal.statementName) ? statements.get(portal.statementName) : names.statement(portal.statementName)
        portal.prepared = known ?? null
        set(portals, portal.name, portal)
      } else if (entry.kind === 'close') {
        if (entry.target === 'statement') set(statements, entry.name, undefined)
        else set(portals, entry.name, undefined)
      }
    },
    portal: (name) => (portals.has(name) ? portals.get(name) : names.portal(name)),
  }
}
