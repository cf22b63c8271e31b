import assert from 'node:assert/strict'
import test from 'node:test'
import { backend as b, frontend as f } from '../messages/write-for-tests.ts'
import { lines, track, type Step } from './track-for-tests.ts'

const row = b.row(['1'])

test('an error skips to the Sync: what was pipelined behind it is skipped, what comes behind the Sync runs', () => {
  const tracked = track([
    ['client', f.parse('select 1/0'), f.bind(), f.execute(), f.parse('select 2'), f.bind({ values: ['x'] }), f.execute()],
    ['client', f.query('select 3'), f.functionCall(9, []), f.sync, f.query('select 4')],
    ['server', b.parseComplete, b.bindComplete, b.error('22012'), b.ready(), b.complete('SELECT 1'), b.ready()],
  ])
  assert.deepEqual(lines(tracked), [
    '1 execute failed 22012: select 1/0',
    '2 execute skipped: select 2',
    '3 query skipped: select 3',
    '4 function skipped: (call of the function with OID 9)',
    '5 query completed [SELECT 1]: select 4',
  ])
  assert.equal(tracked.statements[1]!.parameters[0]!.value, 'x')
})

// Goal: the same story whenever the client learns of the error. Method: the same messages, sent before and after it.
const stories: Record<string, { client: Buffer[]; server: Buffer[]; told: string[]; parameters: (string | null)[][] }> = {
  'an error at Parse is the failed Execute': {
    client: [f.parse('selct $1'), f.bind({ values: ['x'] }), f.describe('P'), f.execute(), f.execute(), f.sync],
    server: [b.error('42601')],
    told: ['1 execute failed 42601: selct $1'],
    parameters: [['x']],
  },
  'an error at Bind is the failed Execute': {
    client: [f.parse('select $1::int'), f.bind({ values: ['x'] }), f.execute(), f.sync],
    server: [b.parseComplete, b.error('22P02')],
    told: ['1 execute failed 22P02: select $1::int'],
    parameters: [['x']],
  },
  'an error at Parse without an Execute is a protocol statement': {
    client: [f.parse('selct 1', 's'), f.describe('S', 's'), f.sync],
    server: [b.error('42601')],
    told: ['1 protocol failed 42601: selct 1'],
    parameters: [[]],
  },
  'an error at Bind of another portal is a protocol statement': {
    client: [f.parse('select 1'), f.bind({ portal: 'p', values: ['x'] }), f.bind({ portal: 'q' }), f.execute('q'), f.sync],
    server: [b.parseComplete, b.error('22P02')],
    told: ['1 protocol failed 22P02: select 1', '2 execute skipped: select 1'],
    parameters: [['x'], []],
  },
  'an error at Describe is a protocol statement, and the Execute behind it is skipped': {
    client: [f.parse('select 1'), f.bind(), f.describe('P'), f.execute(), f.sync],
    server: [b.parseComplete, b.bindComplete, b.error('XX000')],
    told: ['1 protocol failed XX000: select 1', '2 execute skipped: select 1'],
    parameters: [[], []],
  },
}
for (const [name, { client, server, told, parameters }] of Object.entries(stories)) {
  // The requests that the answers before the error are for must have been sent.
  for (let early = server.length; early <= client.length; early++) {
    if (name.includes('Describe') && early < 3) continue
    test(`${name}; ${early} messages sent before the error`, () => {
      const tracked = track([
        ['client', ...client.slice(0, early)],
        ['server', ...server],
        ...client.slice(early).map((message): Step => ['client', message]),
        ['server', b.ready()],
        ['client', f.query('select 9')],
        ['server', b.complete('SELECT 1'), b.ready()],
      ])
      const inOrder = tracked.statements.toSorted((one, other) => one.number - other.number)
      assert.deepEqual(lines({ statements: inOrder }), [...told, `${told.length + 1} query completed [SELECT 1]: select 9`])
      assert.deepEqual(
        inOrder.slice(0, -1).map((statement) => statement.parameters.map(({ value }) => value)),
        parameters,
      )
    })
  }
}

test('an error at Sync is a protocol statement with the last text of its segment', () => {
  const tracked = track([
    ['client', f.parse('insert into t'), f.bind(), f.execute(), f.sync],
    ['server', b.parseComplete, b.bindComplete, b.complete('INSERT 0 1'), b.error('23503'), b.ready()],
    ['client', f.sync],
    ['server', b.error('XX000'), b.ready()],
  ])
  assert.deepEqual(lines(tracked), [
    '1 execute completed [INSERT 0 1]: insert into t',
    '2 protocol failed 23503: insert into t',
    '3 protocol failed XX000: (Sync)',
  ])
})

