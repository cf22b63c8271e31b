import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BadDocument } from './shape.ts'
import { decodeStatementIndex, encodeStatementIndex, indexLineBytesMax } from './statement-index.ts'
import { testEpoch, testSessionId } from './test-recording.ts'

const session = testSessionId(testEpoch, 1)
const statements = [
  { number: 1, place: { first: 1, last: 2 }, sql: 'select 1\n-- ☃' },
  { number: 2, place: { first: 3, last: 3 }, sql: '"\\' },
]
const bytes = encodeStatementIndex(session, 4, statements)

test('the lines are plain JSON with session and segment, and any cut of the reading gives the same', async () => {
  const plain = bytes
    .toString()
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown)
  const expected = statements.map((statement) => ({ session, segment: 4, ...statement }))
  assert.deepEqual(plain, expected)
  for (let cut = 0; cut <= bytes.length; cut++) {
    assert.deepEqual(await Array.fromAsync(decodeStatementIndex([bytes.subarray(0, cut), bytes.subarray(cut)])), expected)
  }
  assert.deepEqual(await Array.fromAsync(decodeStatementIndex([...bytes].map((byte) => Buffer.from([byte])))), expected)
  assert.deepEqual(await Array.fromAsync(decodeStatementIndex([])), [])
})

test('a line without its end, an empty line, a line of another shape are refused', async () => {
  const line = { session, segment: 1, number: 1, place: { first: 0, last: 0 } }
  const bad = [
    { ...line, number: 0 },
    { ...line, place: { first: 2, last: 1 } },
    { ...line, place: null },
    { ...line, session: 'x' },
    [],
    null,
    1,
  ]
  for (const text of ['\n', '{', '{}\n', JSON.stringify(line), ...bad.map((each) => `${JSON.stringify(each)}\n`)]) {
    await assert.rejects(Array.fromAsync(decodeStatementIndex([Buffer.from(text)])), BadDocument, text)
  }
})

test('a line that never ends is given up at its cap', async () => {
  let pieces = 0
  const endless = function* (): Generator<Buffer> {
    for (const piece = Buffer.alloc(1024 * 1024, 'x'); ; pieces++) yield piece
  }
  await assert.rejects(Array.fromAsync(decodeStatementIndex(endless())), BadDocument)
  assert.ok(pieces <= indexLineBytesMax / 1024 / 1024 + 1)
})

test('no bytes crash it', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 60 }), fc.nat(bytes.length), async (noise, at) => {
      const mixed = Buffer.concat([bytes.subarray(0, at), Buffer.from(noise), bytes.subarray(at)])
      await Array.fromAsync(decodeStatementIndex([mixed])).catch((error: unknown) => assert.ok(error instanceof BadDocument))
    }),
  )
})
