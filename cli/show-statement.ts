/**
 * One statement as lines of text: its circumstances, its whole SQL, its parameters. Data in, lines out; rows are `grid.ts`.
 */
import type { Parameter, StatementSummary } from '../postgres/statement.ts'
import type { ValueSettings } from '../postgres/values/settings.ts'
import { textOf } from '../postgres/values/text-of.ts'
import { typeName } from '../postgres/values/types.ts'
import { notKeptText } from './not-kept.ts'
import { labelled, resultText } from './show-session.ts'
import { counted, displayWidth, printable, printableLine } from './text.ts'
import { shownDuration, shownOffset, shownTime } from './times.ts'

const transactions = { I: 'outside a transaction', T: 'inside a transaction', E: 'inside a failed transaction' } as const

/** `policy`: hash of the one that was in force when the statement began, as its index line has it. */
export function statementHeadLines(statement: StatementSummary & { readonly policy?: string }, session: string, opened: number): string[] {
  const { number, started, finished, rows, resultBytes, copy, place, decision, redacted, policy } = statement
  const why = policy === undefined ? 'as no policy is set' : 'as the policy has no rule for statements'
  const copied = copy === undefined ? '' : `, COPY ${copy.direction}: ${counted(copy.messages, 'message')}, ${counted(copy.bytes, 'byte')}`
  const notKept = notKeptText(statement)
  return [
    labelled('statement', `${number} of session ${session}`),
    labelled('when', `${shownTime(started)} (${shownOffset(started - opened)}), took ${shownDuration(Math.max(0, finished - started))}`),
    labelled('how', wayText(statement)),
    labelled('result', `${resultText(statement)}, ${counted(rows, 'row')}, ${counted(resultBytes, 'byte')}${copied}`),
    ...(notKept === null ? [] : [labelled('left out', notKept)]),
    labelled('began', transactions[statement.transactionBefore]),
    labelled('decision', `${decision.kind}, ${decision.rule === '(none)' ? why : `by rule ${decision.rule}`}`),
    ...(policy === undefined ? [] : [labelled('policy', policy)]),
    labelled('records', `${place.first} to ${place.last}`),
    ...(redacted === true
      ? [labelled('redacted', 'its literals were replaced before it was recorded, because it carries a credential')]
      : []),
  ]
}

function wayText({ kind, statementName, portal }: StatementSummary): string {
  switch (kind) {
    case 'query':
      return 'simple query'
    case 'execute': {
      const prepared = statementName === undefined ? 'unnamed statement' : `prepared statement "${statementName}"`
      return `extended protocol, ${prepared}${portal === undefined ? '' : `, portal "${portal}"`}`
    }
    case 'function':
      return 'function call message'
    case 'protocol':
      return 'a protocol message that failed'
    default:
      return kind satisfies never
  }
}

export function sqlLines({ sql, sqlBytes, sqlTruncated, preparedSql }: StatementSummary): string[] {
  const lines = printable(sql).split('\n')
  if (sqlTruncated === true) lines.push(`(cut: the whole text has ${counted(sqlBytes, 'byte')})`)
  if (preparedSql !== undefined) lines.push('', 'which runs', ...printable(preparedSql).split('\n'))
  return lines
}

/** `$1  int4  binary  42`, in columns; nothing when there are none. */
export function parameterLines(parameters: readonly Parameter[], settings: ValueSettings, nullText: string): string[] {
  if (parameters.length === 0) return []
  const rows = parameters.map((parameter, index) => [
    `  $${index + 1}`,
    typeName(parameter.typeOid),
    parameter.format,
    printableLine(parameterText(parameter, settings) ?? (nullText === '' ? 'NULL' : nullText)),
  ])
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => displayWidth(row[column]!))))
  return ['parameters', ...rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '))]
}

/** The value as psql would show it, null for NULL. A value that was cut says so. */
export function parameterText({ typeOid, format, bytes, value, truncated }: Parameter, settings: ValueSettings): string | null {
  if (value === null || bytes === null) return null
  // A text value has been decoded already when its statement was summed up.
  const shown = format === 'text' ? value : textOf(Buffer.from(value, 'base64'), { typeOid, typeModifier: -1, format }, settings)
  return truncated === true ? `${shown}… (cut: ${counted(bytes, 'byte')} in all)` : shown
}
