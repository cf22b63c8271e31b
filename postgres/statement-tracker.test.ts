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

test('text is read by the client encoding, and cut at its limit without losing its length', () => {
  const latin = Buffer.concat([Buffer.from("select 'caf"), Buffer.from([0xe9]), Buffer.from("'\0")])
  const { statements } = track(
    [
      ['server', b.parameterStatus('client_encoding', 'LATIN1')],
      ['client', f.raw('Q', latin)],
      ['server', b.complete('SELECT 1'), b.ready()],
      ['server', b.parameterStatus('client_encoding', 'UTF8')],
      ['client', f.query(`select '${'é'.repeat(50)}'`)],
      ['server', b.complete('SELECT 1'), b.ready()],
      ['client', f.parse(`select '${'é'.repeat(50)}'`), f.bind(), f.execute(), f.sync],
      ['server', b.parseComplete, b.bindComplete, b.complete('SELECT 1'), b.ready()],
    ],
    { sqlCharactersMax: 20 },
  )
  assert.deepEqual(
    statements.map(({ sql, sqlBytes, sqlTruncated }) => [sql, sqlBytes, sqlTruncated]),
    [
      ["select 'café'", 13, undefined],
      [`select '${'é'.repeat(12)}`, 109, true],
      [`select '${'é'.repeat(12)}`, 109, true],
    ],
  )
})

test('standard_conforming_strings off changes where a statement ends', () => {
  const { statements } = track(
    [
      ['client', f.query("select 'a\\'; select 1'")],
      ['server', b.complete('SELECT 1'), b.ready()],
    ],
    { serverParameters: { standard_conforming_strings: 'off' } },
  )
  assert.equal(statements[0]!.sql, "select 'a\\'; select 1'")
})

test('a query longer than what is held keeps its head, its whole length and every completion', () => {
  const text = `select '${'x'.repeat(1_200_000)}'; select 2`
  const other = `select 1; ${text}`
  const { statements } = track([
    ['client', f.query(other)],
    ['server', b.complete('SELECT 1'), b.complete('SELECT 1'), b.ready()],
    ['client', f.query(text)],
    ['server', b.complete('SELECT 1'), b.complete('SELECT 1'), b.ready()],
  ])
  assert.deepEqual(
    statements.map(({ sql, sqlBytes, sqlTruncated }) => [sql.length, sqlBytes, sqlTruncated]),
    [
      [8, 8, undefined],
      [65536, text.length, true],
      [65536, text.length, true],
      [65536, text.length, true],
    ],
  )
})

test('a Bind longer than what is held keeps all its parameters, each to its limit', () => {
  const long = 'x'.repeat(3_000_000)
  const bind = f.bind({ values: [long, 'behind', null, long], resultFormats: [1] })
  for (const cut of [0, 5, 20, 1_500_000, bind.length - 1, bind.length]) {
    const { statements } = track([
      ['client', f.parse('insert into t values ($1, $2, $3, $4)', '', [25]), bind.subarray(0, cut)],
      ['client', bind.subarray(cut), f.execute(), f.sync],
      ['server', b.parseComplete, b.bindComplete, b.complete('INSERT 0 1'), b.ready()],
    ])
    assert.equal(statements.length, 1)
    assert.deepEqual(
      statements[0]!.parameters.map(({ typeOid, bytes, value, truncated }) => [typeOid, bytes, value?.length, truncated]),
      [
        [25, 3_000_000, 1024, true],
        [0, 6, 6, undefined],
        [0, null, undefined, undefined],
        [0, 3_000_000, 1024, true],
      ],
    )
  }
})

test('redaction marks the statement wherever the redacted piece was', async () => {
  const { createStatementTracker } = await import('./statement-tracker.ts')
  const redacted: (boolean | undefined)[] = []
  const tracker = createStatementTracker({ onStatement: (statement) => redacted.push(statement.redacted) })
  const query = f.query('alter role x password ***')
  tracker.frontend(query.subarray(0, 9), 0, 0, false)
  tracker.frontend(query.subarray(9), 0, 1, true)
  tracker.frontend(f.query('select 1'), 0, 2, false)
  tracker.frontend(Buffer.concat([f.parse('select 2'), f.bind()]), 0, 3, false)
  tracker.frontend(Buffer.concat([f.execute(), f.sync]), 0, 4, true)
  tracker.frontend(Buffer.concat([f.parse('select 3')]), 0, 3, true)
  tracker.frontend(Buffer.concat([f.bind(), f.execute(), f.sync]), 0, 4, false)
  tracker.backend(Buffer.concat([b.complete('ALTER ROLE'), b.ready(), b.complete('SELECT 1'), b.ready()]), 0, 5)
  tracker.backend(Buffer.concat([b.parseComplete, b.bindComplete, b.complete('SELECT 1'), b.ready()]), 0, 6)
  tracker.backend(Buffer.concat([b.parseComplete, b.bindComplete, b.complete('SELECT 1'), b.ready()]), 0, 6)
  assert.deepEqual(redacted, [true, undefined, undefined, true])
})
