import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createPainter } from './paint.ts'
import { cellsOf, cut, line, lineCells, shortened, span, textOfLine, wrapped } from './styled-text.ts'

/** Texts with what makes terminals stumble: controls, wide characters, joined emoji, combining marks, halves of pairs. */
const hostile = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary', maxLength: 4 }),
      fc.constantFrom(
        '日本',
        '👨‍👩‍👧',
        '❤️',
        'e\u0301',
        '\x1b[31m',
        '\x1b]0;title\x07',
        '\x9b2J',
        '\u202e',
        '\ud83d',
        '\t',
        '\r\n',
        'plain text',
        '🇱🇻',
      ),
    ),
    { maxLength: 8 },
  )
  .map((parts) => parts.join(''))

/** The only sequences that the painter may send. */
const allowed = /\x1b\[(?:\d+;\d+H|\d+G|2K|[\d;]*m)/g

test('no text whatever makes the painter send a control sequence of its own', () => {
  fc.assert(
    fc.property(hostile, hostile, fc.integer({ min: 1, max: 40 }), fc.boolean(), (first, second, width, colours) => {
      const bytes = createPainter({ colours }).paint([line(first, span(second, 'string')), { ...line(second), selected: true }], width)
      assert.doesNotMatch(bytes.replace(allowed, ''), /[\0-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/)
    }),
  )
})

test('a part of a line is never wider than asked for, and parts beside each other are the whole', () => {
  fc.assert(
    fc.property(hostile, fc.nat(30), fc.integer({ min: 1, max: 30 }), (text, from, width) => {
      const whole = line(text)
      const part = cut(whole, from, width)
      assert.ok(lineCells(part) <= width)
      assert.equal(lineCells(part), Math.max(0, Math.min(width, lineCells(whole) - from)))
      assert.ok(lineCells(shortened(whole, width)) <= width)
    }),
  )
})

test('wrapping loses nothing, and every line fits', () => {
  fc.assert(
    fc.property(hostile, hostile, fc.integer({ min: 2, max: 20 }), (first, second, width) => {
      const whole = line(first, span(second, 'bold'))
      const lines = wrapped(whole, width)
      assert.equal(lines.map(textOfLine).join(''), textOfLine(whole))
      for (const part of lines) assert.ok(lineCells(part) <= width)
    }),
  )
})

test('widths are those of user-perceived characters', () => {
  for (const [text, cells] of [
    ['abc', 3],
    ['日本', 4],
    ['👨‍👩‍👧', 2],
    ['❤️', 2],
    ['e\u0301', 1],
    ['🇱🇻', 2],
  ] as const) {
    assert.equal(cellsOf(text), cells, text)
  }
})

test('only lines that changed are painted again', () => {
  const painter = createPainter({ colours: true })
  painter.paint([line('one'), line('two'), line('three')], 20)
  const bytes = painter.paint([line('one'), line('zwei'), line('three')], 20)
  assert.match(bytes, /\x1b\[2;1H.*zwei/)
  assert.doesNotMatch(bytes, /one|three/)
  assert.equal(painter.paint([line('one'), line('zwei'), line('three')], 20), '')
  painter.forget()
  assert.match(painter.paint([line('one'), line('zwei'), line('three')], 20), /one.*zwei.*three/)
})

test('behind a character whose width terminals dispute, the cursor is put where the next one belongs', () => {
  const bytes = createPainter({ colours: true }).paint([line('a👨‍👩‍👧❤️b日c│d')], 20)
  assert.ok(bytes.endsWith('a👨‍👩‍👧\x1b[4G❤️\x1b[6Gb日\x1b[9Gc│d\x1b[0m'), JSON.stringify(bytes))
})

test('without colours the painter sends none, and still tells styles apart', () => {
  const shown = [line(span('a', 'keyword'), span('b', 'bad'), span('c', 'null'), span('d', 'found'))]
  const colour = /\x1b\[(?:\d+;)*[34]\d(?:;\d+)*m/
  assert.match(createPainter({ colours: true }).paint(shown, 10), colour)
  const bytes = createPainter({ colours: false }).paint(shown, 10)
  assert.doesNotMatch(bytes, colour)
  assert.match(bytes, /\x1b\[1mb.*\x1b\[2;3mc.*\x1b\[4md/)
})
