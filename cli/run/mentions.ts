/**
 * Where an environment names PostgreSQL databases: variables that hold a URL or a keyword string, the PG… variables, STENO_UPSTREAM.
 *
 * Reads the given environment only; opens nothing. What other variables mean (`DB_HOST`, `SPRING_DATASOURCE_HOST`) is not guessed.
 */
import { readJdbc } from '../../postgres/connection-forms/jdbc-form.ts'
import { readKeywords } from '../../postgres/connection-forms/keyword-form.ts'
import { pgVariables } from '../../postgres/connection-forms/pg-variables.ts'
import { readUrl } from '../../postgres/connection-forms/url-form.ts'
import type { Target, WrittenConnection } from '../../postgres/connection-forms/written-connection.ts'
import { BadConnectionString } from '../../postgres/connection-string-text.ts'
import { BadVariable } from './errors.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** Variables to set, or with null to remove. */
export type Changes = Readonly<Record<string, string | null>>

/** One place that names a database. */
export type Mention = {
  /** For messages; the first is the one that names it. */
  readonly variables: readonly string[]
  /** libpq's keywords. */
  readonly values: ReadonlyMap<string, string>
  readonly readsPgVariables: boolean
  changes(target: Target, told: Told): Changes
}

/** As whom, and to which database, a program goes that is told nothing else. */
export type Told = { readonly user: string; readonly database: string }

export type Found = {
  /** The one that DATABASE_URL and the PG… variables stand for comes first, when there is one. */
  readonly mentions: readonly Mention[]
  /** URLs of other databases, for a message. */
  readonly others: readonly { readonly variable: string; readonly scheme: string }[]
}

const upstreamVariable = 'STENO_UPSTREAM'
const mainVariable = 'DATABASE_URL'
/** Any of these says where or what the database is; the other PG… variables only complete what is named elsewhere. */
const placeVariables = ['PGHOST', 'PGHOSTADDR', 'PGPORT', 'PGDATABASE', 'PGUSER', 'PGSERVICE'] as const
/** Where a keyword string may stand; a URL is recognised in any variable. */
const connectionName = /(?:^|_)(?:URL|URI|DSN|CONNINFO|CONNECTION|CONNECTION_?STRING|DATABASE)$/i
const otherEngines = /^(?:jdbc:)?(mysql|mysqlx|mariadb|sqlite|sqlserver|mssql|oracle|mongodb|redis|cockroachdb)[+:\w.]*:\/\//i

/** @throws BadVariable */
export function findMentions(environment: Environment): Found {
  const mentions: Mention[] = []
  const others: { variable: string; scheme: string }[] = []
  const upstream = environment[upstreamVariable]
  for (const [variable, value] of Object.entries(environment)) {
    if (value === undefined || value === '' || variable === upstreamVariable || /^PG[A-Z]/.test(variable)) continue
    const written = readVariable(variable, value)
    if (written !== null && !(variable === mainVariable && upstream)) mentions.push(variableMention(variable, written, environment))
    const scheme = written === null ? otherEngines.exec(value)?.[1] : undefined
    if (scheme !== undefined) others.push({ variable, scheme: scheme.toLowerCase() })
  }
  const named = mentions.findIndex(({ variables }) => variables[0] === mainVariable)
  if (named > 0) mentions.unshift(...mentions.splice(named, 1))
  const pgNames = placeVariables.filter((name) => environment[name])
  if (upstream) return { mentions: [upstreamMention(upstream, environment), ...mentions], others }
  // A password alone is worth something only for the default server; beside a URL it completes that one.
  if (pgNames.length > 0 || (mentions.length === 0 && environment['PGPASSWORD'])) {
    mentions.splice(named < 0 ? 0 : 1, 0, pgMention(pgNames.length > 0 ? pgNames : ['PGPASSWORD'], new Map()))
  }
  return { mentions, others }
}

