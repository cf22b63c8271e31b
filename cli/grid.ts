/**
 * Rows as psql prints them: aligned, border 1, headers centred, numbers on the right, `+` where a cell goes on in the next line.
 *
 * The widths need every row that is printed, so at most `rowsMax` rows and `charactersMax` characters are held; the footer says
 * how many rows there were. Differs from psql in one thing: bidirectional overrides are escaped like control characters.
 */
import { counted, displayWidth, printable } from './text.ts'

export type GridColumn = { readonly name: string; readonly align: 'left' | 'right' }

/** `null` is SQL NULL. */
export type GridRow = readonly (string | null)[]

export type GridOptions = {
  readonly columns: readonly GridColumn[]
  readonly rowsMax: number
  /** What NULL is shown as; psql's default is nothing. */
  readonly nullText: string
  readonly charactersMax?: number
}

const charactersMaxDefault = 32 * 1024 * 1024
const tabStops = 8

type Line = { readonly text: string; readonly width: number }
type Cell = readonly Line[]

export function createGrid({ columns, rowsMax, nullText, charactersMax = charactersMaxDefault }: GridOptions) {
  const headers = columns.map(({ name }) => cellOf(name))
  const widths = headers.map(widest)
  const rows: Cell[][] = []
  const nullCell = cellOf(nullText)
  let count = 0
  let characters = 0
  return {
    push(row: GridRow): void {
      count++
      if (rows.length < count - 1 || rows.length >= rowsMax || characters >= charactersMax) return
      const cells = columns.map((_, index) => {
        const value = row[index] ?? null
        characters += value?.length ?? 0
        return value === null ? nullCell : cellOf(value)
      })
      cells.forEach((cell, index) => (widths[index] = Math.max(widths[index]!, widest(cell))))
      rows.push(cells)
    },
    *lines(): Generator<string> {
      yield* headerLines(headers, widths)
      yield columns.length === 0 ? '--' : widths.map((width) => '-'.repeat(width + 2)).join('+')
      for (const row of rows) yield* rowLines(row, columns, widths)
      yield rows.length < count ? `(${counted(rows.length, 'row')} shown of ${count}; --rows-max shows more)` : `(${counted(count, 'row')})`
    },
  }
}

function cellOf(text: string): Cell {
  return printable(text)
    .split('\n')
    .map((line) => {
      const shown = line.includes('\t') ? withoutTabs(line) : line
      return { text: shown, width: displayWidth(shown) }
    })
}

function withoutTabs(line: string): string {
  return line.split('\t').reduce((before, after) => before + ' '.repeat(tabStops - (displayWidth(before) % tabStops)) + after)
}

function widest(cell: Cell): number {
  return cell.reduce((width, line) => Math.max(width, line.width), 0)
}

function* headerLines(headers: readonly Cell[], widths: readonly number[]): Generator<string> {
  const height = headers.reduce((most, header) => Math.max(most, header.length), 0)
  for (let level = 0; level < height; level++) {
    yield headers
      .map((header, index) => {
        const { text, width } = header[level] ?? { text: '', width: 0 }
        const spaces = widths[index]! - width
        const before = Math.floor(spaces / 2)
        return ` ${' '.repeat(before)}${text}${' '.repeat(spaces - before)}${level < header.length - 1 ? '+' : ' '}`
      })
      .join('|')
  }
}

function* rowLines(row: readonly Cell[], columns: readonly GridColumn[], widths: readonly number[]): Generator<string> {
  const height = row.reduce((most, cell) => Math.max(most, cell.length), 0)
  for (let level = 0; level < height; level++) {
    yield row
      .map((cell, index) => {
        const line = cell[level]
        const goesOn = level < cell.length - 1
        const last = index === columns.length - 1
        const padding = ' '.repeat(widths[index]! - (line?.width ?? 0))
        // psql pads the last column only where a mark stands behind it.
        if (line === undefined) return last ? ' ' : ` ${padding} `
        const mark = goesOn ? '+' : last ? '' : ' '
        if (columns[index]!.align === 'right') return ` ${padding}${line.text}${mark}`
        return ` ${line.text}${last && !goesOn ? '' : padding}${mark}`
      })
      .join('|')
  }
}
