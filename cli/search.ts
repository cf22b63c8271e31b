/**
 * `steno search`: the statements of all sessions that fit the filters, one line each, newest session first.
 *
 * Prints as it reads, so that memory does not grow with the store or with what is found; see `search/scan.ts`.
 */
import { Command } from 'commander'
import { addFilterOptions, filterHelp, type FilterOptions } from './search/filters.ts'
import { matchLine } from './search/match-line.ts'
import { createProgress } from './search/progress.ts'
import { emptyCounts, scanStatements, type ScanCounts } from './search/scan.ts'
import { reportCutShort, reportDamage } from './search/reports.ts'
import { statementDocument } from './search/statement-document.ts'
import { wholeNumber } from './search/whole-number.ts'
import { printLines } from './print-lines.ts'
import { openExistingStore, storeOption, type StoreOptions } from './store-option.ts'

/** As grep has them, but that a failure has its own: 2 is wrong usage everywhere. */
export const exitCodes = { found: 0, nothing: 1, usage: 2, incomplete: 3 } as const

const pipeWidth = 240

type Options = FilterOptions & StoreOptions & { readonly json?: true; readonly limit?: number; readonly progress?: true }

export function command(): Command {
  const own = new Command('search').description('find statements in all recorded sessions, newest session first')
  return addFilterOptions(own, 'statement')
    .addOption(storeOption())
    .option('--limit <count>', 'stop after so many', wholeNumber)
    .option('--json', 'one JSON object per statement, with who spoke under `identity`')
    .option('--progress', 'say on standard error how far it is, also where that is no terminal')
    .addHelpText(
      'after',
      `${filterHelp}

Each line: session, in a cluster the pod, number, start (UTC), duration, result, SQL. \`steno show SESSION --statement NUMBER\` has the rest.

With --json each line is {"type":"statement", session, number, sql, kind, started, finished, outcome, rows, error, identity, …}: the fields
of the index (session/FORMAT.md), times in milliseconds since 1970.

Examples:
  steno search --failed --since 2h
  steno search --table orders --text delete --user shop
  steno search --sqlstate 23 --json | jq -r .error.message
  steno search --regex '(?i)drop\\s+table' --since 2026-11-01

Exit codes: 0 found; 1 nothing fits; 2 used wrongly; 3 the store or a recording could not be read, so something may be missing.`,
    )
    .action(run)
}

async function run(options: Options): Promise<void> {
  try {
    process.exitCode = await search(options)
  } catch (error) {
    process.exitCode = exitCodes.incomplete // It is not known what there is.
    throw error
  }
}

/** The exit code. */
async function search(options: Options): Promise<number> {
  const store = await openExistingStore(options)
  const progress = createProgress(options.progress === true)
  const counts = emptyCounts()
  const { json, limit = Infinity } = options
  const width = process.stdout.isTTY ? process.stdout.columns : pipeWidth
  async function* lines(): AsyncGenerator<string> {
    let left = limit
    const onDamage = (session: string, error: Error): void => reportDamage(progress, session, error)
    for await (const batch of scanStatements(store, { filters: options, counts, onDamage, onProgress: progress.show })) {
      progress.clear()
      for (const match of batch) {
        yield json === true ? statementDocument(match) : matchLine(match, width)
        left -= 1
        if (left === 0) return
      }
    }
  }
  try {
    await printLines(lines())
  } finally {
    progress.clear()
  }
  reportCutShort(counts)
  return codeFor(counts)
}

function codeFor(counts: Readonly<ScanCounts>): number {
  if (counts.damaged > 0) return exitCodes.incomplete
  return counts.matches > 0 ? exitCodes.found : exitCodes.nothing
}
