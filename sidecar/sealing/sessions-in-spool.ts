/**
 * Which sessions a process's spool speaks of, read through once before it is sealed.
 *
 * Holds an id and a time for each. Of damage it knows only that it ends there: who seals the spool says so.
 */
import type { SessionIdentity } from '../../session/identity.ts'
import { BadRecord, RecordCursor, recordType } from '../../session/records.ts'
import { createSpoolReader } from './spool-reader.ts'

/** When each session that the spool of `epoch` speaks of opened, in milliseconds since the epoch, by its id. */
export function sessionsInSpool(folder: string, epoch: number): Map<string, number> {
  const opened = new Map<string, number>()
  const reader = createSpoolReader({ folder, epoch, start: null })
  const end = reader.end
  try {
    for (;;) {
      const bytes = nextOf()
      if (bytes?.length === 0) return opened
      const walked = bytes === null ? 0 : walk(bytes)
      if (walked > 0) reader.advance(walked)
      else reader.skipDamage('unreadable')
    }
  } finally {
    reader.close()
  }

  /** Null for a first record that claims more than any has. */
  function nextOf(): Buffer | null {
    try {
      return reader.read(end)
    } catch (error) {
      if (!(error instanceof BadRecord)) throw error
      return null
    }
  }

  /** How many bytes are whole and sound. */
  function walk(bytes: Buffer): number {
    const cursor = new RecordCursor(bytes)
    try {
      while (cursor.next()) {
        if (cursor.type !== recordType.sessionOpen) continue
        const identity = JSON.parse(cursor.payload.toString('utf8')) as SessionIdentity
        opened.set(identity.session, identity.opened)
      }
    } catch (error) {
      if (!(error instanceof BadRecord)) throw error
    }
    return cursor.end
  }
}
