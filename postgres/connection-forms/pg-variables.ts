/**
 * The PG… variables of libpq, which most drivers follow: those that lead to a target, and those that only fit the database itself.
 *
 * Data only. Source: PostgreSQL documentation, "Environment Variables".
 */
import { keywords } from '../connection-string-keywords.ts'
import { concernsTheWay, proxyHost, type Target } from './written-connection.ts'

/** The variables by which libpq, and all who follow it, find the target without being told. */
export function pgVariables({ port, user, password, database }: Target): Readonly<Record<string, string>> {
  return {
    PGHOST: proxyHost,
    PGPORT: String(port),
    ...(user === null ? {} : { PGUSER: user }),
    ...(password === null ? {} : { PGPASSWORD: password }),
    ...(database === null ? {} : { PGDATABASE: database }),
  }
}

/**
 * The variables that say how to reach, trust or sign in to a database. None of them fits the proxy, so a client of the proxy gets none
 * of them but those that are set again for it.
 */
export const wayVariables: readonly string[] = [
  ...Object.entries(keywords.honoured)
    .filter(([keyword, variable]) => variable !== null && concernsTheWay(keyword) && !['dbname', 'connect_timeout'].includes(keyword))
    .map(([, variable]) => variable!)
    .filter((variable) => !['PGHOST', 'PGPORT'].includes(variable)),
  ...['PGREQUIRESSL', 'PGSSLCOMPRESSION', 'PGGSSLIB', 'PGGSSDELEGATION', 'PGKRBSRVNAME'],
]
