/**
 * A statement between its first answer and its end, and the summary made of it then.
 */
import { fingerprint } from '../fingerprint.ts'
import { cutText, type BoundParameter } from '../messages/frontend.ts'
import type {
  Column,
  ErrorFields,
  Parameter,
  Place,
  StatementKind,
  StatementOutcome,
  StatementSummary,
  TraceContext,
} from '../statement.ts'

export type Copy = { direction: 'in' | 'out' | 'both'; messages: number; bytes: number }

export type OpenStatement = {
  readonly number: number
  kind: StatementKind
  sql: string
  sqlBytes: number
  sqlTruncated: boolean
  redacted: boolean
  preparedSql: string | null
  statementName: string
  portal: string
  parameters: readonly Parameter[]
  columns: readonly Column[] | null
  tag: string | null
  rows: number
  resultBytes: number
  notKept: { messages: number; bytes: number } | null
  copy: Copy | null
  /** Syncs that the server may have dropped while it read COPY data. */
  copySyncs: number
  notices: ErrorFields[]
  readonly trace: TraceContext | null
  readonly transactionBefore: 'I' | 'T' | 'E'
  readonly started: number
  readonly first: Place
  /** Of the last answer, for a portal that is never fetched to its end. */
  lastTime: number
}

type MutableSummary = { -readonly [Key in keyof StatementSummary]: StatementSummary[Key] }

const allowed = { kind: 'allow', rule: '(none)' } as const

export function summarise(
  open: OpenStatement,
  outcome: StatementOutcome,
  error: ErrorFields | null,
  time: number,
  place: Place,
): StatementSummary {
  const summary: MutableSummary = {
    number: open.number,
    kind: open.kind,
    sql: open.sql,
    sqlBytes: open.sqlBytes,
    parameters: open.parameters,
    columns: open.columns,
    outcome,
    tag: open.tag,
    rows: open.rows,
    resultBytes: open.resultBytes,
    error,
    notices: open.notices,
    transactionBefore: open.transactionBefore,
    started: open.started,
    finished: time,
    place: { first: open.first, last: place },
    fingerprint: fingerprint(open.sql),
    decision: allowed,
  }
  if (open.sqlTruncated) summary.sqlTruncated = true
  if (open.redacted) summary.redacted = true
  if (open.preparedSql !== null) summary.preparedSql = open.preparedSql
  if (open.statementName !== '') summary.statementName = open.statementName
  if (open.portal !== '') summary.portal = open.portal
  if (open.notKept !== null) summary.notKept = open.notKept
  if (open.copy !== null) summary.copy = open.copy
  if (open.trace !== null) summary.trace = open.trace
  return summary
}

/** Cuts the statement's text at `charactersMax`. */
export function limitText(open: OpenStatement, charactersMax: number): void {
  if (open.sql.length <= charactersMax) return
  open.sql = cutText(open.sql, charactersMax)
  open.sqlTruncated = true
}

/** The parameters with the types that the prepared statement has. */
export function withTypes(parameters: readonly BoundParameter[], types: readonly number[]): readonly Parameter[] {
  for (let index = 0; index < parameters.length; index++) parameters[index]!.typeOid = types[index] ?? 0
  return parameters
}
