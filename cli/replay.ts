/**
 * `steno replay`: plays a session back, writes it as a script for psql, or runs it again and shows what came out otherwise.
 *
 * Decides which of the three; `replay/` and `rerun/` do the work and are loaded when they are wanted.
 */
import type { Writable } from 'node:stream'
import { Command, InvalidArgumentError, Option } from 'commander'
import type { Store } from '../session/stores/store.ts'
import { withPager, type PagerOptions } from './pager.ts'
import { addNewestOptions, checkNewestOptions, wantedSession, type NewestOptions } from './search/newest.ts'
import { openStoreFromOptions, storeOption, type StoreOptions } from './store-option.ts'

type Options = StoreOptions &
  NewestOptions &
  PagerOptions & {
    readonly plain?: true
    readonly color?: string
    readonly speed: number
    readonly from?: number
    readonly as?: 'sql'
    readonly against?: string | true
    readonly againstFile?: string
    readonly yes?: true
    readonly ignoreOrder?: true
    readonly ignoreColumn: readonly string[]
    readonly ignoreType: readonly string[]
    readonly waitSecondsMax: number
    readonly null: string
    readonly json?: true
  }

const speedBounds = { least: 0.1, most: 1_000 } as const

export function command(): Command {
  const own: Command = new Command('replay')
    .description('play a recorded session back, write it as a psql script, or run it again on a scratch database and show what differs')
    .argument('<session>', "a session's id, the beginning of one, or `last`")
    .addOption(storeOption())
    .option('--plain', 'plain text instead of the full-screen player')
    .option('--speed <factor>', 'how many times faster than it happened', speed, 1)
    .option('--from <n>', 'begin with this statement', positive)
    .addOption(new Option('--as <form>', 'write the session in another form: sql, a script for psql').choices(['sql']))
    .option('--against [string]', 'run the session again on this database and show what differs; without a string: STENO_AGAINST')
    .option('--against-file <file>', 'the same, with the connection string in a file')
    .option('--yes', 'run it without asking, even on the database that it was recorded from')
    .option('--ignore-order', 'let rows come in any order')
    .option('--ignore-column <name>', 'do not compare values of this result column; repeat it for several', collect, [])
    .option('--ignore-type <name>', 'do not compare values of this type, as timestamptz; repeat it for several', collect, [])
    .option('--wait-seconds-max <n>', 'give up when the database says nothing for so long', positive, 300)
    .option('--null <text>', 'what NULL is shown as', 'NULL')
    .option('--json', 'with --against: one JSON object per statement, and one with the totals')
  return addNewestOptions(own)
    .addHelpText(
      'after',
      `
Examples:
  steno replay last                                    # play it
  steno replay last --as sql > session.sql             # psql --no-psqlrc --file session.sql
  createdb --template shop scratch
  steno replay last --against postgresql://shop@db.internal/scratch

A password belongs into STENO_AGAINST, --against-file, PGPASSWORD or a password file, never into an argument.

With --json each line is {"type":"statement", number, sql, verdict, reason, differences, columns}, the last {"type":"end", alike,
totals}. Exit codes: 0 (with --against: everything came out as recorded), 1 something differs or failed, 2 used wrongly.`,
    )
    .action((session: string, options: Options) => run(own, session, options))
}

async function run(own: Command, wanted: string, options: Options): Promise<void> {
  checkNewestOptions(wanted, options)
  const isRerun = options.against !== undefined || options.againstFile !== undefined
  if (isRerun && options.as !== undefined) own.error('error: give either --as or --against', { exitCode: 2 })
  if (!isRerun && options.json === true)
    own.error('error: --json goes with --against; `steno show --json` prints a session', { exitCode: 2 })
  const store = await openStoreFromOptions(options)
  const session = await wantedSession(store, wanted, options)
  if (isRerun) process.exitCode = await again(store, session, options)
  else if (options.as === 'sql') await script(store, session)
  else {
    const { play } = await import('./replay/play.ts')
    const playTo = (output: Writable): Promise<number> =>
      play({
        store,
        session,
        plain: options.plain === true,
        speed: options.speed,
        ...(options.from === undefined ? {} : { from: options.from }),
        input: process.stdin,
        output,
        environment: options.color === 'never' ? { ...process.env, NO_COLOR: '1' } : process.env,
      })
    process.exitCode = options.plain === true ? await withPager(options, playTo) : await playTo(process.stdout)
  }
}

async function script(store: Store, session: string): Promise<void> {
  const [{ scriptOf }, { findSession }, { pipeline }] = await Promise.all([
    import('./rerun/script.ts'),
    import('../session/read-session.ts'),
    import('node:stream/promises'),
  ])
  const found = await findSession(store, session)
  try {
    await pipeline(scriptOf(store, found), process.stdout, { end: false })
  } catch (error) {
    // Whoever reads has seen enough.
    if (!(error instanceof Error && 'code' in error && error.code === 'EPIPE')) throw error
  }
}

async function again(store: Store, session: string, options: Options): Promise<number> {
  const [{ runAgainst }, { targetFrom }] = await Promise.all([import('./rerun/against.ts'), import('./rerun/target.ts')])
  const target = targetFrom(options, process.env)
  const interrupted = new AbortController()
  const onSignal = (): void => interrupted.abort()
  process.once('SIGINT', onSignal)
  process.once('SIGTERM', onSignal)
  try {
    return await runAgainst({
      store,
      session,
      target,
      yes: options.yes === true,
      json: options.json === true,
      nullText: options.null,
      waitMillisecondsMax: options.waitSecondsMax * 1000,
      compare: {
        ignoreOrder: options.ignoreOrder === true,
        ignoreColumns: new Set(options.ignoreColumn.map((name) => name.toLowerCase())),
        ignoreTypes: new Set(options.ignoreType.map((name) => name.toLowerCase())),
      },
      input: process.stdin,
      notes: process.stderr,
      output: process.stdout,
      signal: interrupted.signal,
    })
  } finally {
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  }
}

function collect(value: string, all: readonly string[]): string[] {
  return [...all, value]
}

function positive(text: string): number {
  const value = Number(text)
  if (!/^\d{1,12}$/.test(text) || value < 1) throw new InvalidArgumentError('It must be a whole number from 1 on.')
  return value
}

function speed(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !(value >= speedBounds.least && value <= speedBounds.most))
    throw new InvalidArgumentError(`It must be a number from ${speedBounds.least} to ${speedBounds.most}.`)
  return value
}
