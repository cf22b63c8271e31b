/**
 * Goal: a statement's index line has the trace that its SQL belongs to, whichever way a driver sends it, and no line has one that is not there.
 * Method: written conversations through the statement tracker.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { backend as b, frontend as f } from './messages/write-for-tests.ts'
import { track, type Step } from './statements/track-for-tests.ts'

const contextOf = (digit: string) => ({ traceId: digit.repeat(32), parentSpanId: digit.repeat(16), sampled: true })
const comment = (digit: string) => `/*traceparent='00-${digit.repeat(32)}-${digit.repeat(16)}-01'*/`
const done = (count: number): readonly ['server', ...Buffer[]] => [
  'server',
  ...Array.from({ length: count }, () => b.complete('SELECT 0')),
  b.ready(),
]
const traces = (steps: readonly Step[]) => track(steps).statements.map(({ trace }) => trace)

test('a statement without a traceparent has no trace in its line', () => {
  const [statement] = track([['client', f.query('select 1')], done(1)]).statements
  assert.equal(Object.hasOwn(statement!, 'trace'), false)
})

test('a simple query is joined to the trace of its comment', () => {
  assert.deepEqual(traces([['client', f.query(`select 1 ${comment('a')}`)], done(1)]), [contextOf('a')])
})

test('in a simple query of several statements each has its own, and those without have that of the text', () => {
  const sql = `begin; select 1 ${comment('a')}; select 2; commit; ${comment('b')}`
  assert.deepEqual(traces([['client', f.query(sql)], done(4)]), [contextOf('b'), contextOf('a'), contextOf('b'), contextOf('b')])
})

test('a prepared statement keeps the trace that its text had when it was prepared', () => {
  const steps: Step[] = [
    ['client', f.parse(`select $1 ${comment('a')}`, 'named'), f.bind({ statement: 'named', values: ['1'] }), f.execute(), f.sync],
    ['server', b.parseComplete, b.bindComplete, b.complete('SELECT 0'), b.ready()],
    ['client', f.bind({ statement: 'named', values: ['2'] }), f.execute(), f.sync],
    ['server', b.bindComplete, b.complete('SELECT 0'), b.ready()],
  ]
  assert.deepEqual(traces(steps), [contextOf('a'), contextOf('a')])
})

test('the comment at the end of a text that the index cuts still counts', () => {
  const long = `select '${'x'.repeat(200_000)}' ${comment('c')}`
  const steps: Step[] = [
    ['client', f.query(long)],
    done(1),
    ['client', f.parse(long), f.bind(), f.execute(), f.sync],
    ['server', b.parseComplete, b.bindComplete, b.complete('SELECT 0'), b.ready()],
  ]
  const { statements } = track(steps)
  assert.deepEqual(
    statements.map(({ sqlTruncated, trace }) => [sqlTruncated, trace]),
    [
      [true, contextOf('c')],
      [true, contextOf('c')],
    ],
  )
})

test('failed, skipped and unfinished statements have theirs too', () => {
  const steps: Step[] = [
    ['client', f.parse(`selec ${comment('a')}`), f.bind(), f.execute(), f.sync],
    ['server', b.error('42601'), b.ready()],
    ['client', f.query(`select 1/0 ${comment('b')}; select 2 ${comment('c')}`)],
    ['server', b.error('22012'), b.ready()],
    ['client', f.query(`select pg_sleep(9) ${comment('d')}`)],
    ['close'],
  ]
  assert.deepEqual(
    track(steps).statements.map(({ outcome, trace }) => [outcome, trace]),
    [
      ['failed', contextOf('a')],
      ['failed', contextOf('b')],
      ['skipped', contextOf('c')],
      ['unfinished', contextOf('d')],
    ],
  )
})
