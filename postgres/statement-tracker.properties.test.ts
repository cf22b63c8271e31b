/** Properties of the tracker over cuts, orders and bodies that no example would think of. */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { KnownError } from '../base/errors.ts'
import { headerBytes } from './frame-header.ts'
import { backend as b, frontend as f } from './messages/write-for-tests.ts'
import type { StatementSummary } from './statement.ts'
import { createStatementTracker } from './statement-tracker.ts'
import { lines } from './statements/track-for-tests.ts'

type Exchange = readonly [client: readonly Buffer[], server: readonly Buffer[]]
const row = b.row(['1', null, 'x'.repeat(300)])
const columns = b.rowDescription([{ name: 'a' }, { name: 'b' }, { name: 'c' }])

/** Whole exchanges as a server answers them. */
const exchanges: readonly Exchange[] = [
  [[f.query('select 1; select 2')], [columns, row, b.complete('SELECT 1'), b.notice('n'), columns, b.complete('SELECT 0'), b.ready()]],
  [[f.query('selct; select 2')], [b.error('42601'), b.ready()]],
  [[f.query('')], [b.emptyQuery, b.ready()]],
  [
    [f.parse('select $1', '', [23]), f.bind({ values: ['x'] }), f.describe('P'), f.execute(), f.sync],
    [b.parseComplete, b.bindComplete, columns, row, row, b.complete('SELECT 2'), b.ready()],
  ],
  [
    [
      f.parse('select $1', 's'),
      f.describe('S', 's'),
      f.flush,
      f.bind({ statement: 's', values: ['é'.repeat(900)] }),
      f.execute('', 1),
      f.execute(),
      f.sync,
    ],
    [
      b.parseComplete,
      b.parameterDescription([25]),
      columns,
      b.bindComplete,
      row,
      b.portalSuspended,
      row,
      b.complete('SELECT 1'),
      b.ready(),
    ],
  ],
  [
    [f.close('S', 's'), f.sync],
    [b.closeComplete, b.ready()],
  ],
  [
    [f.parse('select 1/0'), f.bind(), f.execute(), f.parse('select 5'), f.bind(), f.execute(), f.sync],
    [b.parseComplete, b.bindComplete, b.error('22012'), b.ready()],
  ],
  [
    [f.query('copy t to stdout')],
    [b.copyOut, b.copyData('one\n'), b.copyData('t'.repeat(700)), b.copyDone, b.complete('COPY 2'), b.ready()],
  ],
  [
    [f.parse('copy t from stdin'), f.bind(), f.execute(), f.sync, f.copyData('one\n'), f.copyData('two\n'), f.copyDone, f.sync],
    [b.parseComplete, b.bindComplete, b.copyIn, b.complete('COPY 2'), b.ready()],
  ],
  [[f.functionCall(9, ['1'])], [b.functionResult('2'), b.ready()]],
]

type Piece = { readonly side: 'client' | 'server'; readonly bytes: Buffer }

function run(pieces: readonly Piece[], content: boolean): unknown {
  const told: unknown[] = []
  const tracker = createStatementTracker({
    // Which record a byte stands in is what the cut decides.
    onStatement: ({ place: _place, ...statement }) => told.push(statement),
    ...(content && {
      onRow: (statement: number, bytes: Buffer, wholeBytes: number) => told.push([statement, bytes.toString('hex'), wholeBytes]),
      onCopyData: (statement: number, direction: string, bytes: Buffer) => told.push([statement, direction, bytes.toString('hex')]),
    }),
    onNotice: (fields, statement) => told.push([fields, statement]),
  })
  for (const [place, { side, bytes }] of pieces.entries()) {
    if (side === 'client') tracker.frontend(bytes, 1, place, false)
    else tracker.backend(bytes, 1, place)
  }
  tracker.close(1, pieces.length)
  return told
}

// Goal: the network may cut anywhere. Method: frames keep their order and their side; every run of one side's frames is cut at random.
test('any cut of the stream gives the same recording', () => {
  const conversation = fc.array(fc.record({ exchange: fc.constantFrom(...exchanges), cuts: fc.array(fc.nat(4000), { maxLength: 12 }) }), {
    minLength: 1,
    maxLength: 8,
  })
  fc.assert(
    fc.property(conversation, fc.boolean(), (steps, content) => {
      const whole: Piece[] = []
      const cut: Piece[] = []
      for (const { exchange, cuts } of steps) {
        for (const [side, frames] of [
          ['client', exchange[0]],
          ['server', exchange[1]],
        ] as const) {
          whole.push(...frames.map((bytes) => ({ side, bytes })))
          const bytes = Buffer.concat(frames)
          const edges = [0, ...cuts.map((at) => at % bytes.length).toSorted((one, other) => one - other), bytes.length]
          for (let index = 1; index < edges.length; index++) cut.push({ side, bytes: bytes.subarray(edges[index - 1], edges[index]) })
        }
      }
      assert.deepEqual(run(cut, content), run(whole, content))
    }),
    { numRuns: 300 },
  )
})

