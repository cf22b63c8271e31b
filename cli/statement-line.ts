/** A line of a statement index as a `StatementSummary`, checked: the file may have been written by anybody. */
import type { Column, ErrorFields, Parameter, StatementSummary } from '../postgres/statement.ts'
import { flag, list, natural, nullable, object, oneOf, optional, ordinal, text, time, type Check } from '../session/shape.ts'
import type { IndexLine } from '../session/statement-index.ts'

/** `summary` alone is what a recorder made of the statement; the line adds where it stands. */
export type StatementLine = StatementSummary & IndexLine

const parameter: Check<Parameter> = object<Parameter>({
  typeOid: natural,
  format: oneOf('text', 'binary'),
  bytes: nullable(natural),
  value: nullable(text),
  truncated: optional(flag as Check<true>),
})

const column: Check<Column> = object<Column>({
  name: text,
  typeOid: natural,
  typeModifier: (value, where) => {
    if (value !== -1) natural(typeof value === 'number' ? Math.abs(value) : value, where)
    return value as number
  },
  format: oneOf('text', 'binary'),
})

const errorFields: Check<ErrorFields> = object<ErrorFields>({
  severity: text,
  code: text,
  message: text,
  detail: optional(text),
  hint: optional(text),
  position: optional(text),
  where: optional(text),
  schema: optional(text),
  table: optional(text),
  column: optional(text),
  dataType: optional(text),
  constraint: optional(text),
  file: optional(text),
  line: optional(text),
  routine: optional(text),
})

const summary: Check<StatementSummary> = object<StatementSummary>({
  number: ordinal,
  kind: oneOf('query', 'execute', 'function', 'protocol'),
  sql: text,
  sqlBytes: natural,
  sqlTruncated: optional(flag as Check<true>),
  redacted: optional(flag as Check<true>),
  preparedSql: optional(text),
  statementName: optional(text),
  portal: optional(text),
  parameters: list(parameter),
  columns: nullable(list(column)),
  outcome: oneOf('completed', 'failed', 'skipped', 'suspended', 'unfinished'),
  tag: nullable(text),
  rows: natural,
  resultBytes: natural,
  notKept: optional(object<NonNullable<StatementSummary['notKept']>>({ messages: natural, bytes: natural })),
  copy: optional(
    object<NonNullable<StatementSummary['copy']>>({ direction: oneOf('in', 'out', 'both'), messages: natural, bytes: natural }),
  ),
  error: nullable(errorFields),
  notices: list(errorFields),
  transactionBefore: oneOf('I', 'T', 'E'),
  started: time,
  finished: time,
  place: object<StatementSummary['place']>({ first: natural, last: natural }),
  fingerprint: text,
  trace: optional(object<NonNullable<StatementSummary['trace']>>({ traceId: text, parentSpanId: text, sampled: flag })),
  decision: object<StatementSummary['decision']>({ kind: oneOf('allow'), rule: text }),
})

/** @throws BadDocument naming the field that does not fit */
export function checkStatementLine(line: IndexLine): StatementLine {
  summary(line, `statement ${line.number} of the index`)
  return line as StatementLine
}
