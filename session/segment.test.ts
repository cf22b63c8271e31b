import assert from 'node:assert/strict'
import { test } from 'node:test'
import { constants, zstdCompressSync } from 'node:zlib'
import fc from 'fast-check'
import { KnownError } from '../base/errors.ts'
import { encodeRecord, recordType } from './records.ts'
import {
  BadSegment,
  openSegment,
  readSegmentHeader,
  sealSegment,
  SegmentNotReadable,
  segmentRawBytesMax,
  type SegmentFields,
} from './segment.ts'
import { testEpoch, testIdentity, testKey, testSessionId } from './test-recording.ts'

const session = testSessionId(testEpoch, 1)
const fields: SegmentFields = {
  session,
  number: 1,
  recorder: testKey(1).id,
  previous: null,
  records: { from: 0, to: 2 },
  firstTime: testEpoch,
  lastTime: testEpoch + 0.5,
  spoolEnd: { file: 1, offset: 300 },
  last: false,
  recovered: false,
  identity: testIdentity(session, testEpoch, testKey(1).id),
}
const body = [1, 2].map((at) =>
  encodeRecord({ type: recordType.frontend, flags: 0, session: 1, time: testEpoch + at, payload: Buffer.alloc(50, at) }),
)
const sealed = sealSegment(fields, body)

/** A segment with another header or body than steno would write. */
function forge(change: (header: Record<string, unknown>) => unknown, compressed?: Buffer): Buffer {
  const { header } = openSegment(sealed.bytes)
  const json = Buffer.from(JSON.stringify(change({ ...header })))
  const fixed = Buffer.from('STENOSEG\0\0\0\0', 'latin1')
  fixed.writeUInt32LE(json.length, 8)
  const bodyStart = 12 + sealed.bytes.readUInt32LE(8)
  return Buffer.concat([fixed, json, compressed ?? sealed.bytes.subarray(bodyStart)])
}

test('what is sealed is what is opened', () => {
  const opened = openSegment(sealed.bytes)
  assert.deepEqual(opened.body, Buffer.concat(body))
  assert.equal(opened.sha256, sealed.sha256)
  assert.deepEqual(opened.header, { version: 1, compression: 'zstd', encryption: 'none', rawBytes: opened.body.length, ...fields })
  assert.deepEqual(readSegmentHeader(sealed.bytes.subarray(0, 12 + sealed.bytes.readUInt32LE(8))), opened.header)
})

test('a segment of a later version, compression or encryption is refused by name, not misread', () => {
  for (const change of [{ version: 2 }, { compression: 'lz4' }, { encryption: 'age' }]) {
    assert.throws(() => openSegment(forge((header) => ({ ...header, ...change }))), SegmentNotReadable)
  }
})

test('fields that a later version adds are skipped and kept', () => {
  const { header } = openSegment(forge((own) => ({ ...own, colour: 'blue' })))
  assert.equal((header as unknown as { colour: string }).colour, 'blue')
})

test('a header field that is missing or of another kind is refused', () => {
  const names = Object.keys(openSegment(sealed.bytes).header)
  for (const name of names) {
    for (const value of [undefined, [], { x: 1 }, -1e300, 'x', 1e300]) {
      if (name === 'version' || name === 'compression' || name === 'encryption') continue
      assert.throws(() => openSegment(forge((header) => ({ ...header, [name]: value }))), BadSegment, `${name} = ${JSON.stringify(value)}`)
    }
  }
  for (const root of [null, [], 'x', 1]) assert.throws(() => openSegment(forge(() => root)), BadSegment)
})

test('a body that unfolds to more than the header claims is not unfolded', () => {
  const bomb = zstdCompressSync(Buffer.alloc(segmentRawBytesMax), { params: { [constants.ZSTD_c_compressionLevel]: 1 } })
  assert.throws(() => openSegment(forge((header) => header, bomb)), /does not decompress/)
  const before = process.memoryUsage().rss
  assert.throws(() => openSegment(forge((header) => ({ ...header, rawBytes: segmentRawBytesMax + 1 }), bomb)), /claims/)
  assert.ok(process.memoryUsage().rss - before < 16 * 1024 * 1024, 'nothing was unfolded')
})

test('a body shorter than claimed, and bytes behind the body, are refused', () => {
  assert.throws(() => openSegment(forge((header) => ({ ...header, rawBytes: sealed.rawBytes + 1 }))), /claims/)
  assert.throws(() => openSegment(Buffer.concat([sealed.bytes, Buffer.from('x')])), /behind the segment/)
  assert.throws(() => openSegment(Buffer.concat([sealed.bytes, zstdCompressSync(Buffer.from('x'))])), /behind the segment/)
})

// Goal: no file crashes the reader. Method: every truncation, then random bytes over random places.
test('no damage ends in anything but a known error', () => {
  const open = (bytes: Buffer): void => {
    try {
      openSegment(bytes)
    } catch (error) {
      if (!(error instanceof KnownError)) throw error
    }
  }
  for (let length = 0; length < sealed.bytes.length; length++) {
    assert.throws(() => openSegment(sealed.bytes.subarray(0, length)), KnownError, `cut at ${length}`)
  }
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(sealed.bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }), (edits) => {
      const bytes = Buffer.from(sealed.bytes)
      for (const [at, value] of edits) bytes[at] = value
      open(bytes)
    }),
    { numRuns: 2000 },
  )
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => open(Buffer.concat([sealed.bytes.subarray(0, 12), noise]))))
})
