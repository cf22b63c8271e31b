// Goal: what a document says of itself is found without building it, and exactly as a parser would. Method: arbitrary JSON beside
// JSON.parse; texts that are made to be read in two ways; texts that would take a gigabyte.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BadDocument } from '../../session/shape.ts'
import { checkOutline, outlineOf } from './claims.ts'

test('of any JSON the outermost texts, the depth and the number of values are a parser’s', () => {
  const name = fc.string({ unit: 'grapheme', maxLength: 5 }).filter((text) => !JSON.stringify(text).includes('\\'))
  fc.assert(
    fc.property(fc.dictionary(name, fc.jsonValue({ maxDepth: 4 })), (value) => {
      const outline = outlineOf(Buffer.from(JSON.stringify(value)), 'it')
      const texts = Object.entries(value).filter(([, text]) => typeof text === 'string' && !JSON.stringify(text).includes('\\'))
      assert.deepEqual(Object.fromEntries(outline.texts), Object.fromEntries(texts))
      assert.equal(outline.depth, depthOf(value))
    }),
  )
})

test('a member that is named twice, or in a way that a parser reads as another, is refused', () => {
  for (const json of ['{"session":"a","session":"b"}', String.raw`{"\u0073ession":"a"}`, String.raw`{"a":"\"","session":"x","a":1}`])
    assert.throws(() => outlineOf(Buffer.from(json), 'it'), BadDocument, json)
  assert.deepEqual([...outlineOf(Buffer.from(String.raw`{"a":"\\","b":"c\\\"","d":["e"],"f":"g"}`), 'it').texts], [['f', 'g']])
})

test('what nests or crowds as nothing of steno’s does is refused', () => {
  const check = (json: string): void => checkOutline(outlineOf(Buffer.from(json), 'it'), json.length, 'it')
  check(`{"a":${'['.repeat(31)}${']'.repeat(31)}}`)
  assert.throws(() => check(`{"a":${'['.repeat(32)}${']'.repeat(32)}}`), /nests/)
  assert.throws(() => check(`{"a":[${'[],'.repeat(10_000)}[]]}`), /values/)
  check(`{"a":"${'[],'.repeat(10_000)}"}`)
})

function depthOf(value: unknown): number {
  return typeof value !== 'object' || value === null ? 0 : 1 + Math.max(0, ...Object.values(value).map(depthOf))
}
