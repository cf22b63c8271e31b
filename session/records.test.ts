import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  BadRecord,
  decodeRecord,
  decodeRecords,
  encodeRecord,
  recordHeaderBytes,
  recordLength,
  recordPayloadBytesMax,
  recordType,
  writeRecordHeader,
} from './records.ts'

const anyRecord = fc.record(
  {
    type: fc.constantFrom(...Object.values(recordType), 128, 255),
    flags: fc.nat(255),
    session: fc.nat(0xffffffff),
    time: fc.double({ noNaN: true }),
    payload: fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
  },
  { noNullPrototype: true },
)

test('what is encoded is what is decoded, one behind the other', () => {
  fc.assert(
    fc.property(fc.array(anyRecord), (records) => {
      assert.deepEqual([...decodeRecords(Buffer.concat(records.map(encodeRecord)))], records)
    }),
  )
})

test('a header written around bytes in place gives the same record as one encoded by itself', () => {
  const record = { type: recordType.backend, flags: 1, session: 7, time: 1234.5, payload: Buffer.from('payload') }
  const target = Buffer.alloc(100)
  record.payload.copy(target, 10 + recordHeaderBytes)
  const end = writeRecordHeader(target, 10, { ...record, payloadBytes: record.payload.length })
  assert.deepEqual(target.subarray(10, end), encodeRecord(record))
})

test('a flipped bit anywhere, or a cut anywhere, is found', () => {
  const bytes = encodeRecord({ type: recordType.frontend, flags: 0, session: 1, time: 1, payload: Buffer.from('select 1') })
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const copy = Buffer.from(bytes)
    copy[bit >> 3]! ^= 1 << (bit & 7)
    assert.throws(() => decodeRecord(copy, 0), BadRecord, `bit ${bit}`)
  }
  for (let length = 0; length < bytes.length; length++) {
    assert.equal(recordLength(bytes.subarray(0, length), 0), null)
    assert.throws(() => decodeRecord(bytes.subarray(0, length), 0), BadRecord, `cut at ${length}`)
  }
})

test('a type that must be understood and is not is refused; one that may be skipped is not', () => {
  const of = (type: number): Buffer => encodeRecord({ type, flags: 0, session: 1, time: 1, payload: Buffer.alloc(0) })
  for (const type of [0, recordType.decision + 1, 127]) assert.throws(() => decodeRecord(of(type), 0), /unknown type/)
  for (const type of [128, 255]) assert.equal(decodeRecord(of(type), 0).type, type)
})

test('an impossible length is damage at once, before anything is allocated', () => {
  const bytes = Buffer.alloc(recordHeaderBytes)
  bytes.writeUInt32LE(recordPayloadBytesMax + 1, 4)
  assert.throws(() => recordLength(bytes, 0), BadRecord)
})

test('no bytes crash the decoder', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (noise) => {
      try {
        for (const record of decodeRecords(Buffer.from(noise))) assert.ok(record)
      } catch (error) {
        assert.ok(error instanceof BadRecord)
      }
    }),
  )
})
