/** The walk over the database's bytes: nothing is lost, added or reordered however the network cuts them; status and counts are right. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { BackendScanner } from './backend-scanner.ts'
import { BadFrame, headerBytes } from './frame-header.ts'

type Given = { readonly how: 'pass' | 'message'; readonly bytes: Buffer }

const heldBytesMax = 32

function frame(type: string, body: Buffer | string = '', claimed?: number): Buffer {
  const bytes = Buffer.alloc(headerBytes + Buffer.byteLength(body))
  bytes.write(type, 'latin1')
  bytes.writeUInt32BE(claimed ?? bytes.length - 1, 1)
  Buffer.from(body).copy(bytes, headerBytes)
  return bytes
}

function walk(parts: readonly Buffer[], { holdsEchoes = true, scanner = new BackendScanner({ heldBytesMax }) } = {}) {
  const given: Given[] = []
  const messages: Buffer[] = []
  let error: unknown = null
  try {
    for (const part of parts) {
      const own = Buffer.from(part)
      scanner.push(
        own,
        {
          pass: (bytes) => void given.push({ how: 'pass', bytes: Buffer.from(bytes) }),
          message(bytes) {
            given.push({ how: 'message', bytes: Buffer.from(bytes) })
            messages.push(bytes)
          },
        },
        holdsEchoes,
      )
      own.fill(0xee) // A read buffer is used again; a message must be a buffer of its own.
    }
  } catch (caught) {
    error = caught
  }
  return { given, messages, error, scanner, output: Buffer.concat(given.map(({ bytes }) => bytes)) }
}

function cutAt(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].toSorted((a, b) => a - b)
  return [0, ...places].map((from, index) => bytes.subarray(from, places[index] ?? bytes.length))
}

const anyFrame = fc.oneof(
  fc.constantFrom('I', 'T', 'E').map((status) => ({ type: 'Z', bytes: frame('Z', status) })),
  fc
    .tuple(fc.constantFrom(...Array.from('123ACDEGHIKNSTVWcdnst')), fc.uint8Array({ maxLength: 80, size: 'max' }))
    .map(([type, body]) => ({ type, bytes: frame(type, Buffer.from(body)) })),
)
const cuts = fc.array(fc.nat(), { maxLength: 12 })

test('any cut gives the same bytes in the same order, whole messages, the last status and the count of ReadyForQuery', () => {
  fc.assert(
    fc.property(fc.array(anyFrame, { maxLength: 12 }), cuts, fc.boolean(), (frames, places, holdsEchoes) => {
      const input = Buffer.concat(frames.map(({ bytes }) => bytes))
      const { messages, error, output, scanner } = walk(cutAt(input, places), { holdsEchoes })
      assert.equal(error, null)
      assert.deepEqual(output, input)
      const expected = frames.filter(({ type, bytes }) => (holdsEchoes ? 'AENS' : 'S').includes(type) && bytes.length <= heldBytesMax)
      assert.deepEqual(
        messages,
        expected.map(({ bytes }) => bytes),
      )
      const ready = frames.filter(({ type }) => type === 'Z')
      assert.equal(scanner.readyCount, ready.length)
      assert.equal(String.fromCharCode(scanner.transactionStatus), ready.at(-1)?.bytes.toString('latin1', headerBytes) ?? 'I')
      assert.equal(scanner.atBoundary, true)
    }),
    { numRuns: 2_000 },
  )
})

test('each single cut, and one byte at a time, gives what one piece gives', () => {
  const input = Buffer.concat(
    ['T', 'D', 'E', 'N', 'S', 'A', 'C']
      .flatMap((type) => [0, 1, 26, 27, 28, 60].map((length) => frame(type, Buffer.alloc(length, type))))
      .flatMap((each) => [each, frame('Z', 'T')]),
  )
  for (const holdsEchoes of [true, false]) {
    const walked = (parts: readonly Buffer[]) => {
      const { messages, output, error, scanner } = walk(parts, { holdsEchoes })
      assert.equal(error, null)
      assert.deepEqual(output, input)
      return { messages, ready: scanner.readyCount, status: scanner.transactionStatus }
    }
    const expected = walked([input])
    assert.equal(expected.ready, 42)
    for (let cut = 0; cut <= input.length; cut++)
      assert.deepEqual(walked([input.subarray(0, cut), input.subarray(cut)]), expected, `cut at ${cut}`)
    assert.deepEqual(walked(Array.from(input, (byte) => Buffer.of(byte))), expected)
  }
})

test('a held message stays whole when holding is turned off or on in the middle of it', () => {
  const message = frame('E', 'SERROR')
  const input = Buffer.concat([frame('D', 'row'), message, frame('Z', 'E')])
  for (let cut = 0; cut <= input.length; cut++) {
    for (const first of [true, false]) {
      const scanner = new BackendScanner({ heldBytesMax })
      const one = walk([input.subarray(0, cut)], { scanner, holdsEchoes: first })
      const two = walk([input.subarray(cut)], { scanner, holdsEchoes: !first })
      assert.deepEqual(Buffer.concat([one.output, two.output]), input, `cut at ${cut}`)
      for (const held of [...one.messages, ...two.messages]) assert.deepEqual(held, message)
      assert.equal(scanner.readyCount, 1)
    }
  }
})

test('a setting is given whole from the start, what may repeat a statement only when asked for', () => {
  const input = Buffer.concat(Array.from('SENADCTZ', (type) => frame(type, 'x\0y\0')))
  const types = (holdsEchoes: boolean): string =>
    walk([input], { holdsEchoes })
      .messages.map((bytes) => String.fromCharCode(bytes[0]!))
      .join('')
  assert.deepEqual([types(false), types(true)], ['S', 'SENA'])
})

test('rows of any size are given on as they come', () => {
  const scanner = new BackendScanner({ heldBytesMax })
  walk([frame('D', '', 900_000_000)], { scanner })
  const piece = Buffer.alloc(64 * 1024, 'x')
  for (let round = 0; round < 100; round++) assert.deepEqual(walk([piece], { scanner }).output, piece)
  assert.equal(scanner.atBoundary, false)
})

for (const [name, bad] of [
  ['an unknown type', frame('Q', 'x')],
  ['a zero byte', frame('\0')],
  ['a high byte', frame('\xff')],
  ['a length below its own size', frame('D', '', 3)],
  ['a negative length', frame('E', '', 0xffff_ffff)],
  ['a length of 1 GiB', frame('D', '', 0x4000_0000)],
] as const) {
  test(`${name} is a protocol error wherever the header is cut, after everything before it was given`, () => {
    const before = Buffer.concat([frame('D', 'row'), frame('N', 'notice'), frame('Z', 'T')])
    const input = Buffer.concat([before, bad])
    for (const holdsEchoes of [true, false]) {
      for (let cut = 0; cut <= input.length; cut++) {
        const { error, output, scanner } = walk([input.subarray(0, cut), input.subarray(cut)], { holdsEchoes })
        assert(error instanceof BadFrame, `cut at ${cut}: ${String(error)}`)
        assert.deepEqual(output, before, `cut at ${cut}`)
        assert.equal(scanner.atBoundary, true, `the agent can still be told why, cut at ${cut}`)
        assert.equal(scanner.readyCount, 1)
      }
    }
  })
}

test('random bytes end in a protocol error or are given on unchanged, never in another error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200, size: 'max' }), cuts, fc.boolean(), (random, places, holdsEchoes) => {
      const input = Buffer.from(random)
      const { error, output } = walk(cutAt(input, places), { holdsEchoes })
      if (error !== null) assert(error instanceof BadFrame, inspect(error))
      assert.deepEqual(output, input.subarray(0, output.length))
    }),
    { numRuns: 5_000 },
  )
})
