/** A table as kubectl prints one: titles, then rows, columns as wide as their longest cell. Cells are made printable; no rows are no table. */
import { displayWidth, printableLine } from '../text.ts'

export function table(titles: readonly string[], rows: readonly (readonly string[])[]): string[] {
  if (rows.length === 0) return []
  const cells = [titles, ...rows.map((row) => row.map(printableLine))]
  const widths = titles.map((_, column) => Math.max(...cells.map((row) => displayWidth(row[column] ?? ''))))
  return cells.map((row) =>
    row
      .map((cell, column) => cell + ' '.repeat(Math.max(0, (widths[column] ?? 0) - displayWidth(cell))))
      .join('   ')
      .trimEnd(),
  )
}
