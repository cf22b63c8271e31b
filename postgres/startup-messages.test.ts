/** Goal: what is encoded is decoded again, and no bytes from a peer do anything but give a value or a known error. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  decodeAuthenticationRequest,
  decodeSaslInitialResponse,
  encodeAuthenticationCleartextPassword,
  encodeAuthenticationOk,
  encodeAuthenticationSasl,
  encodeAuthenticationSaslContinue,
  encodeAuthenticationSaslFinal,
  encodeSaslInitialResponse,
} from './authentication/messages.ts'
import { headerBytes } from './frame-header.ts'
import type { ErrorFields } from './statement.ts'
import {
  BadStartup,
  decodeBackendKeyData,
  decodeErrorResponse,
  decodeNegotiateProtocolVersion,
  decodeParameterStatus,
  decodeReadyForQuery,
  decodeStartup,
  encodeBackendKeyData,
  encodeCancelRequest,
  encodeErrorResponse,
  encodeGssencRequest,
  encodeNegotiateProtocolVersion,
  encodeParameterStatus,
  encodeReadyForQuery,
  encodeSslRequest,
  encodeStartup,
  startupLength,
} from './startup-messages.ts'

const body = (message: Buffer): Buffer => {
  assert.equal(message.readUInt32BE(1), message.length - 1)
  return message.subarray(headerBytes)
}

test('a start-up packet survives the way there and back', () => {
  const parameters = new Map([
    ['user', 'me'],
    ['database', 'dä'],
    ['application_name', ''],
  ])
  assert.deepEqual(decodeStartup(encodeStartup({ protocolMinor: 2, parameters })), {
    kind: 'startup',
    protocolMajor: 3,
    protocolMinor: 2,
    parameters,
  })
  assert.deepEqual(decodeStartup(encodeSslRequest()), { kind: 'ssl-request' })
  assert.deepEqual(decodeStartup(encodeGssencRequest()), { kind: 'gssenc-request' })
  for (const key of [Buffer.from([1, 2, 3, 4]), Buffer.alloc(256, 7)])
    assert.deepEqual(decodeStartup(encodeCancelRequest(-5, key)), { kind: 'cancel', processId: -5, key })
})

test('the bytes are those that libpq sends', () => {
  assert.equal(encodeSslRequest().toString('hex'), '0000000804d2162f')
  assert.equal(encodeCancelRequest(1, Buffer.from('00000002', 'hex')).toString('hex'), '0000001004d2162e0000000100000002')
  assert.equal(encodeStartup({ protocolMinor: 0, parameters: [['user', 'a']] }).toString('hex'), '00000010000300007573657200610000')
})

const packet = (length: number, hex: string): Buffer => {
  const head = Buffer.alloc(4)
  head.writeUInt32BE(length)
  return Buffer.concat([head, Buffer.from(hex, 'hex')])
}
const garbage: [string, Buffer, RegExp][] = [
  ['a length below 8', packet(7, '000300'), /impossible length 7/],
  ['a length above 10,000', packet(10_001, '00030000'), /impossible length 10001/],
  ['a claim of 4 GiB', packet(0xffffffff, '00030000'), /did not open/],
  ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n'), /HTTP/],
  ['a TLS handshake', Buffer.from('160301020001000000', 'hex'), /TLS/],
  ['SSH', Buffer.from('SSH-2.0-x\r\n'), /did not open/],
  ['protocol 2', packet(8, '00020000'), /protocol 2\.0/],
  ['no terminator', packet(12, '0003000061006100'), /does not end/],
  ['a value that does not end', packet(11, '00030000610061'), /does not end/],
  ['bytes behind the terminator', packet(11, '00030000000000'), /goes on/],
  ['text that is not UTF-8', packet(13, '000300006100ff0000'), /UTF-8/],
  ['a cancel without a key', packet(12, '04d2162e00000001'), /cancel/],
  ['an SSLRequest with a body', packet(9, '04d2162f00'), /body/],
  ['a packet shorter than it claims', packet(20, '00030000'), /length it claims/],
]
for (const [name, bytes, message] of garbage) {
  test(`garbage instead of a start-up is refused and named: ${name}`, () =>
    assert.throws(
      () => decodeStartup(bytes),
      (error) => error instanceof BadStartup && message.test(error.message),
    ))
}

test('a length is refused before its bytes are waited for', () => {
  assert.equal(startupLength(Buffer.from([0, 0])), null)
  assert.throws(() => startupLength(Buffer.from([0, 1, 0, 0])), BadStartup)
  assert.throws(() => startupLength(Buffer.from('G')), BadStartup)
})

test('a start-up that no server would take is not sent', () => {
  assert.throws(() => encodeStartup({ protocolMinor: 0, parameters: [['options', 'x'.repeat(10_000)]] }), BadStartup)
  assert.throws(() => encodeStartup({ protocolMinor: 0, parameters: [['user', 'a\0b']] }), BadStartup)
})

test('every error field survives, and clients find the severity twice', () => {
  const all: ErrorFields = {
    severity: 'FATAL',
    code: '28P01',
    message: 'nö',
    detail: 'd',
    hint: 'h',
    position: '1',
    where: 'w',
    schema: 's',
    table: 't',
    column: 'c',
    dataType: 'ty',
    constraint: 'co',
    file: 'f',
    line: '2',
    routine: 'r',
  }
  const message = encodeErrorResponse(all)
  assert.deepEqual(decodeErrorResponse(body(message)), all)
  assert.ok(message.includes('SFATAL\0VFATAL\0'))
  assert.equal(decodeErrorResponse(body(encodeErrorResponse({ severity: 'ERROR', code: 'XX000', message: 'a\0b' }))).message, 'a\ufffdb')
})

test('the messages of the start-up survive', () => {
  assert.deepEqual(decodeParameterStatus(body(encodeParameterStatus('TimeZone', ''))), { name: 'TimeZone', value: '' })
  assert.deepEqual(decodeBackendKeyData(body(encodeBackendKeyData(7, Buffer.alloc(32, 1)))), { processId: 7, key: Buffer.alloc(32, 1) })
  assert.deepEqual(decodeNegotiateProtocolVersion(body(encodeNegotiateProtocolVersion(2, ['_pq_.x']))), {
    minor: 2,
    unknownOptions: ['_pq_.x'],
  })
  assert.equal(decodeReadyForQuery(body(encodeReadyForQuery('T'))), 'T')
  assert.deepEqual(decodeAuthenticationRequest(body(encodeAuthenticationOk())), { kind: 'ok' })
  assert.deepEqual(decodeAuthenticationRequest(body(encodeAuthenticationCleartextPassword())), { kind: 'cleartext' })
  assert.deepEqual(decodeAuthenticationRequest(body(encodeAuthenticationSasl(['A', 'B']))), { kind: 'sasl', mechanisms: ['A', 'B'] })
  assert.deepEqual(decodeAuthenticationRequest(body(encodeAuthenticationSaslContinue(Buffer.from('x')))), {
    kind: 'sasl-continue',
    data: Buffer.from('x'),
  })
  assert.deepEqual(decodeAuthenticationRequest(body(encodeAuthenticationSaslFinal(Buffer.from('x')))), {
    kind: 'sasl-final',
    data: Buffer.from('x'),
  })
  assert.deepEqual(decodeSaslInitialResponse(body(encodeSaslInitialResponse('M', Buffer.from('x')))), {
    mechanism: 'M',
    data: Buffer.from('x'),
  })
})

test('any bytes give a value or a known error', () => {
  const decoders = [
    decodeStartup,
    decodeErrorResponse,
    decodeParameterStatus,
    decodeBackendKeyData,
    decodeNegotiateProtocolVersion,
    decodeReadyForQuery,
    decodeAuthenticationRequest,
    decodeSaslInitialResponse,
  ]
  const heads = fc.constantFrom('', '00000010', '0000000a00030000', '0000000804d2162f', '0000000a', '00000005')
  fc.assert(
    fc.property(heads, fc.uint8Array({ maxLength: 40 }), (head, tail) => {
      const bytes = Buffer.concat([Buffer.from(head, 'hex'), tail])
      for (const decode of decoders) {
        try {
          decode(bytes)
        } catch (error) {
          assert.ok(error instanceof BadStartup, `${decode.name}: ${String(error)}`)
        }
      }
    }),
    { numRuns: 3000 },
  )
})
