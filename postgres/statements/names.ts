/**
 * The prepared statements, portals and cursors that the server has now, by name.
 *
 * Changed only when the server confirms, so that a name always means what it means to the server. Holds at most `statementsMax`
 * statements and `portalsMax` portals, and of each kind `weightMax` characters, or less while memory is scarce: beyond that the oldest are
 * forgotten, and what uses them says so in place of its text. SQL PREPARE and Parse share one set of names, as they do in the server.
 */
import type { TextEncoding } from '../messages/text-encoding.ts'
import { createBoundedMap } from './bounded-map.ts'
import { boundPortalWeight, preparedWeight, type Portal, type Prepared } from './entries.ts'
import { entryWeight, type TrackerMemory } from './memory.ts'
import type { SqlCommand } from './sql-commands.ts'
import { noLongerKept, preparedInGap, preparedUnseen } from './texts.ts'

const statementsMax = 8192
const portalsMax = 1024
const cursorsMax = 1024
const weightMax = 16 * 1024 * 1024

export type Cursor = { readonly sql: string; readonly hold: boolean }

export type SessionNames = ReturnType<typeof createSessionNames>

/** `onPortalGone` is told of every portal with a part fetched that can be fetched no further. */
export function createSessionNames({
  memory,
  onPortalGone,
}: {
  readonly memory: TrackerMemory
  readonly onPortalGone: (portal: Portal) => void
}) {
  let hadGap = false
  const statements = createBoundedMap<Prepared>({
    ample: { entriesMax: statementsMax, weightMax },
    memory,
    weigh: preparedWeight,
    onForgotten: () => {},
  })
  const portals = createBoundedMap<Portal>({
    ample: { entriesMax: portalsMax, weightMax },
    memory,
    weigh: boundPortalWeight,
    onForgotten: gone,
  })
  const cursors = createBoundedMap<Cursor>({
    ample: { entriesMax: cursorsMax, weightMax },
    memory,
    weigh: (cursor) => cursor.sql.length,
    onForgotten: () => {},
  })

  function gone(portal: Portal): void {
    if (portal.open !== null) onPortalGone(portal)
  }

  function dropPortal(name: string): void {
    const portal = portals.get(name)
    if (portal === undefined) return
    portals.delete(name)
    gone(portal)
  }

  function dropAllPortals(): void {
    if (portals.size === 0) return
    const all = [...portals.entries()]
    portals.clear()
    for (const [, portal] of all) gone(portal)
  }

  function dropNamedStatements(): void {
    const unnamed = statements.get('')
    statements.clear()
    if (unnamed !== undefined) statements.set('', unnamed)
  }

  return {
    memory,
    get weight(): number {
      const entries = statements.size + portals.size + cursors.size
      return entries === 0 ? 0 : statements.weight + portals.weight + cursors.weight + entries * entryWeight
    },
    statement: (name: string): Prepared | undefined => statements.get(name),
    portal: (name: string): Portal | undefined => portals.get(name),
    cursor: (name: string): Cursor | undefined => cursors.get(name),

    prepare(prepared: Prepared): void {
      statements.set(prepared.name, prepared)
    },
    bind(portal: Portal): void {
      dropPortal(portal.name)
      portals.set(portal.name, portal)
    },
    close(target: 'statement' | 'portal', name: string): void {
      if (target === 'statement') statements.delete(name)
      else {
        dropPortal(name)
        cursors.delete(name)
      }
    },
    /** A simple query replaces the unnamed statement and portal by its own, which go with it. */
    afterSimpleQuery(): void {
      if (statements.size > 0) statements.delete('')
      if (portals.size > 0) dropPortal('')
    },
    endTransaction(): void {
      dropAllPortals()
      if (cursors.size === 0) return
      for (const [name, cursor] of [...cursors.entries()]) if (!cursor.hold) cursors.delete(name)
    },
    /** What a SQL command that succeeded did to the names. */
    apply(command: SqlCommand, by: Prepared): void {
      switch (command.kind) {
        case 'prepare':
          statements.set(command.name, {
            ...by,
            name: command.name,
            sql: command.text,
            sqlBytes: by.sqlBytes - Buffer.byteLength(by.sql) + Buffer.byteLength(command.text),
          })
          return
        case 'deallocate':
          if (command.all) dropNamedStatements()
          else statements.delete(command.name)
          return
        case 'discardAll':
          dropNamedStatements()
          dropAllPortals()
          cursors.clear()
          return
        case 'declare':
          cursors.set(command.name, { sql: command.text, hold: command.hold })
          return
        case 'closeCursor':
          if (command.all) {
            cursors.clear()
            dropAllPortals()
          } else {
            cursors.delete(command.name)
            dropPortal(command.name)
          }
          return
        case 'execute':
        case 'fetch':
          return
        default:
          command satisfies never
      }
    },
    /** The text that a SQL command refers to by name, or null. */
    textBehind(command: SqlCommand): string | null {
      if (command.kind === 'execute') return statements.get(command.name)?.sql ?? null
      if (command.kind !== 'fetch') return null
      return cursors.get(command.name)?.sql ?? portals.get(command.name)?.prepared?.sql ?? null
    },
    /** What to say in place of the text of a name that is not known. */
    unknownText(): string {
      if (hadGap) return preparedInGap
      return statements.hasForgotten || portals.hasForgotten ? noLongerKept : preparedUnseen
    },
    /** Named statements mostly outlive a gap, but any may have been replaced in it; all else is forgotten. */
    afterGap(): void {
      hadGap = true
      statements.delete('')
      for (const [, prepared] of statements.entries()) prepared.uncertain = true
      dropAllPortals()
      cursors.clear()
    },
    end(): void {
      dropAllPortals()
    },
  }
}

/** What the text of messages depends on, as ParameterStatus says it. */
export type SessionSettings = { encoding: TextEncoding; standardConformingStrings: boolean }
