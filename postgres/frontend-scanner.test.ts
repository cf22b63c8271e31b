/** The walk over the agent's bytes: nothing is lost, added or reordered however the network cuts them, and what is judged is whole. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { BadFrame, headerBytes } from './frame-header.ts'
import { FrontendScanner } from './frontend-scanner.ts'

type Given = { readonly how: 'pass' | 'judged' | 'head' | 'piece'; readonly bytes: Buffer }

const heldBytesMax = 32

function frame(type: string, body: Buffer | string = '', claimed?: number): Buffer {
  const bytes = Buffer.alloc(headerBytes + Buffer.byteLength(body))
  bytes.write(type, 'latin1')
  bytes.writeUInt32BE(claimed ?? bytes.length - 1, 1)
  Buffer.from(body).copy(bytes, headerBytes)
  return bytes
}

/** Pushes `parts` through one scanner. Everything is copied when it is given, as a consumer has to. */
function walk(parts: readonly Buffer[], { judgesBind = (): boolean => false, scanner = new FrontendScanner({ heldBytesMax }) } = {}) {
  const given: Given[] = []
  const keep = (how: Given['how']) => (bytes: Buffer) => void given.push({ how, bytes: Buffer.from(bytes) })
  let error: unknown = null
  try {
    for (const part of parts) {
      const own = Buffer.from(part) // A read buffer is used again: what aliases it must be taken before `push` returns.
      scanner.push(
        own,
        { pass: keep('pass'), judged: keep('judged'), oversizedHead: keep('head'), oversizedPiece: keep('piece') },
        judgesBind,
      )
      own.fill(0xee)
    }
  } catch (caught) {
    error = caught
  }
  return { given, error, scanner, output: Buffer.concat(given.map(({ bytes }) => bytes)) }
}

function cutAt(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].toSorted((a, b) => a - b)
  return [0, ...places].map((from, index) => bytes.subarray(from, places[index] ?? bytes.length))
}

const anyFrame = fc
  .tuple(fc.constantFrom(...Array.from('QPBDECHSFXcdf')), fc.uint8Array({ maxLength: 80, size: 'max' }))
  .map(([type, body]) => ({ type, bytes: frame(type, Buffer.from(body)) }))
const cuts = fc.array(fc.nat(), { maxLength: 12 })

/** What must be judged whole, longer ones as head and pieces. */
function expectJudged(frames: readonly { type: string; bytes: Buffer }[], given: readonly Given[], types: string): void {
  const judged = frames.filter(({ type }) => types.includes(type))
  const whole = judged.filter(({ bytes }) => bytes.length <= heldBytesMax)
  assert.deepEqual(
    given.filter(({ how }) => how === 'judged').map(({ bytes }) => bytes),
    whole.map(({ bytes }) => bytes),
  )
  const long = judged.filter(({ bytes }) => bytes.length > heldBytesMax)
  const joined: Buffer[] = []
  for (const { how, bytes } of given) {
    if (how === 'head') joined.push(bytes)
    else if (how === 'piece') joined.push(Buffer.concat([joined.pop()!, bytes]))
  }
  assert.deepEqual(
    joined,
    long.map(({ bytes }) => bytes),
  )
}

test('any cut gives the same bytes in the same order, and every judged frame whole', () => {
  fc.assert(
    fc.property(fc.array(anyFrame, { maxLength: 12 }), cuts, fc.boolean(), (frames, places, judgesBind) => {
      const input = Buffer.concat(frames.map(({ bytes }) => bytes))
      const { given, error, output, scanner } = walk(cutAt(input, places), { judgesBind: () => judgesBind })
      assert.equal(error, null)
      assert.deepEqual(output, input)
      expectJudged(frames, given, judgesBind ? 'QPB' : 'QP')
      assert.equal(scanner.atBoundary, true)
      assert.equal(scanner.expectedReady, frames.filter(({ type }) => 'QSF'.includes(type)).length)
      assert.equal(
        scanner.terminated,
        frames.some(({ type }) => type === 'X'),
      )
    }),
    { numRuns: 2_000 },
  )
})

