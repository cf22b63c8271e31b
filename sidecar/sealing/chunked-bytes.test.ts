// Goal: what was added comes out, whatever the sizes. Method: random pieces and texts against Buffer.concat, with reuse of chunks.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ChunkedBytes } from './chunked-bytes.ts'

const piece = fc.oneof(
  fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  fc.integer({ min: 1, max: 200_000 }).map((length) => Buffer.alloc(length, length % 251)),
  fc.string({ unit: 'grapheme', maxLength: 50 }),
)

test('what was added comes out in order, also when chunks are used again', () => {
  const held = new ChunkedBytes()
  const other = new ChunkedBytes()
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 20 }), (pieces) => {
      for (const each of pieces) {
        if (typeof each === 'string') held.addText(each)
        else held.add(Buffer.concat([Buffer.from('xx'), each, Buffer.from('yy')]), 2, 2 + each.length)
        other.addText('noise')
      }
      const wanted = Buffer.concat(pieces.map((each) => Buffer.from(each)))
      assert.equal(held.length, wanted.length)
      assert.ok(Buffer.concat(held.pieces()).equals(wanted))
      held.clear()
      other.clear()
      assert.equal(held.length, 0)
      assert.deepEqual(held.pieces(), [])
    }),
  )
})
