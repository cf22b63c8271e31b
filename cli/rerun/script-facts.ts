/**
 * What a script has to know of a session before it writes its first line: which COPY data can stand in it, and which statements ran as
 * one transaction because one Sync followed them all.
 *
 * Reads the recording once. Holds a little for each COPY and each such group, nothing for other statements.
 */
import type { StatementSummary } from '../../postgres/statement.ts'
import { textEncodingOf } from '../../postgres/messages/text-encoding.ts'
import { decodeText } from '../../postgres/values/encodings.ts'
import type { Store } from '../../session/stores/store.ts'
import type { SessionIdentity } from '../../session/identity.ts'
import { walkSession } from './walk-session.ts'

export type CopyFact = {
  readonly request: number
  readonly kind: StatementSummary['kind']
  readonly sql: string
  /** Why its data cannot stand in a script, or null when it can. */
  readonly obstacle: string | null
}

export type ScriptFacts = {
  /** By statement number. */
  readonly copies: ReadonlyMap<number, CopyFact>
  /** Simple queries with a COPY that cannot be said, by request, with the reason. */
  readonly obstructed: ReadonlyMap<number, string>
  /** The first request of each group of executions that one Sync ended, and the group's last. */
  readonly groups: ReadonlyMap<number, number>
}

const binarySignature = Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1')
const newline = 0x0a
/** Of a line of data so much is looked at to find `\.`. */
const lineHeadBytes = 4

export async function factsOf(store: Store, identity: SessionIdentity): Promise<ScriptFacts> {
  const copies = new Map<number, CopyFact>()
  const obstructed = new Map<number, string>()
  const groups = new Map<number, number>()
  const checks = new Map<number, ReturnType<typeof createDataCheck>>()
  let group: { first: number; executions: number } | null = null

  const walk = walkSession(store, identity, {
    onRequest({ type, number }) {
      if (type === 'S' || type === 'Q' || type === 'F') {
        if (group !== null && group.executions > 1) groups.set(group.first, number)
        group = null
      } else if (type !== 'X' && type !== 'H') {
        group ??= { first: number, executions: 0 }
        if (type === 'B') group.executions++
      }
    },
    onCopyData(statement, direction, data, wholeBytes) {
      if (direction !== 'in') return
      let check = checks.get(statement)
      if (check === undefined) checks.set(statement, (check = createDataCheck()))
      check.push(data, wholeBytes)
    },
    onStatement(statement) {
      const check = checks.get(statement.number)
      checks.delete(statement.number)
      if (statement.copy === undefined || statement.copy.direction === 'out') return
      const obstacle = obstacleOf(statement) ?? check?.obstacle() ?? null
      copies.set(statement.number, { request: statement.place.first, kind: statement.kind, sql: statement.sql, obstacle })
      if (obstacle !== null) obstructed.set(statement.place.first, obstacle)
    },
  })
  for await (const _ of walk) continue
  return { copies, obstructed, groups }
}

function obstacleOf({ outcome, copy, redacted }: StatementSummary): string | null {
  if (redacted === true) return 'its literals were replaced before it was recorded, because it carries a credential'
  if (copy?.direction === 'both') return 'it is a replication stream'
  // psql cannot tell a COPY that failed before its data from one that failed behind it, and must not take data for commands.
  if (outcome !== 'completed') return 'the COPY did not end well, so nothing came of its data'
  return null
}

/** Looks for what psql cannot pass on from a script. */
function createDataCheck() {
  let head = Buffer.alloc(0)
  let line: number[] = []
  let lineBytes = 0
  let found: string | null = null
  const endLine = (): void => {
    const text = String.fromCharCode(...line)
    if (text === '\\.' || text === '\\.\r') found ??= 'a line of its data is \\. by itself, which psql takes for the end'
    line = []
    lineBytes = 0
  }
  return {
    push(data: Buffer, wholeBytes: number): void {
      if (data.length < wholeBytes) found ??= 'a message of its data is longer than scripts hold'
      if (head.length < binarySignature.length) head = Buffer.concat([head, data.subarray(0, binarySignature.length)])
      if (data.includes(0)) found ??= 'its data holds zero bytes'
      for (let at = 0; at < data.length;) {
        const end = data.indexOf(newline, at)
        const stop = end < 0 ? data.length : end
        for (let next = at; next < stop && lineBytes + next - at < lineHeadBytes; next++) line.push(data[next]!)
        lineBytes += stop - at
        if (end >= 0) endLine()
        at = stop + 1
      }
    },
    obstacle(): string | null {
      endLine()
      if (head.subarray(0, binarySignature.length).equals(binarySignature)) return 'its data is binary'
      return found
    },
  }
}

/** SQL and text parameters as they were meant: what is not UTF-8 was read byte for character. */
export function recoded(text: string, clientEncoding: string): string {
  return textEncodingOf(clientEncoding) === 'latin1' ? decodeText(Buffer.from(text, 'latin1'), clientEncoding) : text
}
