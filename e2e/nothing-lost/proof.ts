/**
 * What "nothing unrecorded, nothing lost" means, as one comparison: the database's own log and what each client remembers on one
 * side, the recordings on the other.
 */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { framesOf } from './remembering-client.ts'
import type { RecordedConversation } from './recorded.ts'

/** What a client remembers of its connection. */
export type Remembered = { readonly applicationName: string; readonly received: Buffer }

/** For `startPostgres`: the server logs every statement before it runs it. */
export const loggingSettings = { log_statement: 'all', log_min_duration_statement: '-1', log_destination: 'stderr' }

/** Statements that carry this mark are the test's; the rest of the text must be on one line. */
export const mark = 'steno-proof'

export type Executed = { readonly applicationName: string; readonly sql: string }

/** The statements with the mark that the server says it ran, in order. Needs the log prefix of `tools/embedded-postgres.ts`. */
export async function executedStatements(logFile: string): Promise<Executed[]> {
  const executed: Executed[] = []
  for (const line of (await readFile(logFile, 'utf8')).split('\n')) {
    const match = /^\S+ \S+ \S+ \[\d+\] (\S*) \S+ LOG: {2}(?:statement|execute [^:]*): (.*)$/.exec(line)
    if (match?.[2]?.includes(mark) === true) executed.push({ applicationName: match[1]!, sql: match[2] })
  }
  return executed
}

export type ProofCounts = { readonly statements: number; readonly rows: number; readonly bytes: number }

/** Fails unless everything the database ran and everything the clients got is in the recordings, in its order. */
export function assertNothingLost(
  executed: readonly Executed[],
  remembered: readonly Remembered[],
  recorded: ReadonlyMap<string, RecordedConversation>,
): ProofCounts {
  const inIndex = new Map([...recorded].map(([name, { statements }]) => [name, new Set(statements.map(({ sql }) => sql))]))
  for (const { applicationName, sql } of executed) {
    assert.ok(inIndex.get(applicationName)?.has(sql) === true, `the database ran what no recording holds: ${applicationName}: ${sql}`)
    assert.ok(recorded.get(applicationName)!.frontend.includes(sql), `a recording has the bytes of ${sql}`)
  }
  let rows = 0
  let bytes = 0
  for (const { applicationName, received } of remembered) {
    const conversation = recorded.get(applicationName)
    if (conversation === undefined) {
      assert.equal(received.length, 0, `${applicationName} got ${received.length} bytes of which there is no recording`)
      continue
    }
    const { backend, statements } = conversation
    const isPrefix = backend.length >= received.length && backend.subarray(0, received.length).equals(received)
    assert.ok(isPrefix, `${applicationName} got ${received.length} bytes; its recording has ${backend.length}, and they differ`)
    const got = framesOf(received).frames.filter(({ type }) => type === 'D').length
    const shown = statements.reduce((sum, statement) => sum + statement.rows, 0)
    assert.ok(shown >= got, `${applicationName} got ${got} rows, the index of its recording counts ${shown}`)
    rows += got
    bytes += received.length
  }
  return { statements: executed.length, rows, bytes }
}
