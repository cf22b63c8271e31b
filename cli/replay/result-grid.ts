/**
 * Rows as psql lays them out (border 1: header centred, numbers on the right, `+` where a cell goes on below), as styled lines.
 *
 * Like `cli/grid.ts`, which prints the same to a pipe, but measured grapheme by grapheme as terminals do, and with NULL told apart
 * from the text NULL by its style. Pure; the caller caps rows and values.
 */
import type { GridColumn, GridRow } from '../grid.ts'
import { cellsOf, line, padded, span, type Line, type Span, type Style } from './styled-text.ts'
import { printable } from '../text.ts'

const tabStops = 8
export const nullText = 'NULL'

type Cell = { readonly lines: readonly string[]; readonly style: Style; readonly cells: number }

/** Without the footer that counts rows: the caller knows how many there are. */
export function gridLines(columns: readonly GridColumn[], rows: readonly GridRow[]): Line[] {
  if (columns.length === 0) return [line('--')]
  const headers = columns.map(({ name }) => cellOf(name, 'bold'))
  const body = rows.map((row) =>
    columns.map((_, index) => {
      const value = row[index] ?? null
      return value === null ? cellOf(nullText, 'null') : cellOf(value, 'plain')
    }),
  )
  const widths = headers.map((header, index) => body.reduce((most, row) => Math.max(most, row[index]!.cells), header.cells))
  return [
    ...headerLines(headers, widths),
    line(span(widths.map((width) => '-'.repeat(width + 2)).join('+'), 'dim')),
    ...body.flatMap((row) => rowLines(row, columns, widths)),
  ]
}

function cellOf(text: string, style: Style): Cell {
  const lines = printable(text)
    .split('\n')
    .map((part) => (part.includes('\t') ? withoutTabs(part) : part))
  return { lines, style, cells: lines.reduce((most, part) => Math.max(most, cellsOf(part)), 0) }
}

function withoutTabs(text: string): string {
  return text.split('\t').reduce((before, after) => before + ' '.repeat(tabStops - (cellsOf(before) % tabStops)) + after)
}

const bar = span('|', 'dim')

function joined(cells: readonly (readonly Span[])[]): Line {
  return { spans: cells.flatMap((spans, index) => (index === 0 ? spans : [bar, ...spans])) }
}

function headerLines(headers: readonly Cell[], widths: readonly number[]): Line[] {
  const height = Math.max(...headers.map(({ lines }) => lines.length))
  return Array.from({ length: height }, (_, level) =>
    joined(
      headers.map(({ lines, style }, index) => {
        const text = lines[level] ?? ''
        const spaces = widths[index]! - cellsOf(text)
        const before = Math.floor(spaces / 2)
        const mark = level < lines.length - 1 ? '+' : ' '
        return [span(' '.repeat(before + 1)), span(text, style), span(' '.repeat(spaces - before) + mark)]
      }),
    ),
  )
}

function rowLines(row: readonly Cell[], columns: readonly GridColumn[], widths: readonly number[]): Line[] {
  const height = Math.max(...row.map(({ lines }) => lines.length))
  return Array.from({ length: height }, (_, level) =>
    joined(
      row.map(({ lines, style }, index) => {
        const text = lines[level]
        const mark = level < lines.length - 1 ? '+' : ' '
        if (text === undefined) return [span(' '.repeat(widths[index]! + 2))]
        return [span(' '), span(padded(text, widths[index]!, columns[index]!.align), style), span(mark)]
      }),
    ),
  )
}
