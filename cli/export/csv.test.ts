import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { csvLine, csvRow, withoutFormula } from './csv.ts'
import type { Column, Value } from './columns.ts'

/** RFC 4180's grammar, one record; an empty field without quotes is NULL. */
function parse(line: string): (string | null)[] {
  const fields: (string | null)[] = []
  let at = 0
  for (;;) {
    if (line[at] === '"') {
      let text = ''
      for (at++; line[at] !== '"' || line[at + 1] === '"'; at++) {
        if (line[at] === '"') at++
        text += line[at]
      }
      at++
      fields.push(text)
    } else {
      const end = line.slice(at).search(/[,\r]/) + at
      fields.push(end === at ? null : line.slice(at, end))
      at = end
    }
    if (line.slice(at) === '\r\n') return fields
    assert.equal(line[at], ',')
    at++
  }
}

test('whatever the values are, a reader of RFC 4180 gets them back', () => {
  const value = fc.option(fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('"', ',', '\r\n', '', ' ', '"a","b"')))
  fc.assert(
    fc.property(fc.array(value, { minLength: 1 }), (values) => {
      assert.deepEqual(parse(csvLine(values)), values)
    }),
  )
})

test('a text that a spreadsheet would run is told apart, numbers are not touched', () => {
  for (const text of ['=1+1', '+1', '-- comment', '@SUM(A1)', '\tx', '\r=x']) assert.equal(withoutFormula(text), `'${text}`)
  for (const text of ['select 1', '', "'=1", ' =1']) assert.equal(withoutFormula(text), text)
  const row = ['=1', -5, true, null, [1, '=2'], 1_795_251_600_000.5]
  const types = ['text', 'integer', 'boolean', 'text', 'json', 'timestamp'] as const
  const columns = types.map((type, index): Column<readonly Value[]> => ({ name: type, type, about: '', value: (values) => values[index]! }))
  assert.equal(
    csvRow(columns, row, { guardFormulas: true, forTerminal: false }),
    '\'=1,-5,true,,"[1,""=2""]",2026-11-21T09:00:00.000500Z\r\n',
  )
  assert.equal(csvRow(columns, row, { guardFormulas: false, forTerminal: false }).slice(0, 3), '=1,')
})

test('only what goes to a terminal loses its control characters', () => {
  const columns: readonly Column<string>[] = [{ name: 'sql', type: 'text', about: '', value: (text) => text }]
  const row = (forTerminal: boolean): string => csvRow(columns, '\x1b[2Ja', { guardFormulas: true, forTerminal })
  assert.equal(row(false), '\x1b[2Ja\r\n')
  assert.equal(row(true), '\\x1B[2Ja\r\n')
})
