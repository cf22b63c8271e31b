/** What can go wrong before the command of `steno run` runs. No message holds a value of a variable. */
import { KnownError, messageOf } from '../../base/errors.ts'

/** The environment names no PostgreSQL database. */
export class NoUpstreamFound extends KnownError {
  readonly code = 'NO_UPSTREAM_FOUND'
  readonly remedy =
    'Set DATABASE_URL, the PG… variables or STENO_UPSTREAM to the database that the command works with: steno gives the command the same variables, which lead through itself.'
  readonly safeToRetry = true
  /** @param others names of variables with URLs of other databases, and their schemes */
  constructor(others: readonly { readonly variable: string; readonly scheme: string }[]) {
    const seen = others.map(({ variable, scheme }) => `; ${variable} holds a ${scheme}:// URL, and steno records PostgreSQL only`)
    super(`the environment names no PostgreSQL database${seen.join('')}`)
  }
}

/** A variable names a PostgreSQL database in a way that cannot be used. */
export class BadVariable extends KnownError {
  readonly code = 'BAD_VARIABLE'
  readonly remedy: string
  readonly safeToRetry = true
  constructor(variables: readonly string[], cause: unknown) {
    super(`${variables.join(', ')} cannot be used: ${messageOf(cause)}`, { cause })
    this.remedy = cause instanceof KnownError ? cause.remedy : 'Correct the variable, or unset it when the command does not need it.'
  }
}

/** Every spool that would do is in use. */
export class NoFreeSpool extends KnownError {
  readonly code = 'NO_FREE_SPOOL'
  readonly remedy = 'Name another folder with --spool, or wait until other runs have ended.'
  readonly safeToRetry = true
}

/** There is no such program. */
export class CommandNotFound extends KnownError {
  readonly code = 'COMMAND_NOT_FOUND'
  readonly remedy = 'Check its spelling and PATH; what a shell would interpret goes into sh -c.'
  readonly safeToRetry = true
}

/** The file is there and cannot be run. */
export class CommandNotExecutable extends KnownError {
  readonly code = 'COMMAND_NOT_EXECUTABLE'
  readonly remedy = 'Make it executable (chmod +x), or run it by its interpreter.'
  readonly safeToRetry = true
}
