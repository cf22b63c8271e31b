// Goal: what is said of a result that is not kept can be read back, and FORMAT.md tells the truth of its bytes.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import fc from 'fast-check'
import { leftOutBytes, leftOutMessages, readLeftOut, writeLeftOut } from './left-out.ts'
import { encodeRecord, recordType } from './records.ts'
import { BadDocument } from './shape.ts'
import { testEpoch } from './test-recording.ts'

const payloadOf = (what: Parameters<typeof writeLeftOut>[2]): Buffer => {
  const payload = Buffer.alloc(leftOutBytes)
  writeLeftOut(payload, 0, what)
  return payload
}
const count = fc.integer({ min: 0, max: 0xffff_ffff })
const types = fc.constantFrom(...Object.values(leftOutMessages))

test('counts come back as they were written, whatever a later release writes behind them', () => {
  fc.assert(
    fc.property(fc.record({ type: types, messages: count, bytes: count }, { noNullPrototype: true }), fc.uint8Array(), (what, more) => {
      assert.deepEqual(readLeftOut(Buffer.concat([payloadOf(what), more])), what)
    }),
  )
})

test('a record that is too short, or of a message that is never left out, is refused', () => {
  const payload = payloadOf({ type: leftOutMessages.DataRow, messages: 1, bytes: 20 })
  for (let bytes = 0; bytes < leftOutBytes; bytes++) assert.throws(() => readLeftOut(payload.subarray(0, bytes)), BadDocument)
  assert.throws(() => readLeftOut(payloadOf({ type: 'T'.charCodeAt(0), messages: 1, bytes: 20 })), BadDocument)
})

test('FORMAT.md shows a left-out record as it is', async () => {
  const record = encodeRecord({
    type: recordType.leftOut,
    flags: 0,
    session: 1,
    time: testEpoch + 1_020,
    payload: payloadOf({ type: leftOutMessages.DataRow, messages: 300, bytes: 12_345 }),
  })
  const format = await readFile(`${import.meta.dirname}/FORMAT.md`, 'utf8')
  const [, block = ''] = /<!-- a left-out record -->\n```text\n(.*?)```/s.exec(format) ?? []
  assert.equal(block, hexDump(record))
})

/** As `hexdump -C` without its last line. */
function hexDump(bytes: Buffer): string {
  let dump = ''
  for (let at = 0; at < bytes.length; at += 16) {
    const line = bytes.subarray(at, at + 16)
    const hex = [...line]
      .map((byte) => byte.toString(16).padStart(2, '0'))
      .join(' ')
      .padEnd(47)
    const text = [...line].map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.')).join('')
    dump += `${at.toString(16).padStart(8, '0')}  ${hex}  |${text}|\n`
  }
  return dump
}
