import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { createBindReader } from './bind-reader.ts'
import { decodeBind } from './frontend.ts'
import { frontend as f } from './write-for-tests.ts'

const limits = { parameterBytesMax: 20, parametersMax: 6 }

function inParts(body: Buffer, cuts: readonly number[]) {
  const reader = createBindReader('utf8', limits)
  const edges = [0, ...cuts.map((at) => at % (body.length + 1)).toSorted((one, other) => one - other), body.length]
  for (let index = 1; index < edges.length; index++) reader.push(body, edges[index - 1]!, edges[index]!)
  return reader.finish()
}

const whole = (body: Buffer) => decodeBind('utf8', { bytes: body, start: 0, end: body.length, wholeBytes: body.length }, limits)

const message = fc.record({
  portal: fc.constantFrom('', 'p', 'ö'.repeat(20)),
  statement: fc.constantFrom('', 's'),
  formats: fc.array(fc.nat(1), { maxLength: 3 }),
  values: fc.array(fc.option(fc.string({ unit: 'binary', maxLength: 40 })), { maxLength: 8 }),
  resultFormats: fc.array(fc.nat(1), { maxLength: 3 }),
})

test('a Bind read in parts is the Bind read whole', () => {
  fc.assert(
    fc.property(message, fc.array(fc.nat(400), { maxLength: 10 }), (bind, cuts) => {
      const body = f.bind(bind).subarray(5)
      const expected = whole(body)
      assert.equal(expected.malformed, false)
      assert.deepEqual(inParts(body, cuts), expected)
    }),
    { numRuns: 500 },
  )
})

test('a malformed Bind read in parts says so, and never throws', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.array(fc.nat(80), { maxLength: 5 }), (bytes, cuts) => {
      const body = Buffer.from(bytes)
      assert.equal(inParts(body, cuts).malformed, whole(body).malformed)
    }),
    { numRuns: 2000 },
  )
})
