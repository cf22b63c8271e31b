import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { printable } from '../text.ts'
import { found } from './found.ts'
import { highlightedLine, highlightedLines } from './highlight.ts'
import { line, textOfLine } from './styled-text.ts'

test('keywords, strings, numbers, parameters and comments are told apart', () => {
  const [shown] = highlightedLines(`SELECT "from", 'it''s', $1, 42 -- why`)
  assert.deepEqual(
    shown!.spans.filter(({ text }) => text.trim() !== '' && text !== ',').map(({ text, style }) => [text, style]),
    [
      ['SELECT', 'keyword'],
      ['"from"', 'plain'],
      ["'it''s'", 'string'],
      ['$1', 'parameter'],
      ['42', 'number'],
      ['-- why', 'comment'],
    ],
  )
})

test('highlighting changes no text, whatever it is', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (sql) => {
      const expected = sql.split(/\r\n|\r|\n/).map((part) => printable(part.replaceAll('\t', '    ')))
      // A character cut in two by a token's end is escaped in two; the lexer cuts no pairs.
      assert.deepEqual(highlightedLines(sql).map(textOfLine), expected)
    }),
  )
})

test('a statement is one line in lists, however it was written', () => {
  assert.equal(textOfLine(highlightedLine('\n select\n\t1,\n  2', 80)), 'select 1, 2')
  const commented = highlightedLine('select 1 -- one\nfrom a', 80)
  assert.equal(textOfLine(commented), 'select 1 -- one from a')
  assert.equal(commented.spans.find(({ text }) => text === 'from')?.style, 'keyword')
})

test('what was searched for is marked, in any case unless capitals were typed', () => {
  const marked = (text: string, wanted: string): string[] =>
    found(line(text), wanted)
      .spans.filter(({ style }) => style === 'found')
      .map((span) => span.text)
  assert.deepEqual(marked('Orders and orders', 'orders'), ['Orders', 'orders'])
  assert.deepEqual(marked('Orders and orders', 'Orders'), ['Orders'])
  assert.deepEqual(marked('Orders', 'nothing'), [])
  assert.equal(textOfLine(found(line('Orders and orders'), 'ers')), 'Orders and orders')
})