test('a FATAL error fails what is running, and what is behind it is unfinished when the session closes', () => {
  const tracked = track([
    ['client', f.query('select pg_sleep(9)'), f.query('select 2')],
    ['server', b.error('57P01', 'terminating', 'FATAL')],
    ['close'],
  ])
  assert.deepEqual(lines(tracked), ['1 query failed 57P01: select pg_sleep(9)', '2 query unfinished: select 2'])
  assert.deepEqual(tracked.sessionErrors, [])
})

test('a FATAL error outside any statement is the session’s', () => {
  const tracked = track([
    ['client', f.query('begin')],
    ['server', b.complete('BEGIN'), b.ready('T')],
    ['server', b.error('25P03', 'idle', 'FATAL')],
    ['close'],
  ])
  assert.deepEqual(lines(tracked), ['1 query completed [BEGIN]: begin'])
  assert.deepEqual(
    tracked.sessionErrors.map(({ code, severity }) => [code, severity]),
    [['25P03', 'FATAL']],
  )
})

test('Terminate or a lost connection with things in flight leaves them unfinished', () => {
  const tracked = track([
    ['client', f.query('select 1; select 2'), f.parse('select 3'), f.bind({ values: ['x'] }), f.execute(), f.sync, f.terminate],
    ['server', b.rowDescription([{ name: 'a' }]), row, row],
    ['close'],
  ])
  assert.deepEqual(lines(tracked), [
    '1 query unfinished 2 rows: select 1',
    '2 query unfinished: select 2',
    '3 execute unfinished: select 3',
  ])
})

test('a failed statement of a suspended portal is the same statement', () => {
  const tracked = track([
    ['client', f.parse('select 1/x'), f.bind(), f.execute('', 1), f.flush],
    ['server', b.parseComplete, b.bindComplete, row, b.portalSuspended],
    ['client', f.execute('', 1), f.execute('', 1), f.sync],
    ['server', row, b.error('22012'), b.ready()],
  ])
  assert.deepEqual(lines(tracked)[0], '1 execute failed 22012 2 rows: select 1/x')
})

test('behind a gap, unknown names say so and answers to unseen requests are kept', () => {
  const tracked = track([
    ['client', f.parse('select 1', 'kept'), f.parse('select 2'), f.sync],
    ['server', b.parseComplete, b.parseComplete, b.ready()],
    ['client', f.query('select 3').subarray(0, 9)],
    ['server', b.ready().subarray(0, 3)],
    ['gap'],
    ['server', row, b.complete('SELECT 1'), b.ready()],
    ['client', f.bind({ statement: 'kept' }), f.execute(), f.bind({ statement: 'gone' }), f.execute(), f.bind(), f.execute(), f.sync],
    [
      'server',
      b.bindComplete,
      b.complete('SELECT 1'),
      b.bindComplete,
      b.complete('SELECT 1'),
      b.bindComplete,
      b.complete('SELECT 1'),
      b.ready(),
    ],
  ])
  assert.deepEqual(lines(tracked), [
    '1 query completed [SELECT 1] 1 rows: (sent while the recording had a gap)',
    '2 execute completed [SELECT 1]: /* prepared before a gap in the recording */ select 1',
    '3 execute completed [SELECT 1]: (prepared while the recording had a gap)',
    '4 execute completed [SELECT 1]: (prepared while the recording had a gap)',
  ])
})

test('a gap ends what is in flight as unfinished', () => {
  const tracked = track([
    ['client', f.query('select 1'), f.query('select 2')],
    ['server', row],
    ['gap'],
    ['client', f.query('select 3')],
    ['server', b.complete('SELECT 1'), b.ready()],
  ])
  assert.deepEqual(lines(tracked), [
    '1 query unfinished 1 rows: select 1',
    '2 query unfinished: select 2',
    '3 query completed [SELECT 1]: select 3',
  ])
})

