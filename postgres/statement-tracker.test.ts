// Goal: what a session says becomes its statements, each once. Method: short conversations in simple queries, function calls and SQL's own
// PREPARE and cursors. The extended protocol and long texts have files of their own beside this one.
import assert from 'node:assert/strict'
import test from 'node:test'
import { backend as b, frontend as f } from './messages/write-for-tests.ts'
import { lines, track } from './statements/track-for-tests.ts'

const columns = b.rowDescription([{ name: 'a', typeOid: 23 }])
const row = b.row(['1'])

test('a simple query is one statement with its columns, rows, sizes, times and place', () => {
  const { statements, rows } = track([
    ['client', f.query('select 1')],
    ['server', columns, row],
    ['server', row, b.complete('SELECT 2')],
    ['server', b.ready()],
  ])
  assert.deepEqual(rows, [
    [1, row.toString('latin1', 5)],
    [1, row.toString('latin1', 5)],
  ])
  const { fingerprint, ...statement } = statements[0]!
  assert.match(fingerprint, /^l1:/)
  assert.deepEqual(statement, {
    number: 1,
    kind: 'query',
    sql: 'select 1',
    sqlBytes: 8,
    parameters: [],
    columns: [{ name: 'a', typeOid: 23, typeModifier: -1, format: 'text' }],
    outcome: 'completed',
    tag: 'SELECT 2',
    rows: 2,
    resultBytes: 2 * row.length,
    error: null,
    notices: [],
    transactionBefore: 'I',
    started: 0,
    finished: 2000,
    place: { first: 0, last: 2 },
    decision: { kind: 'allow', rule: '(none)' },
  })
})

test('each statement of a simple query is one, in order', () => {
  const tracked = track([
    ['client', f.query("begin; select ';' ; commit;")],
    ['server', b.complete('BEGIN'), columns, row, b.complete('SELECT 1'), b.complete('COMMIT'), b.ready()],
  ])
  assert.deepEqual(lines(tracked), [
    '1 query completed [BEGIN]: begin',
    "2 query completed [SELECT 1] 1 rows: select ';'",
    '3 query completed [COMMIT]: commit',
  ])
})

test('an error in a simple query fails that statement and skips those behind it', () => {
  const tracked = track([
    ['client', f.query('select 1; select 1/0; select 3')],
    ['server', columns, row, b.complete('SELECT 1'), b.error('22012'), b.ready()],
  ])
  assert.deepEqual(lines(tracked), [
    '1 query completed [SELECT 1] 1 rows: select 1',
    '2 query failed 22012: select 1/0',
    '3 query skipped: select 3',
  ])
})

test('a syntax error before any completion is one failed statement with the whole text', () => {
  const text = 'select 1; selct 2'
  assert.deepEqual(
    lines(
      track([
        ['client', f.query(text)],
        ['server', b.error('42601'), b.ready()],
      ]),
    ),
    [`1 query failed 42601: ${text}`],
  )
})

test('an empty query is one completed statement with the text that was sent', () => {
  const conversation = track([
    ['client', f.query('-- nothing')],
    ['server', b.emptyQuery, b.ready()],
    ['client', f.query('')],
    ['server', b.emptyQuery, b.ready()],
  ])
  assert.deepEqual(lines(conversation), ['1 query completed: -- nothing', '2 query completed: '])
})

test('more completions than texts are all kept, under the whole text', () => {
  const tracked = track([
    ['client', f.query('select 1')],
    ['server', b.complete('SELECT 1'), b.complete('SELECT 2'), b.ready()],
  ])
  assert.deepEqual(lines(tracked), ['1 query completed [SELECT 1]: select 1', '2 query completed [SELECT 2]: select 1'])
})

