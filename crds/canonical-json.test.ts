/** Goal: equal values have one text and one digest. Method: values of any shape with their fields shuffled, and a digest computed elsewhere. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { canonicalJson, digestOf, type Json } from './canonical-json.ts'

test('the order of fields changes nothing, the order of lists does', () => {
  assert.equal(canonicalJson({ b: [2, 1], a: { d: null, c: 'ü"' } }), '{"a":{"c":"ü\\"","d":null},"b":[2,1]}')
  assert.equal(canonicalJson({ a: 1, b: undefined }), '{"a":1}')
  assert.notEqual(digestOf([1, 2]), digestOf([2, 1]))
})

test('the text is JSON of the same value, whatever the value', () => {
  const value = fc.jsonValue() as fc.Arbitrary<Json>
  fc.assert(fc.property(value, (json) => assert.deepEqual(JSON.parse(canonicalJson(json)), JSON.parse(JSON.stringify(json)))))
})

test('the digest is the start of the SHA-256 of the text', () => {
  // printf '{"a":1}' | sha256sum
  assert.equal(digestOf({ a: 1 }), '015abd7f5cc57a2dd94b7590f04ad808')
  assert.throws(() => digestOf(Number.NaN), /JSON has no such number/)
})
