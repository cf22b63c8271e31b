/**
 * The command line: finds the command that was asked for and loads only that one, so that `--help` is quick.
 *
 * Exit codes: 0 done, 1 the command found or met a failure, 2 used wrongly; `verify` has one more (see its help).
 */
import { Command, CommanderError } from 'commander'
import { KnownError } from '../base/errors.ts'
import { stenoVersion } from '../base/version.ts'
import { refusePasswordInArguments } from './arguments.ts'

type CommandModule = { readonly command: () => Command }
type Entry = { readonly name: string; readonly summary: string; readonly load: () => Promise<CommandModule> }

const entries: readonly Entry[] = [
  { name: 'proxy', summary: 'stand between agents and a PostgreSQL database and record what is said', load: () => import('./proxy.ts') },
  { name: 'sessions', summary: 'list the recorded sessions of a store', load: () => import('./sessions.ts') },
  { name: 'show', summary: 'show a session, or one of its statements with parameters and rows', load: () => import('./show.ts') },
  { name: 'verify', summary: 'prove offline that recordings are whole and unaltered', load: () => import('./verify.ts') },
]

const exitCode = { failed: 1, usage: 2 } as const

export async function main(argv: readonly string[]): Promise<void> {
  try {
    const chosen = entries.find(({ name }) => name === argv.find((argument) => !argument.startsWith('-')))
    refusePasswordInArguments(argv)
    const program = new Command('steno')
      .description('Takes down, word for word, what an AI agent says to a database and what it is told.')
      .version(stenoVersion, '-V, --version')
      .exitOverride()
      .showHelpAfterError('(add --help for what can be given)')
      .addHelpText('after', '\nTry `steno COMMAND --help`. Exit codes: 0 done, 1 failed, 2 used wrongly.')
    for (const entry of entries) {
      if (entry !== chosen) {
        program.command(entry.name).summary(entry.summary).description(entry.summary)
        continue
      }
      const { command } = await entry.load()
      program.addCommand(command().summary(entry.summary).exitOverride().showHelpAfterError('(add --help for what can be given)'))
    }
    await program.parseAsync(argv, { from: 'user' })
  } catch (error) {
    const code = report(error, argv.includes('--json'))
    // A command that gives failures a code of its own has set it.
    if (code !== exitCode.failed || process.exitCode === undefined) process.exitCode = code
  }
}

/** Tells a person, or a program that asked for JSON, what went wrong; gives the exit code. */
function report(error: unknown, asJson: boolean): number {
  // Commander has said it already; asking for help or the version also ends here.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : exitCode.usage
  if (error instanceof KnownError) {
    const { code, message, remedy } = error
    process.stderr.write(
      asJson ? `${JSON.stringify({ error: { code, message, remedy } })}\n` : `steno: ${message}\n  ${remedy}\n  (${code})\n`,
    )
    return exitCode.failed
  }
  process.stderr.write(
    `steno: this is a defect, please report it\n${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
  )
  return exitCode.failed
}

await main(process.argv.slice(2))
