/**
 * The command line: finds the command that was asked for and loads only that one, so that `--help` is quick.
 *
 * Exit codes: 0 done, 1 the command found or met a failure, 2 used wrongly; `verify` has one more (see its help).
 */
import { Command, type OutputConfiguration } from 'commander'
import { systemCodeOf } from '../base/errors.ts'
import { stenoVersion } from '../base/version.ts'
import { refusePasswordInArguments } from './arguments.ts'
import { hasColour, palette, type ColourChoice } from './colour.ts'
import { addCommonOptions, passDownCommonOptions, typedCommand, withoutEmptyDefault } from './common-options.ts'
import { exitCode, report } from './failure-report.ts'
import { addUsageHints } from './usage-hints.ts'

/** What commands that speak of the others are given: all of them, loaded and with all their options. */
export type WholeProgram = () => Promise<Command>
type CommandModule = { readonly command: (wholeProgram: WholeProgram) => Command }
type Entry = {
  readonly name: string
  readonly summary: string
  readonly load: () => Promise<CommandModule>
  /** Prints through `printPaged`, and so has `--no-pager`. */
  readonly paged?: true
  /** Reads no config file: what it is told comes with its pod. */
  readonly unconfigured?: true
}

const entries: readonly Entry[] = [
  { name: 'run', summary: 'run one command and record what it says to its databases', load: () => import('./run.ts') },
  { name: 'proxy', summary: 'stand between agents and a PostgreSQL database and record what is said', load: () => import('./proxy.ts') },
  { name: 'sessions', summary: 'list the recorded sessions of a store', load: () => import('./sessions.ts'), paged: true },
  {
    name: 'show',
    summary: 'show a session, or one of its statements with parameters and rows',
    load: () => import('./show.ts'),
    paged: true,
  },
  {
    name: 'replay',
    summary: 'play a session back, write it as SQL, or run it again and show what differs',
    load: () => import('./replay.ts'),
    paged: true,
  },
  { name: 'search', summary: 'find statements in all recorded sessions', load: () => import('./search.ts') },
  { name: 'tail', summary: 'print statements as they are stored', load: () => import('./tail.ts') },
  { name: 'export', summary: 'write statements as JSON lines, CSV, Parquet, OCSF events or SQL', load: () => import('./export.ts') },
  { name: 'query', summary: 'ask all recordings in SQL, by DuckDB', load: () => import('./query.ts') },
  { name: 'verify', summary: 'prove offline that recordings are whole and unaltered', load: () => import('./verify.ts') },
  { name: 'doctor', summary: 'check database, store, spool, clock and versions, each with a remedy', load: () => import('./doctor.ts') },
  {
    name: 'sidecar',
    summary: 'stand between the agent of a pod and its databases, as the webhook has put it there',
    load: () => import('./sidecar.ts'),
    unconfigured: true,
  },
  {
    name: 'control',
    summary: 'take the recordings of a cluster’s sidecars into its stores',
    load: () => import('./control.ts'),
    unconfigured: true,
  },
  {
    name: 'relay',
    summary: 'be the only way from a cluster’s agents to their databases',
    load: () => import('./relay.ts'),
    unconfigured: true,
  },
  {
    name: 'probe-target',
    summary: 'ask databases from where it runs whether they would talk to whoever is there',
    load: () => import('./probe-target.ts'),
    unconfigured: true,
  },
  { name: 'webhook', summary: 'answer the API server about the pods of a cluster', load: () => import('./webhook.ts'), unconfigured: true },
  { name: 'completion', summary: 'print what makes bash, zsh or fish complete steno', load: () => import('./completion.ts') },
  { name: 'man', summary: 'print the manual page', load: () => import('./man.ts') },
]

