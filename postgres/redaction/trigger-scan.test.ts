import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isSuspicious } from './trigger-scan.ts'
import { mayCarryCredential, triggerIndex, triggers } from './triggers.ts'

const scan = (text: string): boolean => {
  const bytes = Buffer.from(`-${text}`, 'latin1')
  return isSuspicious(bytes, 1, bytes.length)
}
const anchors = triggers.flatMap((trigger) => trigger.anchors)

test('the scan finds each anchor in any case, at any offset', () => {
  for (const anchor of anchors) {
    for (let before = 0; before < 5; before++) {
      for (const text of [anchor, anchor.toUpperCase()]) assert.ok(scan(`${'x'.repeat(before)}${text}`), anchor)
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
    const started = performance.now()
    mayCarryCredential(text)
    assert.ok(performance.now() - started < 3_000, unit)
  }
})
