// Goal: no text from outside acts on a terminal or ends a line. Method: examples, and any text at all.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { printable, printableJson, printableLine } from './printable.ts'

const acting = /[^\P{Cc}\t\n]|[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]|\p{Surrogate}/u
const anyText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: fc.constantFrom('\x1b', '[', 'm', '\u009b', '\u2028', '\u202e', '\u200f', '\ud800', '\x7f', '\n', '\r', 'a') }),
)

test('printable text has no control characters but line breaks and tabs, no other line ends, and nothing that reorders it', () => {
  assert.equal(printable('a\x1b[2J\0\r\x7f\u009b\u202eb\tc\nd'), 'a\\x1B[2J\\x00\\r\\x7F\\u009B\\u202Eb\tc\nd')
  assert.equal(printable('a\u2028b\u200fc'), 'a\\u2028b\\u200Fc')
  assert.equal(printable('ünï 日本 🎉 e\u0301'), 'ünï 日本 🎉 e\u0301')
  assert.equal(printable('\ud800x'), '\\uD800x')
  fc.assert(fc.property(anyText, (text) => !acting.test(printable(text))))
})

test('a printable line is one line', () => {
  assert.equal(printableLine('a\tb\nc'), 'a\\tb\\nc')
  fc.assert(fc.property(anyText, (text) => !/[\t\n]/.test(printableLine(text)) && !acting.test(printableLine(text))))
})

test('printable JSON is one line that acts on nothing and says the same', () => {
  assert.equal(printableJson('a\u009b31m\u2028b'), '"a\\u009B31m\\u2028b"')
  fc.assert(
    fc.property(anyText, (text) => {
      const json = printableJson(text)
      return JSON.parse(json) === text && !/[\t\n]/.test(json) && !acting.test(json)
    }),
  )
})
