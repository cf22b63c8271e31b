/**
 * `steno tail`: prints statements as their recording reaches the store, of one session or of all.
 *
 * Reads the store alone, so it works wherever the store can be read and needs no proxy. The lines are those of the live view.
 */
import { Command, Option } from 'commander'
import type { RE2JS } from 're2js'
import { printableLine } from '../base/printable.ts'
import { eventsAsJson, eventsAsText } from '../postgres/statement-event.ts'
import { findSession } from '../session/read-session.ts'
import { addFilterOptions, filterHelp, pattern, repeated, type FilterOptions } from './search/filters.ts'
import { wholeNumber } from './search/whole-number.ts'
import { openStoreFromOptions, storeOption, type StoreOptions } from './store-option.ts'
import { followLedgers } from './tail/follow-ledgers.ts'
import { followSession } from './tail/follow-session.ts'
import { createPrinter } from './tail/printer.ts'
import { selectLines } from './tail/select-lines.ts'

type Options = StoreOptions &
  FilterOptions & {
    readonly sql?: readonly RE2JS[]
    readonly sessions?: true
    readonly json?: true
    readonly sqlCharacters: number
    readonly count?: number
    readonly untilIdle?: number
  }

export function command(): Command {
  const tail = new Command('tail')
    .description(
      'Prints each statement within 2 seconds of its being stored: of one session from its beginning until it is closed, or of all ' +
        'sessions from now on (with --since also what was stored before). Ends on Ctrl-C with exit code 0.',
    )
    .argument('[session]', "a session's id, the beginning of one, or `last`; without it all sessions")
    .addOption(storeOption())
  return addFilterOptions(tail, 'statement')
    .addOption(repeated('--sql <pattern>', 'the same as --regex', pattern))
    .option('--sessions', 'print a line as well when a session opens and when it is closed')
    .option('--json', 'one JSON object a line, as `steno proxy` prints them')
    .addOption(new Option('--sql-characters <n>', 'so much SQL in each line').default(1_000).argParser(wholeNumber))
    .addOption(new Option('--count <n>', 'end after so many statements').argParser(wholeNumber))
    .addOption(new Option('--until-idle <milliseconds>', 'end when nothing was stored for so long').argParser(wholeNumber))
    .addHelpText(
      'after',
      `${filterHelp}

Examples:
  steno tail                                   # everything that is stored from now on
  steno tail --failed --user shop              # errors of one user
  steno tail --namespace shop                  # what the pods of a namespace say
  steno tail last --sql '(?i)^\\s*delete'       # one session's deletes, from its beginning until it is closed
  steno tail --table orders --since 10m --json | jq .sql

With --json each line is {time, event, session, user, database, application, number, kind, outcome, durationMilliseconds, rows, bytes, tag,
sqlstate, decision, sql}, in a cluster with pod and namespace; with --sessions also {time, event, session, …} when one opens or closes.
A session's part is stored when it is --segment-milliseconds old (see steno proxy), so a statement is seen that much later.
Exit codes: 0 ended as asked (Ctrl-C, --count, --until-idle, the session's end), 1 the store could not be read, 2 used wrongly.`,
    )
    .action(run)
}

async function run(wanted: string | undefined, options: Options): Promise<void> {
  const store = await openStoreFromOptions(options)
  const ended = new AbortController()
  const end = (): void => ended.abort()
  process.once('SIGINT', end) // A second one ends at once.
  process.once('SIGTERM', end)
  const regex = [...(options.regex ?? []), ...(options.sql ?? [])]
  const filters: FilterOptions = { ...options, ...(regex.length === 0 ? {} : { regex }) }
  const { signal } = ended
  const lines = selectLines({ filters, format: options.json === true ? eventsAsJson : eventsAsText, ...options })
  const printer = createPrinter(process.stdout)
  try {
    const followed =
      wanted === undefined
        ? followLedgers(store, { since: options.since ?? null, wants: lines.wants, signal })
        : followSession(store, await findSession(store, wanted), signal)
    for await (const each of followed) {
      if (each.kind === 'problem') process.stderr.write(`steno: left out: ${printableLine(each.message)}\n`)
      else if (each.kind === 'pause') await printer.flush()
      else {
        const line = lines.lineOf(each)
        if (line !== null) await printer.line(line)
      }
      if (printer.isClosed || lines.isDone(each)) break
    }
    await printer.flush()
  } finally {
    process.off('SIGINT', end)
    process.off('SIGTERM', end)
    printer.end()
  }
}