async function main(argv: readonly string[]): Promise<void> {
  const output = { asJson: isAsked(argv, '--json') }
  try {
    const typed = typedCommand(argv)
    const name = typed === 'help' ? argv[argv.indexOf('help') + 1] : typed
    refusePasswordInArguments(argv)
    const program = await programWith((entry) => entry.name === name, output)
    program.hook('preAction', async (_, command) => {
      passDownCommonOptions(program, command)
      if (!isUnconfigured(name)) await applyConfig(command)
      output.asJson ||= command.opts<{ json?: boolean }>().json === true
    })
    await program.parseAsync(argv, { from: 'user' })
  } catch (error) {
    const code = report(error, output)
    // A command that gives failures a code of its own has set it.
    if (code !== exitCode.failed || process.exitCode === undefined) process.exitCode = code
  }
}

/** The program with the commands that `isWanted` loaded; of the others it knows the names. */
async function programWith(isWanted: (entry: Entry) => boolean, output: { readonly asJson: boolean }): Promise<Command> {
  const program = dressed(new Command('steno'), output)
    .description('Takes down, word for word, what an AI agent says to a database and what it is told.')
    .version(stenoVersion, '-V, --version')
    // What stands behind a command's name is the command's, or that of the program it runs.
    .enablePositionalOptions()
    .addHelpText(
      'after',
      `
Examples:
  steno doctor                # is everything there that a recording needs?
  steno sessions --limit 5    # what was recorded
  steno show last             # what the newest session said and was told
  steno show --help           # what a command does, with examples

Exit codes: 0 done, 1 failed, 2 used wrongly. \`steno COMMAND --help\` names those that a command has beside these.`,
    )
  addCommonOptions(program, { paged: false })
  for (const entry of entries) {
    if (!isWanted(entry)) {
      program.addCommand(dressed(new Command(entry.name), output).summary(entry.summary).description(entry.summary))
      continue
    }
    const { command } = await entry.load()
    const loaded = dressed(command(wholeProgram), output).summary(entry.summary)
    program.addCommand(addCommonOptions(loaded, { paged: entry.paged === true }))
  }
  return program
}

const wholeProgram: WholeProgram = () => programWith(() => true, { asJson: false })

/** Usage errors come here instead of ending the process, and as JSON they are told by `report`. */
function dressed(command: Command, output: { readonly asJson: boolean }): Command {
  const color = (stream: NodeJS.WriteStream) => (): boolean => hasColour(typedColour(process.argv), stream, process.env)
  const configuration: OutputConfiguration = {
    writeErr: (text) => void (output.asJson || process.stderr.write(text)),
    getOutHasColors: color(process.stdout),
    getErrHasColors: color(process.stderr),
  }
  const { bold } = palette(true) // Commander takes the colours out again where there shall be none.
  return addUsageHints(command)
    .exitOverride()
    .showHelpAfterError('(add --help for what can be given)')
    .configureOutput(configuration)
    .configureHelp({ styleTitle: bold, optionDescription: withoutEmptyDefault })
}

function isUnconfigured(name: string | undefined): boolean {
  return entries.some((entry) => entry.name === name && entry.unconfigured === true)
}

async function applyConfig(command: Command): Promise<void> {
  const { applyConfigFile, readConfigFile } = await import('./config-file.ts')
  const file = readConfigFile(command.opts<{ config?: string }>().config, process.env)
  if (file === null) return
  await applyConfigFile(file, command, { environment: process.env, commandNames: entries.map(({ name }) => name), wholeProgram })
}

/** Whether the option stands among steno's own arguments, not among those of a program that it runs. */
function isAsked(argv: readonly string[], option: string): boolean {
  const end = argv.indexOf('--')
  return argv.slice(0, end < 0 ? argv.length : end).includes(option)
}

/** Help is written before options are evaluated. */
function typedColour(argv: readonly string[]): ColourChoice | undefined {
  const typed =
    argv.find((_, at) => argv[at - 1] === '--color') ?? argv.find((text) => text.startsWith('--color='))?.slice('--color='.length)
  return typed === 'always' || typed === 'never' ? typed : undefined
}

// A reader that has seen enough (`| head`) is no failure. What lists ends then, by `printLines`; what judges goes on to its exit code.
process.stdout.on('error', (error) => {
  if (!['EPIPE', 'ERR_STREAM_DESTROYED'].includes(systemCodeOf(error) ?? '')) throw error
})

await main(process.argv.slice(2))
