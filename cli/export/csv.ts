/**
 * Rows as CSV by RFC 4180: a header line, CRLF behind each line, quotes around what needs them and doubled inside. UTF-8 without a mark;
 * SQL NULL is an empty field without quotes, an empty text one with quotes, as PostgreSQL's COPY reads it.
 *
 * A spreadsheet takes a text that begins with `=`, `+`, `-`, `@`, a tab or a carriage return for a formula, and what an agent sends is
 * not to be run on an auditor's desk: such a text gets an apostrophe in front, which spreadsheets take for "this is text". Only texts are
 * touched, and a caller that wants them exact turns it off.
 */
import { printable } from '../text.ts'
import { isoTime } from './iso-time.ts'
import type { Column } from './columns.ts'

type Field = string | number | boolean | null

export type CsvOptions = {
  readonly guardFormulas: boolean
  /** Control characters are printed as escapes: a file has them as they are, a terminal would obey them. */
  readonly forTerminal: boolean
}

export function csvHeader<Row>(columns: readonly Column<Row>[]): string {
  return csvLine(columns.map(({ name }) => name))
}

export function csvRow<Row>(columns: readonly Column<Row>[], row: Row, options: CsvOptions): string {
  return csvLine(
    columns.map(({ type, value }) => {
      const found = value(row)
      if (type === 'timestamp' && typeof found === 'number') return isoTime(found)
      if (typeof found === 'object') return found === null ? null : csvText(JSON.stringify(found), options)
      return typeof found === 'string' ? csvText(found, options) : found
    }),
  )
}

export function csvLine(values: readonly Field[]): string {
  return `${values.map(field).join(',')}\r\n`
}

/** A text that comes from a recording. */
export function csvText(text: string, { guardFormulas, forTerminal }: CsvOptions): string {
  const guarded = guardFormulas ? withoutFormula(text) : text
  return forTerminal ? printable(guarded) : guarded
}

export function withoutFormula(text: string): string {
  return /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
}

function field(value: Field): string {
  if (value === null) return ''
  const text = String(value)
  return text === '' || /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
