/**
 * What an agent is told when a result that the database gave is kept from it, because the store does not have the recording of it.
 *
 * It ends the session: the database has gone on, and what the agent would have to know of that is just what it may not be told.
 */
import type { ErrorFields } from '../../postgres/statement.ts'

/** `overdue`: the store did not take it in time. `unstorable`: it never will, for the recording is damaged or the store contradicts it. */
export type WithheldBecause = { readonly kind: 'overdue'; readonly waitedMilliseconds: number } | { readonly kind: 'unstorable' }

export function withheldError(because: WithheldBecause): ErrorFields {
  return {
    severity: 'FATAL',
    code: '58030', // io_error
    message: `steno withholds this result: ${reasonOf(because)}`,
    detail: 'Whatever was asked last was sent to the database and may have taken effect there.',
    hint: 'Find out what took effect before you ask again. Connect again once the operator of steno has made the store take recordings.',
  }
}

export function reasonOf(because: WithheldBecause): string {
  switch (because.kind) {
    case 'overdue':
      return `the store has not taken its recording for ${because.waitedMilliseconds / 1_000} seconds`
    case 'unstorable':
      return 'its recording cannot be stored'
    default:
      return because satisfies never
  }
}
