// Goal: many trackers hold together what a thread has room for, whatever is said to them. Method: each thing that is held for an answer or by
// name is piled up while memory is ample and while it is scarce; what the tracker says it holds is compared, and the statements that come of it.
import assert from 'node:assert/strict'
import test from 'node:test'
import { backend as b, frontend as f } from '../messages/write-for-tests.ts'
import { createStatementTracker } from '../statement-tracker.ts'
import type { StatementSummary } from '../statement.ts'

const kibibyte = 1024
/** Queue, three sets of names, and a frame of each side. */
const scarceWeightMax = 300 * kibibyte

function createWorld() {
  const memory = { isScarce: false }
  const statements: StatementSummary[] = []
  const tracker = createStatementTracker({ memory, onStatement: (statement) => void statements.push(statement) })
  let place = 0
  return {
    ...{ memory, statements, tracker },
    client: (...frames: readonly Buffer[]) => tracker.frontend(Buffer.concat(frames), 0, place++, false),
    server: (...frames: readonly Buffer[]) => tracker.backend(Buffer.concat(frames), 0, place++),
  }
}
type World = ReturnType<typeof createWorld>

const long = 'x'.repeat(60 * kibibyte)

const piles: readonly (readonly [string, (world: World, index: number) => void])[] = [
  ['queries', ({ client }, index) => client(f.query(`select ${index}, '${long}'`))],
  ['short queries', ({ client }) => client(...Array.from({ length: 2_000 }, () => f.query('select 1')))],
  ['Syncs', ({ client }) => client(...Array.from({ length: 4_000 }, () => f.sync))],
  ['Parses', ({ client }, index) => client(f.parse(`select ${index}, '${long}'`, `s${index}`))],
  ['values', ({ client }) => client(f.bind({ values: Array.from({ length: 400 }, () => 'v'.repeat(1_000)) }))],
  [
    'prepared statements',
    ({ client, server }, index) => {
      client(f.parse(`select ${index}, '${long}'`, `s${index}`), f.sync)
      server(b.parseComplete, b.ready())
    },
  ],
  [
    'what the server skips',
    ({ client, server }, index) => {
      client(
        f.parse(`select ${index}, '${long}'`, `s${index}`),
        f.bind({ portal: `p${index}`, statement: `s${index}` }),
        f.execute(`p${index}`),
      )
      if (index === 0) server(b.error('42601'))
    },
  ],
  [
    'portals of statements that are gone',
    ({ client, server }, index) => {
      client(f.parse(`select ${index}, '${long}'`), f.bind({ portal: `p${index}` }))
      server(b.parseComplete, b.bindComplete)
    },
  ],
]

for (const [what, pile] of piles) {
  test(`while memory is scarce little is held of ${what}`, () => {
    const ample = createWorld()
    const scarce = createWorld()
    scarce.memory.isScarce = true
    for (let index = 0; index < 20; index++) {
      pile(ample, index)
      pile(scarce, index)
      assert.ok(scarce.tracker.weight <= scarceWeightMax, `${scarce.tracker.weight} after ${index}`)
    }
    assert.ok(ample.tracker.weight > scarceWeightMax, `${ample.tracker.weight}`)
    for (const { tracker } of [ample, scarce]) tracker.close(0, 1_000)
  })
}

for (const [what, message] of [
  ['Query', f.query(`select '${'x'.repeat(900 * kibibyte)}'`)],
  ['Parse', f.parse(`select '${'x'.repeat(900 * kibibyte)}'`)],
  ['Bind', f.bind({ values: Array.from({ length: 1_000 }, () => 'v'.repeat(3_000)) })],
] as const) {
  test(`a ${what} that comes in pieces is held no further once memory is scarce`, () => {
    const { client, memory, tracker } = createWorld()
    const pieceBytes = 64 * kibibyte
    for (let at = 0; at < message.length - pieceBytes; at += pieceBytes) {
      memory.isScarce = at >= 2 * pieceBytes
      client(message.subarray(at, at + pieceBytes))
    }
    assert.ok(tracker.weight < 4 * pieceBytes, `${tracker.weight}`)
  })
}

test('what is left out while memory is scarce is named as such, its statement has its number and outcome, and the next has its text', () => {
  const { client, server, memory, statements } = createWorld()
  memory.isScarce = true
  client(f.query(`select '${long}'`))
  client(f.parse(`select 2, '${long}'`, 'held'), f.bind({ statement: 'held' }), f.execute(), f.sync)
  server(b.complete('SELECT 1'), b.ready(), b.parseComplete, b.bindComplete, b.complete('SELECT 2'), b.ready())
  client(f.query('select 3'))
  memory.isScarce = false
  server(b.complete('SELECT 3'), b.ready())
  client(f.query(`select '${long}'`))
  server(b.complete('SELECT 4'), b.ready())
  const leftOut = '(its text is not kept: too much was sent ahead of the answers)'
  assert.deepEqual(
    statements.map(({ number, sql, outcome, tag }) => [number, sql, outcome, tag]),
    [
      [1, leftOut, 'completed', 'SELECT 1'],
      [2, leftOut, 'completed', 'SELECT 2'],
      [3, 'select 3', 'completed', 'SELECT 3'],
      [4, `select '${long}'`, 'completed', 'SELECT 4'],
    ],
  )
})

test('a frame that memory was too scarce to hold has its head, its length and its answer', () => {
  const { client, server, memory, statements } = createWorld()
  memory.isScarce = true
  const message = f.query(`select '${long}'`)
  client(message.subarray(0, 20_000))
  memory.isScarce = false
  client(message.subarray(20_000))
  server(b.complete('SELECT 1'), b.ready())
  assert.deepEqual(
    statements.map(({ sql, sqlBytes, sqlTruncated, tag }) => [sql, sqlBytes, sqlTruncated, tag]),
    [[`select '${long}`.slice(0, 8 * kibibyte), `select '${long}'`.length, true, 'SELECT 1']],
  )
})
