/**
 * The filters that `sessions`, `search` and `export` share: how they are typed, and what passes them.
 *
 * Different filters must all pass; of one that is given several times any. Who a session is of (user, database, application, pod)
 * is decided by its identity alone, so that no index is read in vain. Texts are looked for in what the index holds of a statement: its
 * first 65,536 characters, literals of credentials replaced. Regular expressions are RE2's: time is linear in the text, whatever the
 * pattern; there are no back references and no look-around.
 */
import { InvalidArgumentError, Option, type Command } from 'commander'
import { RE2JS } from 're2js'
import type { SessionIdentity } from '../../session/identity.ts'
import type { StatementLine } from '../statement-line.ts'
import { isPodOf, parseWorkload, type Workload } from './pod-owner.ts'
import { namesTable, parseTableName, type TableName } from './table-names.ts'
import { parseDuration, parseInstant } from './when.ts'

/** As commander gives them. */
export type FilterOptions = {
  /** Milliseconds since the epoch. */
  readonly since?: number
  readonly until?: number
  readonly user?: readonly string[]
  readonly database?: readonly string[]
  readonly application?: readonly string[]
  /** Of the pod, as attested; a session outside a cluster has none. */
  readonly namespace?: readonly string[]
  /** `NAME` or `NAMESPACE/NAME`; one that ends with `*` is the beginning of it. */
  readonly pod?: readonly string[]
  readonly owner?: readonly Workload[]
  readonly table?: readonly TableName[]
  readonly sqlstate?: readonly string[]
  readonly failed?: true
  /** Milliseconds. */
  readonly minDuration?: number
  readonly text?: readonly string[]
  readonly regex?: readonly RE2JS[]
  readonly fingerprint?: readonly string[]
  readonly trace?: readonly string[]
  /** Beginnings of hashes. */
  readonly policy?: readonly string[]
}

/** What `--since` and `--until` bound: when the session opened, or when the statement started. */
export type TimeOf = 'session' | 'statement'

const patternCharactersMax = 1_000

/** Adds the shared options; `sessions` has them too, where a statement's filter asks for a session with such a statement. */
export function addFilterOptions(command: Command, timeOf: TimeOf): Command {
  const what = timeOf === 'session' ? 'that opened' : 'that started'
  command
    .addOption(
      new Option('--since <time>', `${what} at or after this: 2026-11-21, 2026-11-21T09:00:00Z, or 2h for two hours ago`).argParser(time),
    )
    .addOption(new Option('--until <time>', `${what} before this`).argParser(time))
    .addOption(repeated('--user <name>', 'of this database user', plain))
    .addOption(repeated('--database <name>', 'in this database', plain))
    .addOption(repeated('--application <name>', 'by this application_name', plain))
  return addPodOptions(command)
    .addOption(
      repeated('--table <name>', 'whose SQL names this table; by its words, not its grammar: a column of that name counts', parseTableName),
    )
    .addOption(repeated('--sqlstate <code>', 'that ended with this error, as 23505, or with one of this class, as 23', sqlstate))
    .addOption(new Option('--failed', 'that ended with an error'))
    .addOption(new Option('--min-duration <duration>', 'that took at least so long: 250ms, 2s, 5m').argParser(parseDuration))
    .addOption(repeated('--text <text>', 'whose SQL holds this text, in any case', (text) => plain(text).toLowerCase()))
    .addOption(repeated('--regex <pattern>', 'whose SQL fits this regular expression (RE2 syntax; (?i) for any case)', pattern))
    .addOption(repeated('--fingerprint <value>', 'of this fingerprint, as `--json` gives it: the same but for literals', fingerprint))
    .addOption(repeated('--trace <id>', 'of this trace: 32 hexadecimal digits', trace))
    .addOption(repeated('--policy <hash>', 'that began under this policy: its hash, or the first 8 digits or more', policyHash))
}