test('a function call is one statement with its arguments and its own ReadyForQuery', () => {
  const tracked = track([
    ['client', f.functionCall(1598, ['7', null]), f.query('select 1')],
    ['server', b.functionResult('x'), b.ready(), b.complete('SELECT 0'), b.ready()],
    ['client', f.functionCall(1, [])],
    ['server', b.error('42883'), b.ready()],
  ])
  assert.deepEqual(lines(tracked), [
    '1 function completed: (call of the function with OID 1598)',
    '2 query completed [SELECT 0]: select 1',
    '3 function failed 42883: (call of the function with OID 1)',
  ])
  assert.deepEqual(
    tracked.statements[0]!.parameters.map(({ value }) => value),
    ['7', null],
  )
})

test('notices, notifications and settings may come anywhere and belong to the statement they came in', () => {
  const notifications: unknown[] = []
  const settings: unknown[] = []
  const { statements, notices } = track(
    [
      ['server', b.notice('before'), b.notification('c', 'one')],
      ['client', f.query('select 1; select 2')],
      [
        'server',
        b.notice('first'),
        columns,
        b.notice('second'),
        row,
        b.notification('c', 'two'),
        b.complete('SELECT 1'),
        b.parameterStatus('TimeZone', 'UTC'),
      ],
      ['server', b.notice('third'), b.complete('SELECT 0'), b.ready(), b.notice('after')],
    ],
    {
      onNotification: (notification) => notifications.push(notification.payload),
      onParameterStatus: (...setting) => settings.push(setting),
    },
  )
  assert.deepEqual(
    statements.map((statement) => statement.notices.map(({ message }) => message)),
    [['first', 'second'], ['third']],
  )
  assert.deepEqual(notices, [
    ['before', null],
    ['first', null],
    ['second', 1],
    ['third', null],
    ['after', null],
  ])
  assert.deepEqual(notifications, ['one', 'two'])
  assert.deepEqual(settings, [['TimeZone', 'UTC']])
})

test('SQL-level PREPARE, EXECUTE and cursors are their own statements, linked to their text', () => {
  const { statements } = track([
    ['client', f.query('prepare q (int) as select $1')],
    ['server', b.complete('PREPARE'), b.ready()],
    [
      'client',
      f.query(
        'execute q(1); explain (analyze) execute q(2); declare c cursor with hold for select 3; fetch all from c; move c; close c; fetch c',
      ),
    ],
    [
      'server',
      columns,
      row,
      b.complete('SELECT 1'),
      columns,
      row,
      b.complete('EXPLAIN'),
      b.complete('DECLARE CURSOR'),
      columns,
      row,
      b.complete('FETCH 1'),
    ],
    ['server', b.complete('MOVE 0'), b.complete('CLOSE CURSOR'), b.error('34000'), b.ready()],
    ['client', f.bind({ statement: 'q', values: ['5'] }), f.execute(), f.sync],
    ['server', b.bindComplete, row, b.complete('SELECT 1'), b.ready()],
    ['client', f.query('deallocate all')],
    ['server', b.complete('DEALLOCATE ALL'), b.ready()],
    ['client', f.query('execute q(1)')],
    ['server', b.error('26000'), b.ready()],
  ])
  assert.deepEqual(
    statements.map(({ sql, preparedSql }) => `${sql}${preparedSql === undefined ? '' : ` <- ${preparedSql}`}`),
    [
      'prepare q (int) as select $1',
      'execute q(1) <- select $1',
      'explain (analyze) execute q(2) <- select $1',
      'declare c cursor with hold for select 3',
      'fetch all from c <- select 3',
      'move c <- select 3',
      'close c',
      'fetch c',
      'select $1',
      'deallocate all',
      'execute q(1)',
    ],
  )
})

test('DISCARD ALL drops named statements of the protocol too', () => {
  const { statements } = track([
    ['client', f.parse('select 1', 's'), f.sync],
    ['server', b.parseComplete, b.ready()],
    ['client', f.query('discard all')],
    ['server', b.complete('DISCARD ALL'), b.ready()],
    ['client', f.bind({ statement: 's' }), f.execute(), f.sync],
    ['server', b.error('26000'), b.ready()],
  ])
  assert.equal(statements[1]!.sql, '(prepared where the recording cannot see it)')
})
