/** What may not stand on a command line, where every process of the machine can read it. */
import { KnownError } from '../base/errors.ts'

export class PasswordInArgument extends KnownError {
  readonly code = 'PASSWORD_IN_ARGUMENT'
  readonly remedy =
    'Put the connection string into the environment (STENO_UPSTREAM, for steno run DATABASE_URL, for replay --against STENO_AGAINST) or into a file named by --upstream-file or --against-file; a command under steno run finds its own in DATABASE_URL. Whoever lists processes can read arguments: consider this password known and change it.'
  readonly safeToRetry = true
  constructor() {
    super('a password was given as a process argument')
  }
}

const urlWithPassword = /:\/\/[^\s/?#@:]*:[^\s/?#@]+@/
const keywordPassword = /(?:^|[\s?&=])(?:ssl)?password\s*=\s*[^\s&]/i

/** Whether a connection string in `text` carries a password. */
export function holdsPassword(text: string): boolean {
  return urlWithPassword.test(text) || keywordPassword.test(text)
}

/** @throws PasswordInArgument; its message repeats nothing of the argument */
export function refusePasswordInArguments(argv: readonly string[]): void {
  if (argv.some(holdsPassword)) throw new PasswordInArgument()
}