test('each single cut, and one byte at a time, gives what one piece gives', () => {
  const frames = ['Q', 'P', 'B', 'd', 'S', 'F', 'X', 'H'].flatMap((type) =>
    [0, 1, 26, 27, 28, 29, 60].map((length) => frame(type, Buffer.alloc(length, type))),
  )
  const input = Buffer.concat(frames)
  const judged = (parts: readonly Buffer[]): Buffer[] => {
    const { given, error, output } = walk(parts)
    assert.equal(error, null)
    assert.deepEqual(output, input)
    return given.filter(({ how }) => how === 'judged').map(({ bytes }) => bytes)
  }
  const expected = judged([input])
  for (let cut = 0; cut <= input.length; cut++)
    assert.deepEqual(judged([input.subarray(0, cut), input.subarray(cut)]), expected, `cut at ${cut}`)
  assert.deepEqual(judged(Array.from(input, (byte) => Buffer.of(byte))), expected)
})

test('a frame of exactly the cap is judged whole, one byte more is given in pieces', () => {
  for (const parts of [1, 7, 40]) {
    const input = Buffer.concat([
      frame('Q', Buffer.alloc(heldBytesMax - headerBytes, 'a')),
      frame('Q', Buffer.alloc(heldBytesMax - headerBytes + 1, 'b')),
      frame('S'),
    ])
    const { given, output } = walk(
      cutAt(
        input,
        Array.from({ length: Math.ceil(input.length / parts) }, (_, index) => index * parts),
      ),
    )
    assert.deepEqual(output, input)
    assert.deepEqual(
      given.filter(({ how }) => how !== 'piece' && how !== 'pass').map(({ how, bytes }) => [how, bytes.length]),
      [
        ['judged', heldBytesMax],
        ['head', heldBytesMax],
      ],
    )
  }
})

test('a frame is held only up to the cap: an endless Query is given on as it comes', () => {
  const scanner = new FrontendScanner({ heldBytesMax })
  walk([frame('Q', '', 100_000_000)], { scanner })
  const piece = Buffer.alloc(1_000, 'x')
  walk([piece], { scanner })
  for (let round = 0; round < 100; round++) assert.deepEqual(walk([piece], { scanner }).output, piece)
  assert.equal(scanner.atBoundary, false)
})

test('nothing of a judged frame is given on before it is whole', () => {
  const input = frame('Q', 'select 1')
  for (let length = 0; length < input.length; length++) assert.deepEqual(walk([input.subarray(0, length)]).given, [], `${length} bytes`)
})

test('whether Bind is judged is asked for each frame, so a Parse in the same read may turn it on', () => {
  let judges = false
  const scanner = new FrontendScanner({ heldBytesMax })
  const judged: string[] = []
  const sink = {
    pass: () => undefined,
    judged(bytes: Buffer) {
      judged.push(bytes.toString('latin1', 0, 1))
      judges = true
    },
    oversizedHead: () => undefined,
    oversizedPiece: () => undefined,
  }
  scanner.push(Buffer.concat([frame('B', 'a'), frame('P', 'b'), frame('B', 'c')]), sink, () => judges)
  assert.deepEqual(judged, ['P', 'B'])
})

for (const [name, bad] of [
  ['an unknown type', frame('R')],
  ['a type that only the server sends', frame('Z', 'I')],
  ['a password behind the start-up', frame('p', 'a secret\0')],
  ['a zero byte', frame('\0')],
  ['a length below its own size', frame('Q', '', 3)],
  ['a length of zero', frame('S', '', 0)],
  ['a negative length', frame('Q', '', 0xffff_ffff)],
  ['a length of 4 GiB less one on COPY data', frame('d', '', 0xffff_fffe)],
  ['a length of 1 GiB', frame('d', '', 0x4000_0000)],
  ['a Sync that claims more than the server takes', frame('S', '', 10_005)],
] as const) {
  test(`${name} is a protocol error wherever the header is cut, after everything before it was given`, () => {
    const before = Buffer.concat([frame('Q', 'select 1'), frame('d', 'some data')])
    const input = Buffer.concat([before, bad])
    for (let cut = 0; cut <= input.length; cut++) {
      const { error, output, scanner } = walk([input.subarray(0, cut), input.subarray(cut)])
      assert(error instanceof BadFrame, `cut at ${cut}: ${String(error)}`)
      assert.deepEqual(output, before, `cut at ${cut}`)
      assert.equal(scanner.atBoundary, true, `cut at ${cut}`)
    }
  })
}

test('forgiven answers are no longer expected', () => {
  const { scanner } = walk([frame('Q', 'a'), frame('S'), frame('F', 'b')])
  scanner.forgive(2)
  assert.equal(scanner.expectedReady, 1)
})

