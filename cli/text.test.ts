import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { displayWidth, printableLine, shorten } from './text.ts'

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
