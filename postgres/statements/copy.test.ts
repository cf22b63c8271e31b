import assert from 'node:assert/strict'
import test from 'node:test'
import { backend as b, frontend as f } from '../messages/write-for-tests.ts'
import { lines, track, type Step } from './track-for-tests.ts'

const after: Step[] = [
  ['client', f.parse('select 9'), f.bind(), f.execute(), f.sync],
  ['server', b.parseComplete, b.bindComplete, b.complete('SELECT 1'), b.ready()],
]
const nine = (number: number): string => `${number} execute completed [SELECT 1]: select 9`
const copies = (steps: readonly Step[]) => track(steps).statements.map(({ number, copy, resultBytes }) => [number, copy, resultBytes])

test('COPY out is one statement with its data', () => {
  const steps: Step[] = [
    ['client', f.query('copy t to stdout')],
    ['server', b.copyOut, b.copyData('one\n'), b.copyData('two\n'), b.copyDone, b.complete('COPY 2'), b.ready()],
    ...after,
  ]
  assert.deepEqual(lines(track(steps)), ['1 query completed [COPY 2]: copy t to stdout', nine(2)])
  assert.deepEqual(copies(steps)[0], [1, { direction: 'out', messages: 2, bytes: 8 }, 18])
  assert.deepEqual(track(steps).copied, [
    [1, 'out', 'one\n'],
    [1, 'out', 'two\n'],
  ])
})

test('COPY in is one statement with its data, in the middle of a simple query too', () => {
  const steps: Step[] = [
    ['client', f.query('select 1; copy t from stdin; copy u from stdin; select 2')],
    ['server', b.complete('SELECT 1'), b.copyIn],
    ['client', f.copyData('a\n'), f.flush, f.sync, f.copyData('b\n'), f.copyDone],
    ['server', b.complete('COPY 2'), b.copyIn],
    ['client', f.copyData('c\n'), f.copyDone],
    ['server', b.complete('COPY 1'), b.complete('SELECT 1'), b.ready()],
    ...after,
  ]
  const tracked = track(steps)
  assert.deepEqual(lines(tracked), [
    '1 query completed [SELECT 1]: select 1',
    '2 query completed [COPY 2]: copy t from stdin',
    '3 query completed [COPY 1]: copy u from stdin',
    '4 query completed [SELECT 1]: select 2',
    nine(5),
  ])
  assert.deepEqual(tracked.copied, [
    [2, 'in', 'a\n'],
    [2, 'in', 'b\n'],
    [3, 'in', 'c\n'],
  ])
})

// The conversation that libpq has: it sends a Sync behind Execute before it knows that it is a COPY, and one behind CopyDone.
const libpq = [f.parse('copy t from stdin'), f.bind(), f.describe('P'), f.execute(), f.sync]
const prepared = [b.parseComplete, b.bindComplete, b.noData]

for (const early of [true, false]) {
  test(`in COPY by the extended protocol the first Sync brings no ReadyForQuery; data sent ${early ? 'ahead of' : 'behind'} CopyInResponse`, () => {
    const data: Step[] = [
      ['client', f.copyData('a\n'), f.copyData('b\n')],
      ['client', f.copyDone, f.sync],
    ]
    const response: Step[] = [['server', ...prepared, b.copyIn]]
    const steps: Step[] = [
      ['client', ...libpq],
      ...(early ? [...data, ...response] : [...response, ...data]),
      ['server', b.complete('COPY 2'), b.ready()],
      ...after,
    ]
    const tracked = track(steps)
    assert.deepEqual(lines(tracked), ['1 execute completed [COPY 2]: copy t from stdin', nine(2)])
    assert.deepEqual(tracked.statements[0]!.copy, { direction: 'in', messages: 2, bytes: 4 })
    assert.equal(tracked.copied.length, 2)
  })
}

test('sizes alone are counted when nobody wants the data', () => {
  const statements: unknown[] = []
  track(
    [
      ['client', ...libpq, f.copyData('a\n')],
      ['server', ...prepared, b.copyIn],
      ['client', f.copyData('b\n'), f.copyDone, f.sync],
      ['server', b.complete('COPY 2'), b.ready()],
    ],
    { onCopyData: undefined as never, onStatement: ({ copy }) => statements.push(copy) },
  )
  assert.deepEqual(statements, [{ direction: 'in', messages: 2, bytes: 4 }])
})

// What the server had read when it failed is its secret: either it dropped the first Sync, or it answers it.
for (const answered of [0, 1]) {
  for (const late of [true, false]) {
    test(`COPY that fails early is one failed statement; ${answered} Syncs answered besides the last, rest of the data ${late ? 'behind' : 'ahead of'} the error`, () => {
      const rest: Step = ['client', f.copyData('b\n'), f.copyDone, f.sync]
      const error: Step = ['server', b.error('22P04'), ...(answered === 1 ? [b.ready()] : [])]
      const tracked = track([
        ['client', ...libpq],
        ['server', ...prepared, b.copyIn],
        ['client', f.copyData('a\n')],
        ...(late ? [error, rest] : [rest, error]),
        ['server', b.ready()],
        ...after,
        ['client', f.query('select 10')],
        ['server', b.complete('SELECT 1'), b.ready()],
        ['client', f.sync],
        ['server', b.ready()],
      ])
      assert.deepEqual(lines(tracked), ['1 execute failed 22P04: copy t from stdin', nine(2), '3 query completed [SELECT 1]: select 10'])
    })
  }
}

