import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createGrid, type GridColumn, type GridRow } from '../grid.ts'
import { gridLines, nullText } from './result-grid.ts'
import { cellsOf, textOfLine } from './styled-text.ts'

function printed(columns: readonly GridColumn[], rows: readonly GridRow[]): string[] {
  const grid = createGrid({ columns, rowsMax: rows.length, nullText })
  for (const row of rows) grid.push(row)
  return [...grid.lines()].slice(0, -1).map((text) => text.trimEnd())
}

const value = fc.option(fc.stringMatching(/^[ -~äß日本\n\t]{0,12}$/), { freq: 4 })

// The other grid is proven against psql itself.
test('rows are laid out as `steno show` and psql print them', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ name: fc.stringMatching(/^[a-z日 ]{1,9}$/), align: fc.constantFrom('left' as const, 'right' as const) }), {
        maxLength: 4,
      }),
      fc.array(fc.array(value, { minLength: 4, maxLength: 4 }), { maxLength: 5 }),
      (columns, rows) => {
        if (columns.length === 0) return
        assert.deepEqual(
          gridLines(columns, rows).map((shown) => textOfLine(shown).trimEnd()),
          printed(columns, rows),
        )
      },
    ),
  )
})

test('NULL and the text NULL look different', () => {
  const [, , row] = gridLines(
    [
      { name: 'a', align: 'left' },
      { name: 'b', align: 'left' },
    ],
    [['NULL', null]],
  )
  const shown = row!.spans.filter(({ text }) => text === 'NULL')
  assert.deepEqual(
    shown.map(({ style }) => style),
    ['plain', 'null'],
  )
})

test('columns stay aligned behind emoji that are joined from several characters', () => {
  const lines = gridLines(
    [
      { name: 'face', align: 'left' },
      { name: 'n', align: 'right' },
    ],
    [
      ['👨‍👩‍👧', '1'],
      ['❤️', '22'],
      ['plain', '333'],
    ],
  )
  const bars = lines.slice(2).map((shown) => cellsOf(textOfLine(shown).split('|')[0]!))
  assert.deepEqual(bars, [7, 7, 7])
})
