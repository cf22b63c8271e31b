/**
 * SQL commands that changed what names mean, recognised by the tag with which the server says that they succeeded.
 */
import type { Conversation } from './conversation.ts'
import type { OpenStatement } from './open-statement.ts'
import { readSqlCommand } from './sql-commands.ts'

/** The tags of commands that change what names mean. */
const namingTag = /^(?:PREPARE$|DEALLOCATE|DISCARD ALL|DECLARE CURSOR|CLOSE CURSOR)/

/** What a statement that succeeded did to the names of prepared statements and cursors. */
export function applyCommand(conversation: Conversation, open: OpenStatement): void {
  const { tag } = open
  // Looked at by its first letter, because this runs for every statement.
  if (tag === null || !(tag.startsWith('D') || tag.startsWith('P') || tag.startsWith('C')) || !namingTag.test(tag)) return
  const command = readSqlCommand(open.sql, conversation.settings.standardConformingStrings)
  if (command === null) return
  conversation.names.apply(command, {
    name: '',
    sql: open.sql,
    sqlBytes: open.sqlBytes,
    sqlTruncated: open.sqlTruncated,
    trace: open.trace,
    parameterTypes: [],
    columns: undefined,
    origin: { time: open.started, place: open.first, redacted: open.redacted, segment: -1 },
    counted: true,
    uncertain: false,
  })
}
