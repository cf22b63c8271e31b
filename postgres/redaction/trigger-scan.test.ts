import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { assertComputedWithin } from '../../base/test-durations.ts'
import { isSuspicious } from './trigger-scan.ts'
import { mayCarryCredential, triggerIndex, triggers } from './triggers.ts'

const scan = (text: string): boolean => {
  const bytes = Buffer.from(`-${text}`, 'latin1')
  return isSuspicious(bytes, 1, bytes.length)
}
const anchors = triggers.flatMap((trigger) => trigger.anchors)

test('the scan finds each anchor in any case, at any offset', () => {
  for (const { anchors: each, needs = '' } of triggers) {
    for (const anchor of each) {
      for (let before = 0; before < 5; before++) {
        for (const text of [`${needs}${'x'.repeat(before)}${anchor}`, `${'x'.repeat(before)}${anchor} ${needs}`])
          for (const cased of [text, text.toUpperCase()]) assert.ok(scan(cased), cased)
      }
    }
  }
})

// Goal: the fast scan hides nothing from the expression that decides. Method: texts from pieces of everything that triggers.
test('whatever the expression takes for a credential the scan lets it see', () => {
  const piece = fc.oneof(
    fc.constantFrom(
      ...anchors,
      'user',
      ' ',
      '/**/',
      '(',
      "'",
      '@',
      ':',
      '://u:p@h',
      '.',
      'eyJhbGciOi',
      '\\',
      "E'",
      '0123456789abcdef0123456789abcdef',
      'AKIA0123456789AB',
      'set my.pw=',
      "set_config('a.",
      'set a.',
      '\n',
      '--',
    ),
    fc.string({ unit: 'binary-ascii', maxLength: 4 }),
  )
  let seen = 0
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), fc.boolean(), (pieces, upper) => {
      const text = upper ? pieces.join('').toUpperCase() : pieces.join('')
      if (!mayCarryCredential(text)) return
      seen++
      assert.ok(scan(text), JSON.stringify(text))
    }),
    { numRuns: 20_000 },
  )
  assert.ok(seen > 1_000)
})

test('escapes that spell a trigger count, in all their forms', () => {
  for (const text of [
    `E'\\x70assword'`,
    `E'\\160assword'`,
    `E'p\\u0061ssword'`,
    `E'p\\U00000061ssword'`,
    `E'pass\\word'`,
    `U&"p\\0061ssword"`,
    `U&'p\\+000061ssword'`,
  ]) {
    assert.equal(triggerIndex(text), -1)
    assert.ok(mayCarryCredential(text), text)
  }
})

test('time grows linearly with the text, whatever is repeated', () => {
  for (const unit of [...anchors, '://', 'user ', 'options/*', 'options --', 'options ', '\\', '\\u00', 'eyJa', ' ']) {
    const text = unit.repeat(500_000 / unit.length)
    assertComputedWithin(3_000, () => mayCarryCredential(text), unit)
  }
})

// Goal: comments cost no more than their length, however they are begun and ended. Method: a mebibyte of what makes a search look far ahead, and again.
test('a mebibyte of comments, stars and blanks behind the words that look over them is judged in a moment', () => {
  const mebibyte = (unit: string): string => unit.repeat(Math.ceil(2 ** 20 / unit.length))
  for (const unit of [
    '/*',
    '*',
    '/**',
    '*/',
    '/**/',
    '--',
    '--\n',
    ' ',
    '/*options',
    'options/*',
    'options/**/',
    'options--',
    'options--\n',
    'program/* */ ',
  ]) {
    for (const text of [`options ${mebibyte(unit)}`, `${mebibyte(unit)} options (`, mebibyte(unit), `user ${mebibyte(unit)}*/ mapping`]) {
      assertComputedWithin(
        1_000,
        () => {
          mayCarryCredential(text)
          triggerIndex(text)
        },
        JSON.stringify(text.slice(0, 30)),
      )
    }
  }
  // Each of these comments begins within the one before and all of them end at once.
  const nested = `${'options /*'.repeat(50_000)}${'*/'.repeat(50_000)}`
  assertComputedWithin(1_000, () => mayCarryCredential(nested))
})

test('a backslash counts wherever it stands, and what looks like one by a bit does not', () => {
  for (let length = 1; length <= 6; length++) {
    assert.equal(scan('|'.repeat(length)), false)
    for (let at = 0; at < length; at++) assert.ok(scan('|'.repeat(at) + '\\' + 'x'.repeat(length - at - 1)), `at ${at} of ${length}`)
  }
})

test('everyday words are looked at only beside the letters of SET', () => {
  for (const text of ['select key from t where auth = 1', 'select "t"."key", token from authors']) {
    assert.equal(scan(text), false)
    assert.ok(scan(`${text} set `) && scan(`SET ${text}`), text)
  }
  assert.ok(scan('select api_key'))
})
