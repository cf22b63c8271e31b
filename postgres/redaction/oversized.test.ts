import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createRedactor, type Redactor } from './redactor.ts'
import { bind, parse, query, readBind, readParse, readQuery, response, readResponse } from './test-frames.ts'

const secret = 'hunter2-Zq9x'

function record(redactor: Redactor, frame: Buffer, cuts: readonly number[]): Buffer {
  const edges = [0, ...cuts, frame.length]
  const pieces = edges.slice(1).map((end, index) => {
    // Copied, and cleared afterwards, as the sockets' buffers are.
    const piece = Buffer.from(frame.subarray(edges[index], end))
    const recorded = index === 0 ? redactor.startOversized(piece) : redactor.continueOversized(piece)
    assert.equal(recorded.length, piece.length)
    const kept = Buffer.from(recorded)
    piece.fill(0x78)
    return kept
  })
  return Buffer.concat(pieces)
}

const statements = [
  `ALTER ROLE x PASSWORD '${secret}' VALID UNTIL 'infinity'`,
  `ALTER ROLE x PASSWORD ${secret}`,
  `select 'plain', 'postgres://user:${secret}@host/db'`,
  `CREATE USER /* c */ MAPPING FOR x OPTIONS (a '${secret}')`,
  `select e'\\x64blink', '${secret}'`,
]

for (const sql of statements) {
  test(`a trigger is found wherever the text is cut: ${sql}`, () => {
    for (const frame of [query(sql), parse('name', sql, [23])]) {
      for (let cut = 5; cut <= frame.length; cut++) {
        const recorded = record(createRedactor(), frame, [cut])
        const text = frame[0] === 0x51 ? readQuery(recorded) : readParse(recorded).sql
        // The URL shape needs its @ to be seen, and that stands behind the secret.
        if (!sql.includes('://') || cut < frame.indexOf(secret) || cut > frame.indexOf('@'))
          assert.doesNotMatch(text, /hunter/, `cut at ${cut}`)
      }
      const every = Array.from({ length: frame.length - 6 }, (_, index) => index + 5)
      if (!sql.includes('://') && !sql.includes('\\x'))
        assert.doesNotMatch(record(createRedactor(), frame, every).toString('latin1'), /hunter/)
    }
  })
}

test('text without a trigger passes as the very same pieces', () => {
  const redactor = createRedactor()
  const frame = query(`insert into t values ('${'plain text '.repeat(10_000)}')`)
  const [head, piece] = [frame.subarray(0, 20_000), frame.subarray(20_000)]
  assert.equal(redactor.startOversized(head), head)
  assert.equal(redactor.continueOversized(piece), piece)
  assert.equal(redactor.isActive(), false)
})

test('a trigger far behind is found, and what follows is filled up to the end of the text', () => {
  const sql = `select ${'1, '.repeat(30_000)} crypt('x', '${secret}') ${', 2'.repeat(30_000)}, '${secret}'`
  for (const frame of [query(sql), parse('name', sql, [23])]) {
    const recorded = record(createRedactor(), frame, [1_000, 50_000, 90_000, 120_000])
    assert.ok(!recorded.includes(secret))
    assert.ok(recorded.includes('1, 1, 1'))
  }
})

test('a credential-bearing oversized Parse marks its name, and an oversized Bind of it is filled at every cut', () => {
  const redactor = createRedactor()
  record(redactor, parse('s', `select crypt($1), '${'x'.repeat(1_000)}'`), [100])
  const frame = bind('s', [secret, null, '', secret], [1, 0, 0, 1], 'portal')
  for (let cut = 5; cut < frame.length; cut++) {
    for (const cuts of [[cut], [cut, Math.min(cut + 3, frame.length)]]) {
      const { formats, values, statement, portal } = readBind(record(redactor, frame, cuts))
      assert.deepEqual(
        { formats, values, statement, portal },
        { formats: [0, 0, 0, 0], values: ['*'.repeat(12), null, '', '*'.repeat(12)], statement: 's', portal: 'portal' },
      )
    }
  }
  const other = bind('t', [secret])
  assert.deepEqual(record(redactor, other, [9]), other)
})

test('literals of an oversized statement are remembered for echoes', () => {
  const redactor = createRedactor()
  record(redactor, query(`select dblink('${secret}') ${'x'.repeat(1_000)}`), [100])
  assert.doesNotMatch(readResponse(redactor.backend(response('E', { M: `bad "${secret}"` })))['M']!, /hunter/)
})

test('an oversized EXECUTE is filled when a credential-bearing statement may be meant', () => {
  const redactor = createRedactor()
  redactor.frontend(query('prepare p as select crypt($1)'))
  assert.ok(!record(redactor, query(`execute p('${secret}', '${'x'.repeat(1_000)}')`), [9, 200]).includes('hunter'))
})

test('any bytes in any pieces keep their length', () => {
  fc.assert(
    fc.property(fc.constantFrom(0x51, 0x50, 0x42, 0x46), fc.array(fc.uint8Array({ maxLength: 30 }), { maxLength: 6 }), (type, pieces) => {
      const redactor = createRedactor()
      redactor.frontend(parse('', 'select password($1)'))
      const head = Buffer.from([type, 0, 0, 1, 0, ...(pieces[0] ?? [])])
      assert.equal(redactor.startOversized(head).length, head.length)
      for (const piece of pieces.slice(1)) assert.equal(redactor.continueOversized(Buffer.from(piece)).length, piece.length)
    }),
    { numRuns: 3_000 },
  )
})