/** Null for what names no PostgreSQL database. @throws BadVariable */
function readVariable(variable: string, written: string): WrittenConnection | null {
  const value = written.trim() // Drivers take blanks and a line's end around a URL for nothing, and so does this.
  const isNamedSo = connectionName.test(variable)
  if (/\s/.test(value) && !isNamedSo) return null // A sentence, perhaps with a URL in it.
  try {
    return readUrl(value) ?? readJdbc(value) ?? (isNamedSo ? readKeywords(value) : null)
  } catch (error) {
    throw new BadVariable([variable], error)
  }
}

function variableMention(variable: string, written: WrittenConnection, environment: Environment): Mention {
  const companions = companionsOf(variable, written, environment)
  const values = new Map(written.values)
  const [userName, passwordName] = companions
  if (userName !== undefined) values.set('user', environment[userName]!)
  if (passwordName !== undefined) values.set('password', environment[passwordName]!)
  return {
    variables: [variable],
    values,
    readsPgVariables: written.readsPgVariables,
    changes(target) {
      if (passwordName === undefined) return { [variable]: written.write(target) }
      const changed: Record<string, string | null> = { [variable]: written.write({ ...target, user: null, password: null }) }
      if (userName !== undefined && target.user !== null) changed[userName] = target.user
      changed[passwordName] = target.password
      return changed
    },
  }
}

/** `SPRING_DATASOURCE_USERNAME` and `…_PASSWORD` beside `SPRING_DATASOURCE_URL`, when the URL itself has neither. */
function companionsOf(
  variable: string,
  { values }: WrittenConnection,
  environment: Environment,
): [user: string | undefined, password: string | undefined] {
  if (values.has('user') || values.has('password')) return [undefined, undefined]
  const stem = /^(.+?)(?:_JDBC)?_(?:URL|URI|DSN)$/i.exec(variable)?.[1]
  if (stem === undefined) return [undefined, undefined]
  const first = (endings: readonly string[]): string | undefined =>
    endings.map((ending) => `${stem}_${ending}`).find((name) => environment[name])
  const password = first(['PASSWORD', 'PASS'])
  return password === undefined ? [undefined, undefined] : [first(['USERNAME', 'USER']), password]
}

/** What STENO_UPSTREAM names is what DATABASE_URL and the PG… variables lead to, whatever they held. */
function upstreamMention(text: string, environment: Environment): Mention {
  let written: WrittenConnection | null
  let shape: WrittenConnection | null = null
  try {
    written = readUrl(text) ?? readJdbc(text) ?? readKeywords(text)
  } catch (error) {
    throw new BadVariable([upstreamVariable], error)
  }
  if (written === null) {
    throw new BadVariable([upstreamVariable], new Error('it is no connection string'))
  }
  const own = environment[mainVariable]
  if (own) shape = readVariable(mainVariable, own)
  const { values } = written
  // A URL of another engine there is another database, which the command goes on using.
  const isLeftAlone = own !== undefined && own !== '' && shape === null
  return {
    variables: [upstreamVariable],
    values,
    readsPgVariables: true,
    changes(target, told) {
      const whole = { ...target, user: told.user, database: told.database }
      const url = (shape ?? readUrl('postgresql://')!).write(whole)
      return { [upstreamVariable]: null, ...(isLeftAlone ? {} : { [mainVariable]: url }), ...pgVariables(whole), PGSSLMODE: 'disable' }
    },
  }
}

function pgMention(variables: readonly string[], values: ReadonlyMap<string, string>): Mention {
  return {
    variables,
    values,
    readsPgVariables: true,
    changes: (target) => ({ ...pgVariables(target), PGSSLMODE: 'disable' }),
  }
}

/** Whether an argument of the command names a database by itself, past what its environment says. */
export function namesDatabase(argument: string): boolean {
  try {
    return (readUrl(argument) ?? readJdbc(argument)) !== null
  } catch (error) {
    if (error instanceof BadConnectionString) return true
    throw error
  }
}
