/**
 * What the span of a statement says: a pure function from the statement, by OpenTelemetry's conventions for PostgreSQL clients.
 *
 * Loads nothing of OpenTelemetry. Never holds a parameter, a row, or a message of the server's, which may quote either.
 * A statement that begins a trace has ids made from session and number: told twice, as after a crash, it is the same span.
 */
import { createHash } from 'node:crypto'
import type { StatementSummary, TraceContext } from '../../postgres/statement.ts'
import type { SessionIdentity } from '../../session/identity.ts'
import { sanitizedQueryText } from './traces-query-text.ts'
import type { TraceQueryText } from './traces-settings.ts'
import { commandOf, querySummaryOf } from './traces-summary.ts'

export type StatementSpan = {
  readonly name: string
  readonly attributes: Readonly<Record<string, string | number>>
  /** Why it failed, as a class and never with data; null when it did not. */
  readonly failure: string | null
  /** Seconds since the epoch, and nanoseconds. */
  readonly start: [number, number]
  readonly end: [number, number]
  readonly spanId: string
  /** Of the statement itself; counts only without a parent. */
  readonly traceId: string
  readonly parent: TraceContext | null
}

const syntaxError = '42601'
const databaseSystem = 'postgresql'

export function spanOf(
  identity: SessionIdentity,
  statement: StatementSummary,
  { queryText }: { readonly queryText: TraceQueryText },
): StatementSpan {
  const { error, outcome } = statement
  const described = describe(statement, queryText)
  const attributes: Record<string, string | number> = {
    'db.system.name': databaseSystem,
    'db.namespace': identity.database,
    'server.address': identity.upstream.host,
    'server.port': identity.upstream.port,
    ...described,
    'steno.session': identity.session,
    'steno.statement.number': statement.number,
    'steno.statement.outcome': outcome,
    'steno.statement.fingerprint': statement.fingerprint,
  }
  if (statement.columns !== null || statement.rows > 0) attributes['db.response.returned_rows'] = statement.rows
  if (error !== null) attributes['db.response.status_code'] = error.code
  const failure = error?.code ?? (outcome === 'skipped' || outcome === 'unfinished' ? outcome : null)
  if (failure !== null) attributes['error.type'] = failure
  return {
    name: nameOf(described, identity.database),
    attributes,
    failure: error === null ? failure : `SQLSTATE ${error.code}`,
    start: timeOf(statement.started),
    end: timeOf(statement.finished),
    ...idsOf(identity.session, statement.number),
    parent: statement.trace ?? null,
  }
}

type Described = { 'db.operation.name'?: string; 'db.query.summary'?: string; 'db.query.text'?: string }

function describe(statement: StatementSummary, queryText: TraceQueryText): Described {
  const described: Described = {}
  // A text that steno itself put in place of one that it does not have counts no bytes.
  const isKnown = statement.sqlBytes > 0
  const operation = operationOf(statement.tag) ?? (isKnown ? commandOf(statement.sql) : null)
  if (operation !== null) described['db.operation.name'] = operation
  if (!isKnown) return described
  // What the server could not read as SQL may have a literal where a name seems to stand; one that carries a credential is not looked at.
  const isUnclear = statement.error?.code === syntaxError || statement.redacted === true
  const summary = isUnclear ? commandOf(statement.sql) : querySummaryOf(statement.sql)
  if (summary !== null) described['db.query.summary'] = summary
  if (queryText === 'none' || isUnclear) return described
  const text = sanitizedQueryText(statement.sql, { cut: statement.sqlTruncated === true })
  if (text !== null) described['db.query.text'] = text
  return described
}

/** `INSERT 0 1` is `INSERT`; the words of the server's own tag. */
function operationOf(tag: string | null): string | null {
  return tag === null ? null : (/^[A-Z]+(?: [A-Z]+){0,4}/.exec(tag)?.[0] ?? null)
}

function nameOf(described: Described, database: string): string {
  const { 'db.query.summary': summary, 'db.operation.name': operation } = described
  if (summary !== undefined) return summary
  return [operation ?? '', database].filter((part) => part !== '').join(' ') || databaseSystem
}

/** Half microseconds are exact in a double of this size; more is not measured. */
function timeOf(milliseconds: number): [number, number] {
  const microseconds = Math.max(0, Math.round(milliseconds * 1_000))
  const seconds = Math.floor(microseconds / 1_000_000)
  return [seconds, (microseconds - seconds * 1_000_000) * 1_000]
}

function idsOf(session: string, number: number): { readonly traceId: string; readonly spanId: string } {
  const digest = createHash('sha256').update(`steno statement\n${session}\n${number}`).digest('hex')
  return { traceId: digest.slice(0, 32), spanId: digest.slice(32, 48) }
}
