/** Goal: the network may cut what a client said anywhere. Method: every cut of a short conversation, and one byte at a time. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeMessage } from '../../postgres/startup-messages.ts'
import { createRequestCutter } from './request-frames.ts'

const messages = [
  encodeMessage('Q', Buffer.from('copy t from stdin\0')),
  encodeMessage('d', Buffer.from('1\n')),
  encodeMessage('c'),
  encodeMessage('P', Buffer.alloc(40, 'x'), Buffer.from([0])),
  encodeMessage('S'),
]
const conversation = Buffer.concat(messages)

function read(pieces: readonly Buffer[]) {
  const cutter = createRequestCutter({ heldBytesMax: 24 })
  const found: { type: string; number: number; bytes: Buffer; last: boolean }[] = []
  for (const piece of pieces) {
    for (const { type, number, bytes, first, last, wholeBytes } of cutter.push(piece, false)) {
      if (first) {
        assert.ok(bytes.length >= Math.min(24, wholeBytes))
        found.push({ type, number, bytes: Buffer.from(bytes), last })
      } else {
        const open = found.at(-1)!
        open.bytes = Buffer.concat([open.bytes, bytes])
        open.last = last
      }
    }
  }
  return found
}

test('a cut at any byte changes nothing, and COPY data has the number of its request', () => {
  const expected = messages.map((bytes, index) => ({ type: 'QdcPS'[index]!, number: [0, 0, 0, 1, 2][index]!, bytes, last: true }))
  for (let cut = 0; cut <= conversation.length; cut++) {
    assert.deepEqual(read([conversation.subarray(0, cut), conversation.subarray(cut)]), expected, `cut at ${cut}`)
  }
  assert.deepEqual(read(Array.from(conversation, (byte) => Buffer.from([byte]))), expected)
})

test('a message is redacted when any record with a part of it is, and its neighbours are not', () => {
  const cutter = createRequestCutter()
  const flags = [
    ...cutter.push(Buffer.concat([messages[4]!, messages[3]!.subarray(0, 7)]), false),
    ...cutter.push(messages[3]!.subarray(7), true),
    ...cutter.push(messages[4]!, false),
  ].map(({ redacted }) => redacted)
  assert.deepEqual(flags, [false, true, false])
})
