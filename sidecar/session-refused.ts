/** An agent asked for something that this proxy does not grant: the database, the user, replication, one connection more. */
import { KnownError } from '../base/errors.ts'

/** What an agent is told: a SQLSTATE, what happened and what can be done. */
export type Refusal = { readonly code: string; readonly message: string; readonly hint: string }

export class SessionRefused extends KnownError {
  readonly code = 'SESSION_REFUSED'
  readonly remedy: string
  readonly safeToRetry = true
  /** What the agent's driver is given: five characters of PostgreSQL's "Error Codes". */
  readonly sqlState: string
  constructor(sqlState: string, message: string, remedy: string) {
    super(message)
    this.sqlState = sqlState
    this.remedy = remedy
  }
}
