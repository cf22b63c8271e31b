import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { createFrameAssembler } from './frame-assembler.ts'
import { BadFrame } from './frame-header.ts'
import { backend, frontend } from './messages/write-for-tests.ts'

type Seen = { type: string; body: string | null; wholeBytes: number }

function assemble(pieces: readonly Buffer[], { heldBytesMax = 64, sizeOnly = '' } = {}): Seen[] {
  const seen: Seen[] = []
  const flags = new Uint8Array(256)
  for (const letter of sizeOnly) flags[letter.charCodeAt(0)] = 1
  const assembler = createFrameAssembler(
    'backend',
    {
      onFrame: (type, bytes, start, end, wholeBytes) =>
        seen.push({ type: String.fromCharCode(type), body: bytes.toString('hex', start, end), wholeBytes }),
      onSize: (type, wholeBytes) => seen.push({ type: String.fromCharCode(type), body: null, wholeBytes }),
    },
    { heldBytesMax, sizeOnly: flags },
  )
  for (const piece of pieces) assembler.push(piece)
  return seen
}

const stream = Buffer.concat([
  backend.complete('SELECT 1'),
  backend.parseComplete,
  backend.row(['a', null, 'b'.repeat(100)]),
  backend.copyData('c'.repeat(64)),
  backend.copyData('d'.repeat(65)),
  backend.ready(),
])

// Goal: the network may cut anywhere. Method: every single cut, then random ones into many pieces.
test('a cut at any byte gives the same frames', () => {
  for (const options of [{}, { sizeOnly: 'D' }, { sizeOnly: 'Dd', heldBytesMax: 3 }, { heldBytesMax: 0 }]) {
    const whole = assemble([stream], options)
    for (let cut = 0; cut <= stream.length; cut++) {
      assert.deepEqual(assemble([stream.subarray(0, cut), stream.subarray(cut)], options), whole, `cut at ${cut}`)
    }
    fc.assert(
      fc.property(fc.array(fc.nat(stream.length), { maxLength: 30 }), (cuts) => {
        const edges = [0, ...cuts.toSorted((a, b) => a - b), stream.length]
        const pieces = edges.slice(1).map((edge, index) => stream.subarray(edges[index], edge))
        assert.deepEqual(assemble(pieces, options), whole)
      }),
      { numRuns: 100 },
    )
  }
})

test('of a long body only its head is held, and the frame behind it is found', () => {
  const seen = assemble([stream])
  assert.deepEqual(
    seen.map(({ type, body, wholeBytes }) => [type, body!.length / 2, wholeBytes]),
    [
      ['C', 9, 14],
      ['1', 0, 5],
      ['D', 64, 120],
      ['d', 64, 69],
      ['d', 64, 70],
      ['Z', 1, 6],
    ],
  )
})

test('a long body of a type marked so comes in parts, then its frame without a body', () => {
  const inParts = new Uint8Array(256)
  inParts[0x64] = 1
  for (let cut = 0; cut <= stream.length; cut++) {
    let parts = ''
    const bodies: string[] = []
    const assembler = createFrameAssembler(
      'backend',
      {
        onFrame: (type, bytes, start, end) => type === 0x64 && bodies.push(bytes.toString('latin1', start, end)),
        onSize: () => assert.fail(),
        onPart: (_type, bytes, start, end) => (parts += bytes.toString('latin1', start, end)),
      },
      { heldBytesMax: 64, inParts },
    )
    assembler.push(stream.subarray(0, cut))
    assembler.push(stream.subarray(cut))
    assert.equal(parts, 'd'.repeat(65))
    assert.deepEqual(bodies, ['c'.repeat(64), ''])
  }
})

test('a claimed length allocates nothing before the bytes come', () => {
  const header = Buffer.from([0x64, 0x3f, 0xff, 0xff, 0xff])
  const before = process.memoryUsage().arrayBuffers
  const assemblers = Array.from({ length: 100 }, () => {
    const assembler = createFrameAssembler('frontend', { onFrame: () => assert.fail(), onSize: () => assert.fail() })
    assembler.push(header)
    assembler.push(Buffer.alloc(10))
    return assembler
  })
  assert.ok(process.memoryUsage().arrayBuffers - before < 4 * 1024 * 1024)
  assert.equal(assemblers.length, 100)
})

test('a header that cannot be is a BadFrame, again for every later push, until reset', () => {
  const types: number[] = []
  const assembler = createFrameAssembler('frontend', { onFrame: (type) => types.push(type), onSize: () => {} })
  assert.throws(() => assembler.push(Buffer.concat([frontend.sync, Buffer.from('Z\0\0\0\x05I')])), BadFrame)
  assert.throws(() => assembler.push(frontend.sync), BadFrame)
  assembler.reset()
  assembler.push(frontend.sync)
  assert.deepEqual(types, [0x53, 0x53])
})

test('reset forgets a half-read frame', () => {
  const types: number[] = []
  const assembler = createFrameAssembler('frontend', { onFrame: (type) => types.push(type), onSize: () => {} })
  assembler.push(frontend.query('select 1').subarray(0, 7))
  assert.equal(assembler.midFrame, true)
  assembler.reset()
  assert.equal(assembler.midFrame, false)
  assembler.push(frontend.sync)
  assert.deepEqual(types, [0x53])
})