test('random bytes end in a protocol error or are given on unchanged, never in another error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200, size: 'max' }), cuts, fc.boolean(), (random, places, judgesBind) => {
      const input = Buffer.from(random)
      const { error, output } = walk(cutAt(input, places), { judgesBind: () => judgesBind })
      if (error !== null) assert(error instanceof BadFrame, inspect(error))
      assert.deepEqual(output, input.subarray(0, output.length))
    }),
    { numRuns: 5_000 },
  )
})

test('a frame may be skipped once another of its batch may have failed, until the Sync is behind it', () => {
  const scanner = new FrontendScanner({ heldBytesMax })
  const seen: [string, boolean][] = []
  for (const type of 'PBESPSQPQFPSQQFPXP') {
    walk([frame(type, '\0\0')], { scanner })
    seen.push([type, scanner.mayBeSkipped])
  }
  const told = seen.map(([type, skipped]) => (skipped ? type.toLowerCase() : type)).join('')
  // A Query or FunctionCall answers for itself, unless what came before it in the batch failed.
  assert.equal(told, 'PbesPsQPqfpsQQFPxp')
})

const kibibyte = 1024
/** What is held without a word to the allowance. */
const uncounted = 16 * kibibyte

test('whatever an allowance refuses, the same bytes come in the same order, and what was taken is given back', () => {
  const longFrame = fc
    .tuple(fc.constantFrom('Q', 'P', 'd', 'S'), fc.integer({ min: 0, max: 60 }))
    .map(([type, kibibytes]) => ({ type, bytes: frame(type, Buffer.alloc(type === 'S' ? 0 : kibibytes * kibibyte, type)) }))
  fc.assert(
    fc.property(
      fc.array(longFrame, { maxLength: 8 }),
      fc.array(fc.nat(), { maxLength: 12 }),
      fc.array(fc.boolean(), { minLength: 1 }),
      (frames, places, answers) => {
        let asked = 0
        let takenBytes = 0
        const allowance = {
          take(bytes: number) {
            assert.ok(bytes > uncounted)
            const isGranted = answers[asked++ % answers.length]!
            if (isGranted) takenBytes += bytes
            return isGranted
          },
          give: (bytes: number) => void (takenBytes -= bytes),
        }
        const scanner = new FrontendScanner({ heldBytesMax: 48 * kibibyte, allowance })
        const input = Buffer.concat(frames.map(({ bytes }) => bytes))
        const { given, error, output } = walk(cutAt(input, places), { scanner })
        assert.equal(error, null)
        assert.ok(output.equals(input))
        assert.equal(takenBytes, 0)
        for (const { how, bytes } of given) if (how === 'head') assert.ok(bytes.length === uncounted || bytes.length === 48 * kibibyte)
        assert.equal(scanner.expectedReady, frames.filter(({ type }) => 'QS'.includes(type)).length)
      },
    ),
    { numRuns: 300 },
  )
})

test('a statement that is in one read, or short, asks no allowance', () => {
  const allowance = {
    take: () => assert.fail('it asked'),
    give: () => assert.fail('it gave'),
  }
  const short = frame('Q', Buffer.alloc(uncounted - headerBytes, 'a'))
  const scanner = new FrontendScanner({ heldBytesMax: 1024 * kibibyte, allowance })
  const { given } = walk([frame('Q', Buffer.alloc(60 * kibibyte, 'a')), short.subarray(0, 9_000), short.subarray(9_000)], { scanner })
  assert.deepEqual(
    given.map(({ how }) => how),
    ['judged', 'judged'],
  )
})

test('what is held of a frame whose rest does not come is given back once, and never given on', () => {
  let takenBytes = 0
  const allowance = {
    take: (bytes: number) => (takenBytes += bytes) > 0,
    give: (bytes: number) => void (takenBytes -= bytes),
  }
  const scanner = new FrontendScanner({ heldBytesMax: 1024 * kibibyte, allowance })
  const { given } = walk([frame('Q', Buffer.alloc(500 * kibibyte)).subarray(0, 400 * kibibyte)], { scanner })
  assert.equal(takenBytes, 500 * kibibyte + headerBytes)
  scanner.abandon()
  scanner.abandon()
  assert.equal(takenBytes, 0)
  assert.deepEqual(given, [])
})
