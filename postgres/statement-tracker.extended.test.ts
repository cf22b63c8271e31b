// Goal: Parse, Bind, Describe and Execute, however a driver spreads them, are the statements that were run. Method: short conversations with
// portals, names and pipelines.
import assert from 'node:assert/strict'
import test from 'node:test'
import { backend as b, frontend as f } from './messages/write-for-tests.ts'
import { lines, track } from './statements/track-for-tests.ts'

const columns = b.rowDescription([{ name: 'a', typeOid: 23 }])
const row = b.row(['1'])

test('Parse, Bind, Describe and Execute are one statement, with typed parameters and result formats as bound', () => {
  const { statements } = track([
    ['client', f.parse('select $1::int, $2::text, $3', 's1', [23, 0])],
    [
      'client',
      f.bind({ statement: 's1', formats: [1, 0, 0], values: [Buffer.from([0, 0, 0, 7]), 'x'.repeat(2000), null], resultFormats: [1] }),
    ],
    ['client', f.describe('P'), f.execute(), f.sync],
    [
      'server',
      b.parseComplete,
      b.bindComplete,
      b.rowDescription([{ name: 'a', typeOid: 23, format: 1 }]),
      row,
      b.complete('SELECT 1'),
      b.ready(),
    ],
  ])
  assert.equal(statements.length, 1)
  const [statement] = statements
  assert.equal(statement!.kind, 'execute')
  assert.equal(statement!.statementName, 's1')
  assert.equal(statement!.portal, undefined)
  assert.deepEqual(statement!.place, { first: 0, last: 3 })
  assert.deepEqual(statement!.columns, [{ name: 'a', typeOid: 23, typeModifier: -1, format: 'binary' }])
  assert.deepEqual(statement!.parameters, [
    { typeOid: 23, format: 'binary', bytes: 4, value: 'AAAABw==' },
    { typeOid: 0, format: 'text', bytes: 2000, value: 'x'.repeat(1024), truncated: true },
    { typeOid: 0, format: 'text', bytes: null, value: null },
  ])
})

test('a cached Describe gives later executions their columns and parameter types', () => {
  const { statements } = track([
    ['client', f.parse('select $1', 's'), f.describe('S', 's'), f.sync],
    ['server', b.parseComplete, b.parameterDescription([20]), b.rowDescription([{ name: 'a' }, { name: 'b' }]), b.ready()],
    ['client', f.bind({ statement: 's', values: ['5'], resultFormats: [1] }), f.execute(), f.sync],
    ['server', b.bindComplete, row, b.complete('SELECT 1'), b.ready()],
    ['client', f.bind({ statement: 's', values: ['6'] }), f.execute(), f.sync],
    ['server', b.bindComplete, row, b.complete('SELECT 1'), b.ready()],
  ])
  assert.deepEqual(
    statements.map(({ number, parameters, columns: described, place }) => [
      number,
      parameters[0]!.typeOid,
      described!.map(({ format }) => format).join(),
      place.first,
    ]),
    [
      [1, 20, 'binary,binary', 2],
      [2, 20, 'text,text', 4],
    ],
  )
})

test('a portal fetched in batches is one statement; a further Execute is another', () => {
  const tracked = track([
    ['client', f.query('begin')],
    ['server', b.complete('BEGIN'), b.ready('T')],
    ['client', f.parse('select 1'), f.bind({ portal: 'p' }), f.execute('p', 1), f.sync],
    ['server', b.parseComplete, b.bindComplete, row, b.portalSuspended, b.ready('T')],
    ['client', f.execute('p', 1), f.execute('p', 1), f.execute('p', 1), f.sync],
    ['server', row, b.portalSuspended, row, b.complete('SELECT 1'), b.complete('SELECT 0'), b.ready('T')],
  ])
  assert.deepEqual(lines(tracked), [
    '1 query completed [BEGIN]: begin',
    '2 execute completed [SELECT 1] 3 rows: select 1',
    '3 execute completed [SELECT 0]: select 1',
  ])
  assert.deepEqual(
    tracked.statements.map(({ place, transactionBefore, portal }) => [place, transactionBefore, portal]),
    [
      [{ first: 0, last: 1 }, 'I', undefined],
      [{ first: 2, last: 5 }, 'T', 'p'],
      [{ first: 4, last: 5 }, 'T', 'p'],
    ],
  )
})