const frontendTypes = 'BFPQdpCDEHSXcf'
const backendTypes = '123ACDEGHIKNRSTVWZcdnstv'
const written: readonly Piece[] = exchanges.flatMap(([client, server]) => [
  ...client.map((bytes): Piece => ({ side: 'client', bytes })),
  ...server.map((bytes): Piece => ({ side: 'server', bytes })),
])

/** A frame of any type with any body, or a well-formed one with some bytes of its body changed, of which many more reach deep. */
const anyFrame: fc.Arbitrary<Piece> = fc.oneof(
  fc
    .record({ side: fc.constantFrom('client' as const, 'server' as const), type: fc.nat(255), body: fc.uint8Array({ maxLength: 60 }) })
    .map(({ side, type, body }): Piece => {
      const types = side === 'client' ? frontendTypes : backendTypes
      return { side, bytes: f.raw(types[type % types.length]!, Buffer.from(body)) }
    }),
  fc
    .record({
      piece: fc.constantFrom(...written),
      changes: fc.array(fc.tuple(fc.nat(1000), fc.nat(255)), { maxLength: 4 }),
      shorter: fc.nat(3),
    })
    .map(({ piece, changes, shorter }): Piece => {
      const bytes = Buffer.from(piece.bytes.subarray(0, Math.max(headerBytes, piece.bytes.length - shorter)))
      for (const [at, value] of changes) if (bytes.length > headerBytes) bytes[headerBytes + (at % (bytes.length - headerBytes))] = value
      bytes.writeUInt32BE(bytes.length - 1, 1)
      return { side: piece.side, bytes }
    }),
  fc.constantFrom(...written),
)

// Goal: no input crashes it. Method: frames of both sides in any order, of any body; then what is promised of every order.
test('no order of messages and no body makes it throw, lose a number or miss the next clean statement behind a gap', () => {
  fc.assert(
    fc.property(fc.array(anyFrame, { maxLength: 60 }), fc.array(fc.nat(60), { maxLength: 2 }), (pieces, gaps) => {
      const statements: StatementSummary[] = []
      const tracker = createStatementTracker({
        onStatement: (statement) => statements.push(statement),
        onRow: () => {},
        onCopyData: () => {},
      })
      for (const [place, { side, bytes }] of pieces.entries()) {
        if (gaps.includes(place)) tracker.gap(1, place)
        if (side === 'client') tracker.frontend(bytes, 1, place, false)
        else tracker.backend(bytes, 1, place)
      }
      tracker.gap(2, pieces.length)
      const before = statements.length
      tracker.frontend(f.query('select 1'), 3, pieces.length + 1, false)
      tracker.backend(Buffer.concat([row, b.complete('SELECT 1'), b.ready()]), 4, pieces.length + 2)
      tracker.close(5, pieces.length + 3)
      assert.deepEqual(lines({ statements: statements.slice(before) }), [
        `${statements.length} query completed [SELECT 1] 1 rows: select 1`,
      ])
      const numbers = statements.map(({ number }) => number).toSorted((one, other) => one - other)
      assert.deepEqual(
        numbers,
        Array.from({ length: statements.length }, (_, index) => index + 1),
      )
      for (const { place, outcome, error } of statements) {
        assert.ok(place.first <= place.last)
        assert.equal(error !== null, outcome === 'failed')
      }
    }),
    { numRuns: 1500 },
  )
})

test('any bytes end in frames or in a BadFrame', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.uint8Array({ maxLength: 100 })), { maxLength: 20 }), (pieces) => {
      const tracker = createStatementTracker({ onStatement: () => {} })
      for (const [fromClient, bytes] of pieces) {
        try {
          if (fromClient) tracker.frontend(Buffer.from(bytes), 1, 1, false)
          else tracker.backend(Buffer.from(bytes), 1, 1)
        } catch (error) {
          assert.ok(error instanceof KnownError)
          tracker.gap(1, 1)
        }
      }
      tracker.close(2, 2)
    }),
    { numRuns: 1000 },
  )
})
