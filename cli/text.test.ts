import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { displayWidth, printable, printableLine, shorten } from './text.ts'

test('printable text has no control characters but line breaks and tabs, and nothing that reorders it', () => {
  assert.equal(printable('a\x1b[2J\0\r\x7f\u009b\u202eb\tc\nd'), 'a\\x1B[2J\\x00\\r\\x7F\\u009B\\u202Eb\tc\nd')
  assert.equal(printableLine('a\tb\nc'), 'a\\tb\\nc')
  assert.equal(printable('ünï 日本 🎉 e\u0301'), 'ünï 日本 🎉 e\u0301')
  assert.equal(printable('\ud800x'), '\\uD800x')
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary' }),
      (text) => !/[^\P{Cc}\t\n]|[\u202a-\u202e\u2066-\u2069]|\p{Surrogate}/u.test(printable(text)),
    ),
  )
})

test('shortened text fits its cells and says that it was cut', () => {
  assert.equal(shorten('select 1', 8), 'select 1')
  assert.equal(shorten('select 12', 8), 'select …')
  assert.equal(shorten('日本語日本語', 6), '日本…')
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 1, max: 40 }), (text, cells) => {
      const line = printableLine(text)
      const short = shorten(line, cells)
      return displayWidth(short) <= cells && (short === line || short.endsWith('…'))
    }),
  )
})

test('widths: narrow one, wide two, combining none', () => {
  for (const [text, cells] of [
    ['abc', 3],
    ['é', 1],
    ['e\u0301', 1],
    ['漢字', 4],
    ['ｆ', 2],
    ['🎉', 2],
    ['\u200b', 0],
    ['☃', 1],
    ['🇩🇪', 2],
  ] as const) {
    assert.equal(displayWidth(text), cells, text)
  }
})