const ends = {
  'Close of the portal': [
    ['client', f.close('P'), f.sync],
    ['server', b.closeComplete, b.ready('T')],
  ],
  'another Bind': [
    ['client', f.parse('select 2'), f.bind(), f.sync],
    ['server', b.parseComplete, b.bindComplete, b.ready('T')],
  ],
  'the end of the transaction': [
    ['client', f.query('commit')],
    ['server', b.complete('COMMIT'), b.ready()],
  ],
  'a simple query': [
    ['client', f.query('select 2')],
    ['server', b.complete('SELECT 1'), b.ready('T')],
  ],
  'the end of the session': [['client', f.terminate], ['close']],
  'a gap': [['gap']],
} as const
for (const [how, steps] of Object.entries(ends)) {
  test(`a portal fetched in part ends as suspended: by ${how}`, () => {
    const { statements } = track([
      ['client', f.query('begin')],
      ['server', b.complete('BEGIN'), b.ready('T')],
      ['client', f.parse('select 1'), f.bind(), f.execute('', 1), f.sync],
      ['server', b.parseComplete, b.bindComplete, row, b.portalSuspended, b.ready('T')],
      ...steps,
    ])
    const suspended = statements.filter(({ outcome }) => outcome === 'suspended')
    assert.deepEqual(
      suspended.map(({ number, rows, tag, place, finished }) => ({ number, rows, tag, first: place.first, finished })),
      [{ number: 2, rows: 1, tag: null, first: 2, finished: 3000 }],
    )
    // Its index line stands in the segment of the record that settled how it ended, not of its last row.
    assert.ok(suspended[0]!.place.last > 3)
  })
}

test('a named portal and a cursor without hold end with their transaction', () => {
  const tracked = track([
    ['client', f.query('begin; declare c cursor for select 1; declare h cursor with hold for select 2')],
    ['server', b.complete('BEGIN'), b.complete('DECLARE CURSOR'), b.complete('DECLARE CURSOR'), b.ready('T')],
    ['client', f.parse('select 3'), f.bind({ portal: 'p' }), f.execute('p', 1), f.sync, f.query('commit')],
    ['server', b.parseComplete, b.bindComplete, row, b.portalSuspended, b.ready('T'), b.complete('COMMIT'), b.ready()],
    ['client', f.query('fetch h'), f.query('fetch c')],
    ['server', b.complete('FETCH 1'), b.ready(), b.error('34000'), b.ready()],
  ])
  assert.deepEqual(
    tracked.statements.map(({ number, outcome, preparedSql }) => [number, outcome, preparedSql]),
    [
      [1, 'completed', undefined],
      [2, 'completed', undefined],
      [3, 'completed', undefined],
      [5, 'completed', undefined],
      [4, 'suspended', undefined],
      [6, 'completed', 'select 2'],
      [7, 'failed', undefined],
    ],
  )
})

test('a Parse counts as the first message of its first execution only', () => {
  const { statements } = track([
    ['client', f.parse('select 1', 's')],
    ['client', f.bind({ statement: 's' }), f.execute()],
    ['client', f.bind({ statement: 's' }), f.execute(), f.sync],
    ['server', b.parseComplete, b.bindComplete, b.complete('SELECT 1'), b.bindComplete, b.complete('SELECT 1'), b.ready()],
  ])
  assert.deepEqual(
    statements.map(({ place }) => place.first),
    [0, 2],
  )
})

test('pipelined statements are each their own', () => {
  const tracked = track([
    ['client', f.parse('select 1'), f.bind(), f.execute(), f.parse('select 2'), f.bind(), f.execute(), f.sync, f.query('select 3')],
    [
      'server',
      b.parseComplete,
      b.bindComplete,
      row,
      b.complete('SELECT 1'),
      b.parseComplete,
      b.bindComplete,
      b.complete('SELECT 0'),
      b.ready(),
    ],
    ['server', columns, row, b.complete('SELECT 1'), b.ready()],
  ])
  assert.deepEqual(lines(tracked), [
    '1 execute completed [SELECT 1] 1 rows: select 1',
    '2 execute completed [SELECT 0]: select 2',
    '3 query completed [SELECT 1] 1 rows: select 3',
  ])
})

test('a name means what it means to the server: a Parse that was skipped changes nothing', () => {
  const tracked = track([
    ['client', f.parse('select 1', 's'), f.sync],
    ['server', b.parseComplete, b.ready()],
    ['client', f.parse('selct', ''), f.close('S', 's'), f.parse('select 2', 's'), f.sync, f.bind({ statement: 's' }), f.execute(), f.sync],
    ['server', b.error('42601'), b.ready(), b.bindComplete, row, b.complete('SELECT 1'), b.ready()],
  ])
  assert.deepEqual(lines(tracked), ['1 protocol failed 42601: selct', '2 execute completed [SELECT 1] 1 rows: select 1'])
})

test('a fetch that a server answers without its Sync ends no statement twice', () => {
  // No server of today does this: the transaction ends, and with it the portal, while the second Execute has an answer and no end.
  const { statements } = track([
    ['client', f.parse('select 1'), f.bind(), f.execute('', 1)],
    ['server', b.parseComplete, b.bindComplete, row, b.portalSuspended],
    ['client', f.execute('', 1)],
    ['server', row, b.ready()],
    ['close'],
  ])
  assert.deepEqual(
    statements.map(({ number, outcome, rows }) => [number, outcome, rows]),
    [
      [1, 'suspended', 2],
      [2, 'unfinished', 0],
    ],
  )
})
