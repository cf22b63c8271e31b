// Goal: of what the backend says, exactly the content of results is told apart, wherever the network cut it, and the statements that a
// recording without it gives have the same numbers as those of a recording with it. Method: random conversations of whole exchanges, cut
// at random places, walked as the proxy walks them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BackendScanner } from './backend-scanner.ts'
import { backend as b, frontend as f } from './messages/write-for-tests.ts'
import { ResultContentSplitter } from './result-content.ts'
import type { StatementSummary } from './statement.ts'
import { createStatementTracker } from './statement-tracker.ts'

type Exchange = readonly [client: readonly Buffer[], server: readonly Buffer[]]

const secret = 'sesame'
const columns = b.rowDescription([{ name: 'a' }, { name: 'b' }])
const row = (bytes: number): Buffer => b.row([secret, null, `${secret}${'x'.repeat(bytes)}`])

const exchanges: readonly Exchange[] = [
  [
    [f.query('select 1; select 2')],
    [columns, row(1), row(300), b.complete('SELECT 2'), columns, row(0), b.complete('SELECT 1'), b.ready()],
  ],
  [[f.query('set a to b')], [b.complete('SET'), b.ready()]],
  [
    [f.parse('select $1', '', [23]), f.bind({ values: ['kept'] }), f.describe('P'), f.execute(), f.sync],
    [b.parseComplete, b.bindComplete, columns, row(20), b.complete('SELECT 1'), b.ready()],
  ],
  [
    [f.parse('select $1', 's'), f.bind({ statement: 's', values: ['é'] }), f.execute('', 2), f.execute('', 2), f.sync],
    [b.parseComplete, b.bindComplete, row(5), row(6), b.portalSuspended, row(7), b.complete('SELECT 1'), b.ready()],
  ],
  [[f.query('select 1/n from t')], [columns, ...Array.from({ length: 10 }, () => row(9)), b.error('22012'), b.ready()]],
  [
    [f.query('copy t to stdout')],
    [b.copyOut, b.copyData(secret), b.copyData(secret.repeat(99)), b.copyDone, b.complete('COPY 2'), b.ready()],
  ],
  [
    [f.query('copy t from stdin'), f.copyData('one\n'), f.copyData('two\n'), f.copyDone],
    [b.copyIn, b.complete('COPY 2'), b.ready()],
  ],
  [[f.functionCall(9, ['1'])], [b.functionResult(secret), b.ready()]],
]

type Walked = { readonly kept: Buffer; readonly statements: readonly StatementSummary[]; readonly forwarded: Buffer }

/** As the proxy walks it, each server piece cut at `cuts`. */
function walk(chosen: readonly Exchange[], cuts: readonly number[], isLeftOut: boolean): Walked {
  const statements: StatementSummary[] = []
  const kept: Buffer[] = []
  const forwarded: Buffer[] = []
  const scanner = new BackendScanner({ heldBytesMax: 1_000 })
  const splitter = new ResultContentSplitter()
  const tracker = createStatementTracker({
    onStatement: ({ place: _place, ...statement }) => statements.push(statement as StatementSummary),
  })
  const keep = (bytes: Buffer): void => {
    kept.push(Buffer.from(bytes))
    forwarded.push(Buffer.from(bytes))
    tracker.backend(Buffer.from(bytes), 1, 0)
  }
  const sink = {
    pass: keep,
    leaveOut(type: number, messages: number, bytes: Buffer): void {
      forwarded.push(Buffer.from(bytes))
      tracker.leftOut({ type, messages, bytes: bytes.length }, 1, 0)
    },
  }
  let cutAt = 0
  for (const [client, server] of chosen) {
    tracker.frontend(Buffer.concat(client), 1, 0, false)
    const answer = Buffer.concat(server)
    for (let at = 0; at < answer.length; cutAt++) {
      const end = Math.min(answer.length, at + (cuts[cutAt % cuts.length] ?? answer.length))
      const pass = isLeftOut ? (bytes: Buffer): void => splitter.push(bytes, sink) : keep
      scanner.push(answer.subarray(at, end), { pass, message: keep }, false)
      at = end
    }
  }
  tracker.close(1, 0)
  return { kept: Buffer.concat(kept), statements, forwarded: Buffer.concat(forwarded) }
}

const conversations = fc.array(fc.constantFrom(...exchanges), { minLength: 1, maxLength: 8 })
const cuts = fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 12 })

test('what goes on is what the backend said, what is kept has no byte of a result, and the counts are those of a whole recording', () => {
  fc.assert(
    fc.property(conversations, cuts, (chosen, places) => {
      const whole = walk(chosen, places, false)
      const without = walk(chosen, places, true)
      assert.ok(without.forwarded.equals(Buffer.concat(chosen.flatMap(([, server]) => server))))
      assert.equal(without.kept.includes(secret), false)
      assert.deepEqual(
        without.statements.map(({ notKept: _, ...statement }) => statement),
        whole.statements,
      )
      for (const { resultBytes, notKept } of without.statements) assert.equal(notKept?.bytes ?? 0, resultBytes)
    }),
  )
})

test('everything that is no content is kept in its order, byte for byte', () => {
  const content = new Set(['D', 'd', 'V'].map((letter) => letter.charCodeAt(0)))
  fc.assert(
    fc.property(conversations, cuts, (chosen, places) => {
      const expected = chosen.flatMap(([, server]) => server).filter((frame) => !content.has(frame[0]!))
      assert.ok(walk(chosen, places, true).kept.equals(Buffer.concat(expected)))
    }),
  )
})

test('a statement says how many messages of its result are not kept', () => {
  const [{ notKept, rows } = { notKept: undefined, rows: 0 }] = walk([exchanges[4]!], [7], true).statements
  assert.deepEqual([rows, notKept], [10, { messages: 10, bytes: 10 * row(9).length }])
  assert.deepEqual(walk([exchanges[1]!], [7], true).statements[0]?.notKept, undefined)
})

test('a session that ends amid a row has its bytes and not the row', () => {
  const cut = Buffer.concat([columns, row(4), row(4)]).subarray(0, -3)
  const { statements } = walk([[[f.query('select 1')], [cut]]], [11], true)
  assert.deepEqual(
    statements.map(({ rows, outcome, notKept }) => [rows, outcome, notKept]),
    [[1, 'unfinished', { messages: 1, bytes: 2 * row(4).length - 3 }]],
  )
})