/** Which pods a session may be of, in a cluster. `what` is put before each description. */
export function addPodOptions(command: Command, what = ''): Command {
  const of = what === '' ? 'of' : `${what} of`
  return command
    .addOption(repeated('-n, --namespace <name>', `${of} a pod in this namespace, in a cluster`, plain))
    .addOption(repeated('--pod <name>', `${of} this pod, in a cluster: NAME or NAMESPACE/NAME; 'NAME*' for all that begin so`, podName))
    .addOption(
      repeated(
        '--owner <workload>',
        `${of} this workload's pods, in a cluster, by their names: deployment/NAME, job/NAME and so on`,
        workload,
      ),
    )
}

export const filterHelp = `
Filters of different kinds must all fit; of one given several times, any. A date is its midnight in UTC; a time
without a zone is local.
--text, --regex and --table look at the first 65,536 characters of a statement, which is what the index holds.`

export function repeated(flags: string, description: string, parse: (text: string) => unknown): Option {
  return new Option(flags, description).argParser((text: string, before: readonly unknown[] | undefined) => [
    ...(before ?? []),
    parse(text),
  ])
}

/** Commander hands a parser the value of before, which is nothing that a time takes. */
const time = (text: string): number => parseInstant(text)

function plain(text: string): string {
  if (text === '') throw new InvalidArgumentError('It must not be empty.')
  return text
}

