/** `steno sessions`: one line per recorded session, the newest first. Prints as it reads, so a store of any size is listed at once. */
import { Command, InvalidArgumentError } from 'commander'
import { listSessions, type SessionSummary } from '../session/read-session.ts'
import { openStoreFromOptions, storeOption, type StoreOptions } from './store-option.ts'
import { displayWidth, printableLine, shorten } from './text.ts'
import { shownDuration } from './times.ts'

type Options = StoreOptions & {
  readonly json?: true
  readonly limit: number
  readonly since?: number
  readonly until?: number
  readonly utc?: true
}

/** Column titles and widths in cells; the last is as wide as it likes. */
const columns = [
  ['SESSION', 36],
  ['OPENED', 19],
  ['STATE', 9],
  ['DURATION', 12],
  ['STATEMENTS', 10],
  ['USER', 12],
  ['DATABASE', 12],
  ['APPLICATION', 0],
] as const

export function command(): Command {
  return new Command('sessions')
    .description('list the recorded sessions, newest first')
    .addOption(storeOption())
    .option('--json', 'one JSON object per session')
    .option('--limit <count>', 'show at most so many', wholeNumber, 100)
    .option('--since <time>', 'only those that opened at or after this time, as 2026-11-21 or 2026-11-21T09:00:00Z', instant)
    .option('--until <time>', 'only those that opened before this time', instant)
    .option('--utc', 'show times in UTC instead of local time')
    .action(run)
}

async function run(options: Options): Promise<void> {
  const store = await openStoreFromOptions(options)
  const span = {
    ...(options.since === undefined ? {} : { since: options.since }),
    ...(options.until === undefined ? {} : { until: options.until }),
  }
  let shown = 0
  let more = false
  for await (const session of listSessions(store, span)) {
    if (shown >= options.limit) {
      more = true
      break
    }
    if (shown === 0 && options.json !== true) print(line(columns.map(([title]) => title)))
    shown += 1
    print(options.json === true ? JSON.stringify(session) : line(cellsOf(session, options.utc === true)))
  }
  if (options.json === true) return
  if (shown === 0) print(`no sessions in ${store.url}`)
  if (more) print(`only the newest ${shown} are shown; --limit shows more`)
}

/** The table row of a session, before it is cut to the columns' widths. */
export function cellsOf({ session, state, opened, closed, statements, identity, problem }: SessionSummary, utc: boolean): string[] {
  const application = identity?.asserted['application_name'] ?? ''
  return [
    session,
    clockTime(opened, utc),
    state,
    closed === null ? '' : shownDuration(closed - opened),
    statements === null ? '?' : String(statements),
    identity?.user ?? '?',
    identity?.database ?? '?',
    problem === undefined ? application : problem,
  ]
}

function line(cells: readonly string[]): string {
  const shaped = columns.map(([title, width], at) => {
    const text = printableLine(cells[at] ?? '')
    if (width === 0) return text
    const cut = shorten(text, width)
    const fill = ' '.repeat(Math.max(0, width - displayWidth(cut)))
    return title === 'STATEMENTS' ? fill + cut : cut + fill
  })
  return shaped.join('  ').trimEnd()
}

function clockTime(milliseconds: number, utc: boolean): string {
  const offset = utc ? 0 : new Date(milliseconds).getTimezoneOffset() * 60_000
  return new Date(milliseconds - offset).toISOString().slice(0, 19).replace('T', ' ')
}

function wholeNumber(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('It must be a whole number from 1.')
  return value
}

function instant(text: string): number {
  const value = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(value)) throw new InvalidArgumentError('It must be a date, or a date and time, as 2026-11-21T09:00:00Z.')
  return value
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
