/** How a command that failed tells it: to a person on standard error, or as one JSON object when JSON was asked for; and its exit code. */
import { CommanderError } from 'commander'
import { KnownError } from '../base/errors.ts'
import { asTyped } from './program-name.ts'

export const exitCode = { failed: 1, usage: 2 } as const

/** Something on the command line does not exist or does not fit. */
export class BadUsage extends KnownError {
  readonly code = 'BAD_USAGE'
  readonly remedy = 'Add --help to the command to see what can be given.'
  readonly safeToRetry = true
}

/** Something happened that steno does not know. */
export class Defect extends KnownError {
  readonly code = 'DEFECT'
  readonly remedy = 'This is a defect of steno: please report it.'
  readonly safeToRetry = false
}

/** Tells what went wrong; gives the exit code. */
export function report(error: unknown, { asJson }: { readonly asJson: boolean }): number {
  if (error instanceof CommanderError) {
    // Asking for help or the version also ends here.
    if (error.exitCode === 0) return 0
    // Commander has told a person already.
    if (asJson) writeJson(new BadUsage(error.code === 'commander.help' ? 'no command was given' : error.message.replace(/^error: /, '')))
    return exitCode.usage
  }
  if (error instanceof KnownError) {
    const { code, message, remedy } = error
    if (asJson) writeJson(error)
    else process.stderr.write(`steno: ${asTyped(message)}\n  ${asTyped(remedy)}\n  (${code})\n`)
    return error instanceof BadUsage ? exitCode.usage : exitCode.failed
  }
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error)
  if (asJson) writeJson(new Defect(stack))
  else process.stderr.write(`steno: this is a defect, please report it\n${stack}\n`)
  return exitCode.failed
}

function writeJson({ code, message, remedy }: KnownError): void {
  process.stderr.write(`${JSON.stringify({ error: { code, message: asTyped(message), remedy: asTyped(remedy) } })}\n`)
}
