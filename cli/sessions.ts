/**
 * `steno sessions`: one line per recorded session, the newest first. Prints as it reads, so a store of any size is listed at once.
 *
 * Filters that ask for statements list the sessions that have such a statement, and read the indexes for it; the others read manifests only.
 */
import { Command } from 'commander'
import { listSessions, placeOfStore, type SessionSummary } from '../session/read-session.ts'
import type { Store } from '../session/stores/store.ts'
import { printPaged } from './pager.ts'
import { addFilterOptions, filterHelp, podOf, type FilterOptions } from './search/filters.ts'
import { createProgress } from './search/progress.ts'
import { emptyCounts } from './search/scan.ts'
import { reportCutShort, reportDamage } from './search/reports.ts'
import { safeJson } from './search/statement-document.ts'
import { filterSessions } from './search/wanted-sessions.ts'
import { wholeNumber } from './search/whole-number.ts'
import { openExistingStore, storeOption, type StoreOptions } from './store-option.ts'
import { lostText } from './lost-text.ts'
import { displayWidth, printableLine, shorten } from './text.ts'
import { shownDuration } from './times.ts'

type Options = FilterOptions &
  StoreOptions & { readonly json?: true; readonly limit: number; readonly utc?: true; readonly progress?: true }

/** Column titles and widths in cells; the last is as wide as it likes. Of sessions outside a cluster no pod is shown. */
const columns = [
  ['SESSION', 36],
  ['OPENED', 19],
  ['STATE', 9],
  ['DURATION', 12],
  ['STATEMENTS', 10],
  ['USER', 12],
  ['DATABASE', 12],
  ['POD', 36],
  ['APPLICATION', 0],
] as const

export function command(): Command {
  const own = new Command('sessions').description('list the recorded sessions, newest first')
  return addFilterOptions(own, 'session')
    .addOption(storeOption())
    .option('--json', 'one JSON object per session')
    .option('--limit <count>', 'show at most so many', wholeNumber, 100)
    .option('--utc', 'show times in UTC instead of local time')
    .option('--progress', 'say on standard error how far it is, also where that is no terminal')
    .addHelpText(
      'after',
      `${filterHelp}
Filters that speak of SQL, outcome, duration, fingerprint or trace list the sessions that have such a statement.
A damaged session is always listed: nobody can say that it does not fit. A lost one was cut off with its pod; the last column says
how much of it is missing.

Examples:
  steno sessions --since 1d --user shop
  steno sessions --failed --table orders
  steno sessions --namespace shop --pod agent-7d4    # what a pod of a cluster did
  steno sessions --json --limit 1000 | jq -r .session

With --json each line is {session, state, opened, closed, identity, close, statements, segments, gaps}, and where there is reason
lost or problem; times in milliseconds since 1970. A session that has no end yet has state "open", or "killed" when its recorder
is gone, and closed null.

Exit codes: 0 done, also when there is none; 1 the store could not be read; 2 used wrongly.`,
    )
    .action(run)
}

async function run(options: Options): Promise<void> {
  await printPaged(sessionLines(await openExistingStore(options), options), options)
}

async function* sessionLines(store: Store, options: Options): AsyncGenerator<string> {
  const { since, until, json, limit, utc } = options
  const span = { ...(since === undefined ? {} : { since }), ...(until === undefined ? {} : { until }) }
  const progress = createProgress(options.progress === true)
  const counts = emptyCounts()
  const watch = { counts, onProgress: progress.show, onDamage: (session: string, error: Error) => reportDamage(progress, session, error) }
  let shown = 0
  let more = false
  let withPods = false
  for await (const session of filterSessions(store, listSessions(store, span), options, watch)) {
    progress.clear()
    if (shown >= limit) {
      more = true
      break
    }
    const isPods = session.identity !== null && podOf(session.identity) !== null
    // Nothing that is shown is held back, so the first pod that comes after others brings its column along.
    if (json !== true && (shown === 0 || (isPods && !withPods))) {
      withPods = isPods
      yield line(titles, withPods)
    }
    shown += 1
    yield json === true ? safeJson(session) : line(cellsOf(session, utc === true), withPods)
  }
  progress.clear()
  reportCutShort(counts)
  if (json === true) return
  if (shown === 0) yield `no sessions ${counts.sessions === 0 ? '' : 'that fit '}in ${placeOfStore(store.url)}`
  if (more) yield `only the newest ${shown} are shown; --limit shows more`
}

/** The table row of a session, before it is cut to the columns' widths. */
export function cellsOf({ session, state, opened, closed, statements, identity, problem, lost }: SessionSummary, utc: boolean): string[] {
  const application = identity?.asserted['application_name'] ?? ''
  const pod = identity === null ? null : podOf(identity)
  return [
    session,
    clockTime(opened, utc),
    state,
    closed === null ? '' : shownDuration(closed - opened),
    statements === null ? '?' : String(statements),
    identity?.user ?? '?',
    identity?.database ?? '?',
    pod === null ? '' : `${pod.namespace}/${pod.name}`,
    problem ?? (lost === undefined ? application : [application, lostText(lost)].filter((text) => text !== '').join(' ')),
  ]
}

const titles = columns.map(([title]) => title)

function line(cells: readonly string[], withPods: boolean): string {
  const shaped = columns.flatMap(([title, width], at) => {
    if (title === 'POD' && !withPods) return []
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