test('data that a client sends after COPY failed in a simple query is dropped, as the server does', () => {
  for (const rest of [[], [f.copyData('b\n'), f.copyDone], [f.copyFail('x')]]) {
    const tracked = track([
      ['client', f.query('copy t from stdin; select 1')],
      ['server', b.copyIn],
      ['client', f.copyData('a\n')],
      ['server', b.error('22P04')],
      ['client', ...rest],
      ['server', b.ready()],
      ['client', ...rest],
      ...after,
    ])
    assert.deepEqual(lines(tracked), ['1 query failed 22P04: copy t from stdin', '2 query skipped: select 1', nine(3)])
    assert.deepEqual(tracked.statements[0]!.copy, { direction: 'in', messages: 1, bytes: 2 })
  }
})

test('CopyFail fails the statement, in both protocols', () => {
  const tracked = track([
    ['client', f.query('copy t from stdin')],
    ['server', b.copyIn],
    ['client', f.copyFail('no')],
    ['server', b.error('57014'), b.ready()],
    ['client', ...libpq],
    ['server', ...prepared, b.copyIn],
    ['client', f.copyFail('no'), f.sync],
    ['server', b.error('57014'), b.ready()],
    ...after,
  ])
  assert.deepEqual(lines(tracked), ['1 query failed 57014: copy t from stdin', '2 execute failed 57014: copy t from stdin', nine(3)])
})

test('a COPY that never starts leaves the data that was sent for it to nobody', () => {
  const tracked = track([
    ['client', ...libpq, f.copyData('a\n'), f.copyDone, f.sync],
    ['server', b.error('42P01'), b.ready(), b.ready()],
    ...after,
    ['client', f.query('copy t from stdin'), f.copyData('a\n'), f.copyDone],
    ['server', b.error('42P01'), b.ready()],
    ...after,
  ])
  assert.deepEqual(lines(tracked), [
    '1 execute failed 42P01: copy t from stdin',
    nine(2),
    '3 query failed 42P01: copy t from stdin',
    nine(4),
  ])
})

test('COPY both counts both directions', () => {
  const tracked = track([
    ['client', f.query('START_REPLICATION 0/0')],
    ['server', b.copyBoth, b.copyData('w1')],
    ['client', f.copyData('r')],
    ['server', b.copyData('w2')],
    ['client', f.copyDone],
    ['server', b.copyDone, b.complete('COPY 0'), b.ready()],
    ...after,
  ])
  assert.deepEqual(tracked.statements[0]!.copy, { direction: 'both', messages: 3, bytes: 5 })
  assert.deepEqual(lines(tracked)[1], nine(2))
})

// Goal: what was pipelined behind a failed COPY is told apart whichever Syncs were answered. Method: ends that a stale Sync would take.
for (const answered of [0, 1]) {
  const failing: Step[] = [
    ['client', ...libpq],
    ['server', ...prepared, b.copyIn],
    ['client', f.copyData('a\n'), f.copyDone, f.sync],
  ]
  const error = [b.error('22P04'), ...(answered === 1 ? [b.ready()] : []), b.ready()]
  test(`a query pipelined behind a COPY that fails has its own end; ${answered} Syncs answered besides the last`, () => {
    const completed = track([...failing, ['client', f.query('select 10')], ['server', ...error, b.complete('SELECT 1'), b.ready()]])
    assert.deepEqual(lines(completed)[1], '2 query completed [SELECT 1]: select 10')
    const failed = track([...failing, ['client', f.query('select 10')], ['server', ...error, b.error('22012'), b.ready()]])
    assert.deepEqual(lines(failed)[1], '2 query failed 22012: select 10')
  })
  test(`an error at the Sync of what was pipelined behind a COPY that fails is seen; ${answered} Syncs answered besides the last`, () => {
    const insert = [f.parse('insert into d'), f.bind(), f.execute(), f.sync]
    const { statements, sessionErrors } = track([
      ...failing,
      ['client', ...insert, ...insert],
      ['server', ...error, b.parseComplete, b.bindComplete, b.complete('INSERT 0 1'), b.error('23503'), b.ready()],
      ['server', b.parseComplete, b.bindComplete, b.complete('INSERT 0 1'), b.error('23503'), b.ready()],
    ])
    assert.deepEqual(
      statements.map(({ kind, outcome }) => `${kind} ${outcome}`),
      ['execute failed', 'execute completed', 'protocol failed', 'execute completed', 'protocol failed'],
    )
    assert.deepEqual(sessionErrors, [])
  })
}
