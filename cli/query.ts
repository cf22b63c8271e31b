/**
 * `steno query`: SQL over all recordings of a store, by DuckDB, in a sandbox.
 *
 * What the query names (`statements`, `sessions`) is read from the store into a temporary DuckDB file, of any store and with every digest
 * checked; then the file is opened again read-only, without files and network, and the query runs. Memory is bounded by DuckDB's limit
 * and a batch; the disk needs room for the tables, in the system's temporary folder.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command, Option } from 'commander'
import { listSessions, type SessionSummary } from '../session/read-session.ts'
import type { Store } from '../session/stores/store.ts'
import { writeOutput } from './export/output.ts'
import { asked, loadDuckDb, openDatabase, QueryFailed, type Database, type DuckDb } from './query/duckdb.ts'
import { resultFormats, resultPieces, type ResultFormat } from './query/result.ts'
import { createTables, fillTable, tables } from './query/tables.ts'
import { addFilterOptions, filterHelp, sessionPasses, type FilterOptions } from './search/filters.ts'
import { createProgress, type Progress } from './search/progress.ts'
import { reportCutShort, reportDamage } from './search/reports.ts'
import { emptyCounts, scanStatements, type ScanCounts } from './search/scan.ts'
import { wholeNumber } from './search/whole-number.ts'
import { openExistingStore, storeOption, type StoreOptions } from './store-option.ts'

export const exitCodes = { done: 0, failed: 1, usage: 2, incomplete: 3 } as const

const rowsMaxDefault = 1_000
const sqlBytesMax = 1024 * 1024
const endingSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

type Options = FilterOptions &
  StoreOptions & {
    readonly format: ResultFormat
    readonly json?: true
    readonly rowsMax: number
    readonly null: string
    readonly formulaGuard: boolean
    readonly progress?: true
  }

export function command(): Command {
  const own: Command = new Command('query')
    .description('ask all recordings in SQL: tables `statements` and `sessions`, by DuckDB')
    .argument('<sql>', "one statement of DuckDB's SQL; `-` reads it from standard input")
    .addOption(new Option('--format <format>', 'how to print the result').choices(resultFormats).default('grid'))
    .option('--json', 'the same as --format json: one object per row')
    .option('--rows-max <n>', 'grid: print at most so many rows', wholeNumber, rowsMaxDefault)
    .option('--null <text>', 'grid: what NULL is shown as', '')
    .option('--no-formula-guard', 'csv: leave texts that begin with = + - @ as they are; spreadsheets run them as formulas')
    .option('--progress', 'say on standard error how far reading is, also where that is no terminal')
  return addFilterOptions(own, 'statement')
    .addOption(storeOption())
    .addHelpText(
      'after',
      `${filterHelp}
The filters choose what is read into \`statements\`; the fewer, the quicker. In \`sessions\` are those of the user, database and
application that were open between --since and --until. The query can read nothing else: no files, no network, no settings.

Examples:
  steno query 'describe statements'
  steno query "select user_name, count(*), sum(row_count) from statements group by 1 order by 2 desc" --since 7d
  steno query "select fingerprint, any_value(sql), quantile_cont(duration_ms, 0.95) p95 from statements group by 1 order by 3 desc limit 10"
  steno query "select * from sessions where gap_count > 0" --format csv

Exit codes: 0 done; 1 failed; 2 used wrongly; 3 printed, but a recording could not be read to its end.`,
    )
    .action(run)
}

async function run(given: string, options: Options): Promise<void> {
  const duckDb = await loadDuckDb()
  const sql = given === '-' ? await readInput() : given
  const store = await openExistingStore(options)
  const progress = createProgress(options.progress === true)
  const counts = emptyCounts()
  const { folder, stop } = temporaryFolder()
  try {
    await fill(duckDb, folder, sql, { store, options, progress, counts })
    progress.clear()
    const database = await asked(() => openDatabase(duckDb, folder, 'sandbox'))
    try {
      const result = await asked(() => database.connection.stream(sql))
      const format = options.json === true ? 'json' : options.format
      const { rowsMax, null: nullText, formulaGuard: guardFormulas } = options
      await asked(() =>
        writeOutput(resultPieces(duckDb, result, { format, rowsMax, nullText, guardFormulas, forTerminal: process.stdout.isTTY }), null),
      )
    } finally {
      database.close()
    }
  } finally {
    progress.clear()
    stop()
    await rm(folder, { recursive: true, force: true })
  }
  reportCutShort(counts)
  if (counts.damaged > 0) process.exitCode = exitCodes.incomplete
}

type Source = { readonly store: Store; readonly options: Options; readonly progress: Progress; readonly counts: ScanCounts }

/** Only what the query names is read; one that cannot run is refused before anything is. */
async function fill(duckDb: DuckDb, folder: string, sql: string, source: Source): Promise<void> {
  const database = await asked(() => openDatabase(duckDb, folder, 'load'))
  try {
    const named = await asked(() => namedTables(database, sql))
    const { store, options, progress, counts } = source
    const onDamage = (session: string, error: Error): void => reportDamage(progress, session, error)
    if (named.has('sessions')) {
      await asked(() => fillTable(duckDb, database.connection, 'sessions', tables.sessions, wantedSessions(source)))
    }
    if (named.has('statements')) {
      const batches = scanStatements(store, { filters: options, order: 'oldest', onDamage, onProgress: progress.show, counts })
      await asked(() => fillTable(duckDb, database.connection, 'statements', tables.statements, batches))
    }
  } finally {
    database.close()
  }
}

