/** Goal: `$(NAME)` is read as the kubelet reads it. Method: examples of its documentation and tests; an oracle over generated texts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { escaped, tokensOf } from './expansion.ts'
import { expand } from './test-kubelet.ts'

const mapping = (name: string): string => `<${name}>`
const joined = (value: string): string =>
  tokensOf(value)
    .map((token) => (token.kind === 'text' ? token.text : mapping(token.name)))
    .join('')

const examples: readonly (readonly [value: string, expanded: string])[] = [
  ['$(A)', '<A>'],
  ['a$(A)b$(B)', 'a<A>b<B>'],
  ['$$(A)', '$(A)'],
  ['$$$(A)', '$<A>'],
  ['$$$$(A)', '$$(A)'],
  ['$(A', '$(A'],
  ['$A ${A} $', '$A ${A} $'],
  ['$()', '<>'],
  ['$($(A))', '<$(A>)'],
  ['pa$$word', 'pa$word'],
  ['', ''],
]

for (const [value, expanded] of examples) {
  test(`a value expands as in the kubelet: ${JSON.stringify(value)}`, () => {
    assert.equal(joined(value), expanded)
    assert.equal(expand(value, mapping), expanded)
  })
}

test('any value is taken apart as the kubelet does, and any text has a value that expands to it', () => {
  const text = fc.array(fc.constantFrom('$', '(', ')', 'A', 'b', '$(A)', '$$', ' ')).map((parts) => parts.join(''))
  fc.assert(
    fc.property(text, text, (value, other) => {
      assert.equal(joined(value), expand(value, mapping))
      assert.equal(expand(`${escaped(value)}$(X)${escaped(other)}`, mapping), `${value}<X>${other}`)
    }),
  )
})
