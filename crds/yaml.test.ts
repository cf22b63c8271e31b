/** Goal: what is written as YAML is read as the same data. Method: data of any shape, read by an independent reader in YAML 1.1 and 1.2. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parse } from 'yaml'
import { toYaml } from './yaml.ts'

test('whatever is written is read as the same', () => {
  const words = fc.constantFrom(
    'yes',
    'no',
    'null',
    '~',
    'on',
    '1e3',
    'e0',
    '0x1',
    '- a',
    'a: b',
    '#',
    "'",
    '',
    ' ',
    '2001-01-01',
    'y',
    '<<',
    'a\nb',
  )
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { depthSize: 'small' },
      fc.string(),
      words,
      fc.integer(),
      fc.boolean(),
      fc.constant(null),
      fc.array(tie('any'), { maxLength: 3 }),
      fc.dictionary(fc.oneof(fc.string({ minLength: 1 }), words), tie('any'), { maxKeys: 3, noNullPrototype: true }),
    ),
  })).any
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom('a', 'b'), value, { minKeys: 1, noNullPrototype: true }), (data) => {
      const text = toYaml(data)
      assert.deepEqual(parse(text, { version: '1.2' }), data)
      assert.deepEqual(parse(text, { version: '1.1', merge: false }), data)
    }),
    { numRuns: 1000 },
  )
})

test('a field that is undefined is left out', () => {
  assert.equal(toYaml({ a: undefined, b: [{ c: 1, d: ['x'] }, []], e: {} }), 'b:\n  - c: 1\n    d:\n      - x\n  - []\ne: {}\n')
})