test('a malformed body is kept as what could be read', () => {
  const tracked = track([
    ['client', f.raw('P', Buffer.from('s\0select 1')), f.raw('B', Buffer.from('\0s\0\0')), f.execute(), f.sync],
    ['server', b.error('08P01'), b.ready()],
    ['client', f.parse('select $1'), f.raw('B', Buffer.from('\0\0\0\0\0\x02\0\0\0\x01x')), f.execute(), f.sync],
    ['server', b.parseComplete, b.error('08P01'), b.ready()],
    ['client', f.raw('Q', Buffer.from('select 1'))],
    ['server', b.error('08P01'), b.ready()],
  ])
  assert.deepEqual(lines(tracked), [
    '1 execute failed 08P01: select 1 (malformed Parse message)',
    '2 execute failed 08P01: select $1 (malformed Bind message)',
    '3 query failed 08P01: select 1 (malformed Query message)',
  ])
  assert.equal(tracked.statements[1]!.parameters[0]!.value, 'x')
})

test('answers that nobody asked for are kept, and the next ReadyForQuery finds back', () => {
  const tracked = track([
    ['server', row, b.complete('SELECT 1'), b.ready()],
    ['client', f.parse('select 1'), f.sync, f.query('select 2')],
    ['server', row, b.complete('SELECT 1'), b.ready()],
  ])
  assert.deepEqual(lines(tracked), [
    '1 query completed [SELECT 1] 1 rows: (an answer without a statement)',
    '2 query completed [SELECT 1] 1 rows: select 2',
  ])
})

test('too much sent ahead is unfinished, and tracking goes on behind its answers', () => {
  const syncs = 128 * 1024
  const tracked = track([
    ['client', f.query('select 0'), ...Array.from({ length: syncs }, () => f.sync)],
    ['server', b.complete('SELECT 1'), b.ready(), ...Array.from({ length: syncs }, () => b.ready())],
    ['client', f.query('select 1')],
    ['server', b.complete('SELECT 1'), b.ready()],
  ])
  assert.deepEqual(lines(tracked), [
    '1 query unfinished: select 0',
    '2 query completed [SELECT 1]: (sent while the recording had a gap)',
    '3 query completed [SELECT 1]: select 1',
  ])
})

test('behind a gap, answers that cannot be for what was sent since are kept apart from it', () => {
  const tracked = track([
    ['gap'],
    ['client', f.parse('select 1'), f.bind(), f.execute(), f.sync],
    ['server', row, b.complete('SELECT 1'), b.ready(), b.parseComplete, b.bindComplete, b.complete('SELECT 0'), b.ready()],
  ])
  assert.deepEqual(lines(tracked), [
    '1 query completed [SELECT 1] 1 rows: (sent while the recording had a gap)',
    '2 execute completed [SELECT 0]: select 1',
  ])
})

test('a FATAL error while only a ReadyForQuery is awaited is the session’s', () => {
  const conversations: Step[][] = [
    [['client', f.sync]],
    [
      ['client', f.functionCall(1, [])],
      ['server', b.functionResult('x')],
    ],
    [
      ['client', f.query('select 1/0')],
      ['server', b.error('22012')],
    ],
  ]
  for (const steps of conversations) {
    const { statements, sessionErrors } = track([...steps, ['server', b.error('57P01', 'terminating', 'FATAL')], ['close']])
    assert.ok(statements.every(({ error }) => error?.code !== '57P01'))
    assert.equal(sessionErrors.length, 1)
  }
})

test('texts and values beyond what may wait are left out and named', () => {
  const text = `select '${'x'.repeat(900_000)}'`
  const count = 30
  const { statements } = track([
    ['client', ...Array.from({ length: count }, () => f.query(text))],
    ['server', ...Array.from({ length: count }, () => Buffer.concat([b.complete('SELECT 1'), b.ready()]))],
  ])
  assert.equal(statements.length, count)
  assert.equal(statements[0]!.sqlBytes, text.length)
  assert.equal(statements.at(-1)!.sql, '(its text is not kept: too much was sent ahead of the answers)')
})

test('forgotten prepared statements are named as forgotten', () => {
  const names = Array.from({ length: 8193 }, (_, index) => `s${index}`)
  const tracked = track([
    ['client', ...names.map((name) => f.parse(`select '${name}'`, name)), f.sync],
    ['server', ...names.map(() => b.parseComplete), b.ready()],
    ['client', f.bind({ statement: 's0' }), f.execute(), f.bind({ statement: 's8192' }), f.execute(), f.sync],
    ['server', b.bindComplete, b.complete('SELECT 1'), b.bindComplete, b.complete('SELECT 1'), b.ready()],
  ])
  assert.deepEqual(lines(tracked), [
    '1 execute completed [SELECT 1]: (its text is no longer kept: too many were prepared at the same time)',
    "2 execute completed [SELECT 1]: select 's8192'",
  ])
})
