/**
 * What PostgreSQL itself says that it ran: its JSON log, by backend, in order.
 *
 * Needs the settings below. Statements appear when they begin; those that failed before, as by a syntax error, by their error.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { EmbeddedPostgres } from '../../tools/embedded-postgres.ts'

/** For `startPostgres({ version: 15, settings })` or later. */
export const statementLogSettings: Readonly<Record<string, string>> = {
  logging_collector: 'on',
  log_destination: 'jsonlog',
  log_directory: 'statements',
  log_filename: 'server.log',
  log_rotation_size: '0',
  log_rotation_age: '0',
  log_statement: 'all',
  log_parameter_max_length: '32',
}

export type LoggedStatement =
  /** A whole simple query, with all its statements. */
  | { readonly kind: 'query'; readonly text: string }
  /** The first Execute of a portal. */
  | { readonly kind: 'execute'; readonly text: string }
  /** A FunctionCall message. */
  | { readonly kind: 'function'; readonly text: string }
  /** Did not get as far as being run. */
  | { readonly kind: 'refused'; readonly text: string }

export type LoggedBackend = { readonly processId: number; readonly database: string; readonly statements: readonly LoggedStatement[] }

type LogLine = {
  readonly pid?: number
  readonly dbname?: string
  readonly application_name?: string
  readonly backend_type?: string
  readonly error_severity?: string
  readonly message?: string
  readonly statement?: string
}

const waitMillisecondsMax = 120_000

/** Every backend that was sent a statement, but those of `EmbeddedPostgres.query`. Waits until all that went before is in the log. */
export async function readServerLog(server: EmbeddedPostgres): Promise<LoggedBackend[]> {
  const marker = `end of log ${Date.now()}`
  await server.query(`select '${marker}'`)
  const file = join(server.folder, 'data', 'statements', 'server.json')
  const until = Date.now() + waitMillisecondsMax
  let text = ''
  while (!text.includes(marker)) {
    if (Date.now() > until) throw new Error(`the server's log ${file} does not end`)
    await sleep(20)
    text = await readFile(file, 'utf8')
  }
  const backends = new Map<number, { database: string; statements: LoggedStatement[]; running: string | null }>()
  for (const line of text.split('\n')) {
    if (!line.endsWith('}')) continue
    const entry = JSON.parse(line) as LogLine
    if (entry.pid === undefined || entry.backend_type !== 'client backend' || entry.application_name === 'steno-tools') continue
    const backend = backends.get(entry.pid) ?? { database: entry.dbname ?? '', statements: [], running: null }
    backends.set(entry.pid, backend)
    take(backend, entry)
  }
  return [...backends]
    .map(([processId, { database, statements }]) => ({ processId, database, statements }))
    .filter(({ statements }) => statements.length > 0)
}

function take(backend: { statements: LoggedStatement[]; running: string | null }, entry: LogLine): void {
  const message = entry.message ?? ''
  if (entry.error_severity === 'LOG') {
    const [, verb = '', text = ''] = /^(statement|execute [^:]*|fastpath function call): ([\s\S]*)$/.exec(message) ?? []
    if (verb === '') return
    backend.running = verb === 'fastpath function call' ? null : text
    if (verb.startsWith('execute fetch from ')) return // The same portal goes on.
    const kind = verb === 'statement' ? 'query' : verb.startsWith('execute') ? 'execute' : 'function'
    backend.statements.push({ kind, text })
    return
  }
  if (entry.error_severity !== 'ERROR' || entry.statement === undefined) return
  if (entry.statement !== backend.running) backend.statements.push({ kind: 'refused', text: entry.statement })
  backend.running = null // The next error of the same text is another attempt.
}
