/**
 * `steno run`: one command, recorded. Finds the databases in the environment, stands before each, and gives the command the same
 * environment with every mention leading through steno and no credential of a database in it.
 *
 * Exit codes: the command's own, 128 and the signal's number when one ended it; 127 no such command, 126 it cannot be run, 125 steno
 * failed before the command ran, 2 used wrongly.
 */
import path from 'node:path'
import { Command, InvalidArgumentError, Option } from 'commander'
import { KnownError, messageOf } from '../base/errors.ts'
import { createLog } from '../base/log.ts'
import type { RecordingLevel } from '../session/identity.ts'
import { openStore } from '../session/stores/open-store.ts'
import { levelOption } from './proxy.ts'
import { childEnvironment, variablesHolding } from './run/child-environment.ts'
import { exitCodes, runChild } from './run/child.ts'
import { CommandNotExecutable, CommandNotFound, NoUpstreamFound } from './run/errors.ts'
import { findMentions, namesDatabase } from './run/mentions.ts'
import { upstreamOf } from './run/mode.ts'
import { startProxies, type Served } from './run/proxies.ts'
import { summarise, summaryLines } from './run/summary.ts'
import { defaultSpoolFolder, defaultStoreUrl, storeOption, type StoreOptions } from './store-option.ts'

type Options = StoreOptions & {
  readonly spool: string
  readonly level: RecordingLevel
  readonly onRecordFailure: 'block' | 'continue'
  readonly segmentMilliseconds: number
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error' | 'silent'
  readonly quiet?: true
  readonly json?: true
}

export function command(): Command {
  return new Command('run')
    .description(
      'Runs a command and records what it says to its databases. DATABASE_URL, other variables with a PostgreSQL URL, and the PG…\n' +
        'variables reach the command with host and port of a private proxy, and a token of this run instead of the password.\n\n' +
        'It records; it does not isolate. The command runs as you, on your machine: it can read what you can read, steno included, and\n' +
        'connect past steno with a credential that it finds elsewhere.',
    )
    .usage('[options] [--] COMMAND [ARGUMENT…]')
    .passThroughOptions()
    .argument('<command>', 'the program to run')
    .argument('[arguments...]', 'its arguments, as they are')
    .addOption(storeOption())
    .option(
      '--spool <folder>',
      'local folder that holds recordings until the store has them; of several runs at a time, the folders beside it',
      defaultSpoolFolder(),
    )
    .addOption(levelOption())
    .addOption(
      new Option('--on-record-failure <what>', 'what happens to traffic that cannot be recorded')
        .choices(['block', 'continue'])
        .default('block'),
    )
    .option('--segment-milliseconds <n>', 'a part of a session is stored, and can be followed, when it is this old', wholeNumber, 1_000)
    .addOption(
      new Option('--log-level <level>', 'what steno itself reports').choices(['debug', 'info', 'warn', 'error', 'silent']).default('warn'),
    )
    .option('--quiet', 'print no summary at the end')
    .option('--json', 'print the summary as one JSON object')
    .addHelpText(
      'after',
      `
Examples:
  steno run -- python agent.py
  steno run -- psql                                     # PGHOST and the others are set, also from DATABASE_URL
  steno run -- sh -c 'psql "$DATABASE_URL"'             # single quotes: the shell inside reads the variable that steno made
  steno run --store file:///var/lib/steno --quiet -- npm test

Where the database is comes from STENO_UPSTREAM, DATABASE_URL and every other variable that holds a PostgreSQL URL, or from the PG… variables.
The summary goes to standard error; standard output is the command's alone.
With --json it is one object {exitCode, store, everythingStored, totals, sessions}, each session {session, state, variables, user,
database, application, opened, closed, statements, failures, rows, gaps}; times in milliseconds since 1970.
Exit code: the command's own, 128 + n when signal n ended it; 127 no such command, 126 it cannot be run, 125 steno failed before it ran.`,
    )
    .action((name: string, args: readonly string[], options: Options) => run(name, args, options))
}

