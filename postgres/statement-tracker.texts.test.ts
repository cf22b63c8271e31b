// Goal: texts and parameters are read as the client wrote them, up to their limits, and redaction is stated. Method: other encodings and
// settings, messages longer than what is held, and redacted pieces.
import assert from 'node:assert/strict'
import test from 'node:test'
import { backend as b, frontend as f } from './messages/write-for-tests.ts'
import { track } from './statements/track-for-tests.ts'

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