/** By its text alone: DuckDB's own list of a query's tables leaves out those of some joins and pivots. */
async function namedTables({ connection }: Database, sql: string): Promise<Set<string>> {
  await createTables(connection)
  if (sql.trim() === '') throw new QueryFailed('there is no SQL')
  const statements = await connection.extractStatements(sql)
  if (statements.count !== 1) throw new QueryFailed('give one statement')
  const prepared = await statements.prepare(0)
  prepared.destroySync()
  const text = sql.toLowerCase()
  const named = new Set(Object.keys(tables).filter((table) => text.includes(table)))
  // A table that was not read must not look like one that is empty, to SQL that puts its name together.
  for (const table of Object.keys(tables)) if (!named.has(table)) await connection.run(`DROP TABLE ${table}`)
  return named
}

async function* wantedSessions({ store, options, progress, counts }: Source): AsyncGenerator<readonly SessionSummary[]> {
  const span = options.until === undefined ? {} : { until: options.until }
  const { since = -Infinity } = options
  for await (const summary of listSessions(store, { ...span, order: 'oldest' })) {
    if (summary.closed !== null && summary.closed < since) continue
    if (summary.state === 'damaged') {
      counts.damaged += 1
      reportDamage(progress, summary.session, new Error(summary.problem))
    }
    progress.show(counts)
    if (summary.identity === null || sessionPasses(options, summary.identity)) yield [summary]
  }
}

async function readInput(): Promise<string> {
  let text = ''
  process.stdin.setEncoding('utf8')
  for await (const piece of process.stdin as AsyncIterable<string>) {
    text += piece
    if (text.length > sqlBytesMax) break
  }
  return text
}

/** A private folder that is removed however the process ends, short of SIGKILL: a reader that goes away ends it too. */
function temporaryFolder(): { readonly folder: string; stop(): void } {
  let folder: string | null = null
  const remove = (): void => {
    if (folder !== null) rmSync(folder, { recursive: true, force: true })
  }
  const end = (signal: NodeJS.Signals): void => {
    stop()
    remove()
    process.kill(process.pid, signal) // Nothing listens any more, so it ends as it would have.
  }
  const stop = (): void => {
    process.off('exit', remove)
    endingSignals.forEach((signal) => process.off(signal, end))
  }
  // Before the folder is there, so that no signal falls between.
  process.on('exit', remove)
  endingSignals.forEach((signal) => process.on(signal, end))
  folder = mkdtempSync(join(tmpdir(), 'steno-query-'))
  return { folder, stop }
}