async function run(name: string, args: readonly string[], options: Options): Promise<void> {
  process.exitCode = exitCodes.stenoFailed
  const started = Date.now()
  const log = createLog({ level: options.logLevel })
  const { mentions, others } = findMentions(process.env)
  if (mentions.length === 0) throw new NoUpstreamFound(others)
  const named = mentions.map((mention) => ({ mention, upstream: upstreamOf(mention, process.env) }))
  const served = await startProxies(named, { ...options, spool: path.resolve(options.spool) }, log)
  for (const { proxy, upstream, mentions: led } of served) {
    const mode = upstream.settings.user === null ? 'pass-through' : 'custody'
    log.info({ address: `${proxy.host}:${proxy.port}`, mode, variables: led.flatMap(({ variables }) => variables) }, 'listening')
  }
  const environment = environmentFor(served, mentions)
  for (const variable of variablesHolding(environment, secretsOf(served)))
    log.warn({ variable }, 'a variable that steno does not know still holds a credential of the database, and the command gets it')
  if (args.some(namesDatabase))
    log.warn(
      'an argument of the command names a database: what goes there passes steno by. In sh -c with single quotes, "$DATABASE_URL" leads through it',
    )
  let exitCode: number
  try {
    exitCode = await runChild(name, args, environment)
  } catch (error) {
    await stopAll(served)
    if (error instanceof CommandNotFound) process.exitCode = exitCodes.notFound
    if (error instanceof CommandNotExecutable) process.exitCode = exitCodes.notExecutable
    throw error
  }
  const everythingStored = await stopAll(served)
  if (options.quiet !== true) await report(options, { exitCode, everythingStored, started, recorders: recordersOf(served) })
  // Sockets that a process of the command's has left open are not waited for.
  process.exit(exitCode)
}

function environmentFor(served: readonly Served[], order: readonly Served['mentions'][number][]): Record<string, string> {
  const redirected = order.flatMap((mention) => {
    const behind = served.find(({ mentions }) => mentions.includes(mention))
    if (behind === undefined) return []
    const { proxy, upstream, token } = behind
    return [{ mention, upstream, target: { port: proxy.port, user: upstream.settings.user, password: token, database: null } }]
  })
  return childEnvironment(process.env, redirected)
}

function secretsOf(served: readonly Served[]): string[] {
  const secrets = served.flatMap(({ upstream: { settings } }) => [settings.password, settings.tls.keyPassword])
  return secrets.flatMap((secret) => (secret === null ? [] : [secret.reveal()]))
}

/** Stores everything, as `steno proxy` does at its end; a signal meanwhile makes it end at once. False when something is left. */
async function stopAll(served: readonly Served[]): Promise<boolean> {
  const stop = (): Promise<{ everythingStored: boolean }[]> => Promise.all(served.map(({ proxy }) => proxy.stop()))
  const hurry = (): void => void stop()
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  for (const signal of signals) process.on(signal, hurry)
  const stopped = await stop()
  for (const signal of signals) process.off(signal, hurry)
  return stopped.every(({ everythingStored }) => everythingStored)
}

function recordersOf(served: readonly Served[]): Map<string, string[]> {
  return new Map(served.map(({ proxy, mentions }) => [proxy.recorder, mentions.flatMap(({ variables }) => variables)]))
}

/** The command has ended: what goes wrong from here on is said, and changes its exit code no more. */
async function report(options: Options, facts: Parameters<typeof summarise>[1]): Promise<void> {
  try {
    const summary = await summarise(await openStore(options.store), facts)
    const isDefault = options.store === defaultStoreUrl() || process.env['STENO_STORE'] === options.store
    const lines =
      options.json === true ? [JSON.stringify(summary)] : summaryLines(summary, isDefault ? '' : ` --store ${shellWord(options.store)}`)
    process.stderr.write(`${lines.join('\n')}\n`)
  } catch (error) {
    if (!(error instanceof KnownError)) throw error
    process.stderr.write(`steno: the summary cannot be made: ${messageOf(error)}\n  ${error.remedy}\n  (${error.code})\n`)
  }
}

function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}

function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('Give a whole number.')
  return Number(text)
}
