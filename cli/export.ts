/**
 * `steno export`: statements of chosen sessions, or of all that fit the filters, in a form that other programs read.
 *
 * Writes as it reads, oldest session first; memory does not grow with what is exported.
 */
import { Command, Option } from 'commander'
import { KnownError } from '../base/errors.ts'
import { findSession, sessionIds } from '../session/read-session.ts'
import { StoreUnavailable, type Store } from '../session/stores/store.ts'
import { formats, piecesOf, type Format } from './export/formats.ts'
import { writeOutput, type Piece } from './export/output.ts'
import { sessionRowLines } from './export/session-rows.ts'
import { addFilterOptions, createStatementTest, filterHelp, isFiltered, type FilterOptions } from './search/filters.ts'
import { createProgress, type Progress } from './search/progress.ts'
import { reportCutShort, reportDamage } from './search/reports.ts'
import { emptyCounts, scanStatements, wantedIdentity, type ScanCounts } from './search/scan.ts'
import { openExistingStore, storeOption, type StoreOptions } from './store-option.ts'

export const exitCodes = { done: 0, failed: 1, usage: 2, incomplete: 3 } as const

type Options = FilterOptions &
  StoreOptions & {
    readonly format: Format | 'sql'
    readonly output?: string
    readonly rows?: true
    readonly formulaGuard: boolean
    readonly progress?: true
  }

export function command(): Command {
  const own: Command = new Command('export')
    .description('write statements as JSON lines, CSV, Parquet, OCSF events or a psql script, oldest session first')
    .argument('[sessions...]', "sessions' ids, beginnings of some, or `last`; all that fit the filters when none is named")
    .addOption(new Option('--format <format>', 'what to write').choices([...formats, 'sql']).default('jsonl'))
    .option('--output <file>', 'write to this file, which appears when it is whole; `-` is standard output')
    .option('--rows', 'also the rows and COPY data, a line each (jsonl only)')
    .option('--no-formula-guard', 'csv: leave texts that begin with = + - @ as they are; spreadsheets run them as formulas')
    .option('--progress', 'say on standard error how far it is, also where that is no terminal')
  return addFilterOptions(own, 'statement')
    .addOption(storeOption())
    .addHelpText(
      'after',
      `${filterHelp}

Examples:
  steno export last > session.jsonl
  steno export last --rows | jq -c 'select(.type == "row") | .values'
  steno export --since 1d --format csv --output statements.csv
  steno export --format parquet --output statements.parquet
  steno export --since 5m --format ocsf
  steno export last --format sql --output session.sql   # one whole session; filters do not apply

What is in each format: docs/search-and-export.md.
Exit codes: 0 done; 1 failed, and --output is as it was; 2 used wrongly; 3 written, but a recording could not be read to its end.`,
    )
    .action((wanted: readonly string[], options: Options) => run(own, wanted, options))
}

async function run(own: Command, wanted: readonly string[], options: Options): Promise<void> {
  const { format, output = null } = options
  const misused = (message: string): never => own.error(`error: ${message}`, { exitCode: exitCodes.usage })
  if (options.rows === true && format !== 'jsonl') misused('--rows needs --format jsonl')
  if (format === 'parquet' && (output === null || output === '-') && process.stdout.isTTY)
    misused('parquet is binary: name a file with --output')
  if (format === 'sql' && (wanted.length !== 1 || isFiltered(options)))
    misused('--format sql writes one whole session: name one, without filters')
  const store = await openExistingStore(options)
  const sessions: string[] = []
  for (const id of wanted) sessions.push(await findSession(store, id))
  const progress = createProgress(options.progress === true)
  const counts = emptyCounts()
  try {
    if (format === 'sql') {
      const { scriptOf } = await import('./rerun/script.ts')
      return await writeOutput(scriptOf(store, sessions[0]!), output)
    }
    const job = { store, sessions: sessions.length === 0 ? null : [...new Set(sessions)], options, counts, progress }
    await writeOutput(options.rows === true ? withRows(job) : withoutRows(job, format), output)
  } finally {
    progress.clear()
  }
  reportCutShort(counts)
  if (counts.damaged > 0) process.exitCode = exitCodes.incomplete
}

type Job = {
  readonly store: Store
  /** Null is all. */
  readonly sessions: readonly string[] | null
  readonly options: Options
  readonly counts: ScanCounts
  readonly progress: Progress
}

function withoutRows({ store, sessions, options, counts, progress }: Job, format: Format): AsyncGenerator<Piece> {
  const batches = scanStatements(store, {
    filters: options,
    ...(sessions === null ? {} : { sessions }),
    order: 'oldest',
    onDamage: (session, error) => reportDamage(progress, session, error),
    onProgress: progress.show,
    counts,
  })
  const toStandardOutput = options.output === undefined || options.output === '-'
  const forTerminal = toStandardOutput && process.stdout.isTTY
  return piecesOf(format, batches, { guardFormulas: options.formulaGuard, forTerminal })
}

async function* withRows({ store, sessions, options, counts, progress }: Job): AsyncGenerator<Piece> {
  const span = options.until === undefined ? {} : { until: options.until }
  for await (const session of sessions ?? sessionIds(store, 'oldest', span)) {
    try {
      const identity = await wantedIdentity(store, session, options)
      if (identity === null) continue
      const test = createStatementTest(options, identity, 'statement')
      for await (const line of sessionRowLines({ store, identity, passes: (statement) => test.passes(statement) })) yield `${line}\n`
      counts.cutShort += test.cutShort
    } catch (error) {
      if (!(error instanceof KnownError) || error instanceof StoreUnavailable) throw error
      counts.damaged += 1
      reportDamage(progress, session, error)
    }
    counts.sessions += 1
    progress.show(counts)
  }
}