/** `pod/NAME`, as kubectl prints it, is taken too. */
function podName(text: string): string {
  const name = plain(text).replace(/^pods?\//, '')
  const of = parseWorkload(name)
  if (of !== null)
    throw new InvalidArgumentError(
      `For the pods of a workload write --owner ${name}; for a pod of such a namespace --namespace ${name.split('/')[0]} --pod ${of.name}.`,
    )
  if (!/^(?:[^/*]+\/)?(?:[^/*]+\*?|\*)$/.test(name))
    throw new InvalidArgumentError('It must be NAME or NAMESPACE/NAME, with * at its end at most.')
  return name
}

function workload(text: string): Workload {
  const parsed = parseWorkload(text)
  if (parsed === null)
    throw new InvalidArgumentError(
      'It must be deployment/NAME, replicaset/NAME, statefulset/NAME, daemonset/NAME, job/NAME or cronjob/NAME.',
    )
  return parsed
}

function sqlstate(text: string): string {
  const code = text.toUpperCase()
  if (!/^(?:[0-9A-Z]{5}|[0-9A-Z]{2})$/.test(code)) throw new InvalidArgumentError('It must be five characters, as 23505, or the first two.')
  return code
}

export function pattern(text: string): RE2JS {
  if (plain(text).length > patternCharactersMax) throw new InvalidArgumentError(`It may have ${patternCharactersMax} characters at most.`)
  try {
    return RE2JS.compile(text)
  } catch (error) {
    throw new InvalidArgumentError(
      `It is no regular expression of RE2's syntax: ${error instanceof Error ? error.message : String(error)}.`,
    )
  }
}

function fingerprint(text: string): string {
  if (!/^[a-z]\d+:[0-9a-f]+$/.test(text)) throw new InvalidArgumentError('It must be a fingerprint, as l1:0f3b9ac4d5e67788.')
  return text
}

function policyHash(text: string): string {
  const hash = text.toLowerCase()
  if (!/^[0-9a-f]{8,32}$/.test(hash)) throw new InvalidArgumentError('It must be 8 to 32 hexadecimal digits.')
  return hash
}

function trace(text: string): string {
  const id = text.toLowerCase()
  if (!/^[0-9a-f]{32}$/.test(id)) throw new InvalidArgumentError('It must be 32 hexadecimal digits.')
  return id
}

export function applicationOf({ asserted }: SessionIdentity): string {
  return asserted['application_name'] ?? ''
}

export type PodOfSession = { readonly namespace: string; readonly name: string }

/** The pod that the recorder was attested to be in; null outside a cluster. */
export function podOf({ attested }: SessionIdentity): PodOfSession | null {
  const { podNamespace: namespace, podName: name } = attested
  return namespace === undefined || name === undefined ? null : { namespace, name }
}

/** By who spoke to what; true when nothing of the kind was asked. */
export function sessionPasses(filters: FilterOptions, identity: SessionIdentity): boolean {
  const { user, database, application, namespace, pod, owner } = filters
  if (!anyOf(user, identity.user) || !anyOf(database, identity.database) || !anyOf(application, applicationOf(identity))) return false
  if (namespace === undefined && pod === undefined && owner === undefined) return true
  const its = podOf(identity)
  if (its === null || !anyOf(namespace, its.namespace)) return false
  if (owner !== undefined && !owner.some((each) => isPodOf(each, its.name))) return false
  return pod === undefined || pod.some((wanted) => namesPod(wanted, its))
}

function namesPod(wanted: string, { namespace, name }: PodOfSession): boolean {
  const its = wanted.includes('/') ? `${namespace}/${name}` : name
  return wanted.endsWith('*') ? its.startsWith(wanted.slice(0, -1)) : its === wanted
}

/** True when a statement has to be looked at to know whether its session is wanted. */
export function asksOfStatements(filters: FilterOptions): boolean {
  const { table, sqlstate: states, failed, minDuration, text, regex, fingerprint: prints, trace: traces, policy } = filters
  return [table, states, failed, minDuration, text, regex, prints, traces, policy].some((value) => value !== undefined)
}

/** True when any filter was given. */
export function isFiltered(filters: FilterOptions): boolean {
  const { since, until, user, database, application, namespace, pod, owner } = filters
  return (
    asksOfStatements(filters) || [since, until, user, database, application, namespace, pod, owner].some((value) => value !== undefined)
  )
}

export type StatementTest = {
  passes(line: StatementLine): boolean
  /** Statements whose text the index cuts and that no filter on the text found: what was cut off may hold it. */
  readonly cutShort: number
}

/** A test for the statements of one session. Time is not tested here when it is the session's. */
export function createStatementTest(filters: FilterOptions, identity: SessionIdentity | null, timeOf: TimeOf): StatementTest {
  let cutShort = 0
  const { since = -Infinity, until = Infinity, minDuration = 0, sqlstate: states, fingerprint: prints, trace: traces } = filters
  const ofSession = traces === undefined || (identity?.trace !== null && identity !== null && traces.includes(identity.trace.traceId))
  return {
    get cutShort() {
      return cutShort
    },
    passes(line) {
      if (timeOf === 'statement' && (line.started < since || line.started >= until)) return false
      if (filters.failed === true && line.outcome !== 'failed') return false
      if (line.finished - line.started < minDuration) return false
      if (states !== undefined && !states.some((state) => line.error !== null && line.error.code.startsWith(state))) return false
      if (!anyOf(prints, line.fingerprint)) return false
      if (filters.policy !== undefined && !filters.policy.some((hash) => line.policy?.startsWith(hash) === true)) return false
      if (!ofSession && !anyOf(traces, line.trace?.traceId ?? '')) return false
      const found = textsOf(line).some((sql) => textPasses(filters, sql))
      if (!found && line.sqlTruncated === true) cutShort += 1
      return found
    },
  }
}

/** EXECUTE and FETCH say nothing of what they run; the text that PREPARE or DECLARE gave does. */
function textsOf({ sql, preparedSql }: StatementLine): string[] {
  return preparedSql === undefined ? [sql] : [sql, preparedSql]
}

function textPasses({ text, regex, table }: FilterOptions, sql: string): boolean {
  if (text !== undefined) {
    const folded = sql.toLowerCase()
    if (!text.some((part) => folded.includes(part))) return false
  }
  if (table !== undefined && !namesTable(sql, table)) return false
  return regex === undefined || regex.some((expression) => expression.matcher(sql).find())
}

function anyOf(wanted: readonly string[] | undefined, value: string): boolean {
  return wanted === undefined || wanted.includes(value)
}
