import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createRedactor } from './redactor.ts'
import { bind, frameOf, parse, query, readBind, readQuery, readResponse, response } from './test-frames.ts'

const secret = 'hunter2-Zq9x'

test('parameters of a credential-bearing statement are replaced, NULLs and everything else stay', () => {
  const redactor = createRedactor()
  redactor.frontend(parse('s1', 'select crypt($1, $2), $3'))
  const frame = redactor.frontend(bind('s1', [secret, null, Buffer.from([1, 2, 3, 0])], [0, 0, 1], 'p1'))
  assert.deepEqual(readBind(frame), { portal: 'p1', statement: 's1', formats: [], values: ['[redacted]', null, '[redacted]'] })
  const other = bind('s2', [secret])
  assert.equal(redactor.frontend(other), other)
})

test('the unnamed statement is credential-bearing until the next Parse, a named one until Close', () => {
  const redactor = createRedactor({ mayBeSkipped: () => false })
  const unnamed = bind('', [secret])
  const named = bind('a', [secret])
  redactor.frontend(parse('', 'select password($1)'))
  redactor.frontend(parse('a', 'select password($1)'))
  assert.notEqual(redactor.frontend(unnamed), unnamed)
  redactor.frontend(parse('', 'select $1'))
  redactor.frontend(parse('a', 'select $1'))
  assert.equal(redactor.frontend(unnamed), unnamed)
  assert.notEqual(redactor.frontend(named), named)
  redactor.frontend(frameOf('C', 'Sa\0'))
  assert.equal(redactor.frontend(named), named)
})

test('a Parse or Close that the server may skip or refuse unread takes no mark away', () => {
  let mayBeSkipped = true
  const redactor = createRedactor({ mayBeSkipped: () => mayBeSkipped })
  const unnamed = bind('', [secret])
  const named = bind('a', [secret])
  redactor.frontend(parse('', 'select password($1)'))
  redactor.frontend(parse('a', 'select password($1)'))
  redactor.frontend(parse('', 'select $1'))
  redactor.frontend(frameOf('C', 'Sa\0'))
  assert.notEqual(redactor.frontend(unnamed), unnamed)
  assert.notEqual(redactor.frontend(named), named)
  mayBeSkipped = false
  // Refused before it replaces anything: in no encoding, or with bytes too few.
  for (const refused of [parse('', `select '\xff'`), frameOf('P', '\0select 1\0\0')]) {
    redactor.frontend(refused)
    assert.notEqual(redactor.frontend(unnamed), unnamed)
  }
  redactor.frontend(parse('', 'select $1'))
  assert.equal(redactor.frontend(unnamed), unnamed)
})

test('a Close takes away the mark of its own name only, not of one that is the same in the other case', () => {
  const redactor = createRedactor({ mayBeSkipped: () => false })
  redactor.frontend(parse('a', 'select password($1)'))
  redactor.frontend(parse('A', 'select password($1)'))
  redactor.frontend(frameOf('C', 'SA\0'))
  const frame = bind('a', [secret])
  assert.notEqual(redactor.frontend(frame), frame)
})

test('EXECUTE of a credential-bearing PREPARE is redacted, however its name is written', () => {
  for (const [prepare, execute] of [
    ['PREPARE login(text) AS SELECT crypt($1, password) FROM u', `EXECUTE Login('${secret}')`],
    ['prepare "Lo""gin" as select crypt($1, password)', `explain analyze execute /* c */ "Lo""gin" ('${secret}')`],
  ] as const) {
    const redactor = createRedactor()
    const before = query(execute)
    assert.equal(redactor.frontend(before), before)
    redactor.frontend(query(prepare))
    assert.doesNotMatch(readQuery(redactor.frontend(query(execute))), /hunter/)
    const other = query(`execute other('${secret}')`)
    assert.equal(redactor.frontend(other), other)
  }
})

test('a name is found again beyond ASCII, in the other case and with escapes', () => {
  const bytes = (text: string): string => Buffer.from(text).toString('latin1')
  for (const [name, execute] of [
    ['é', `execute é('${secret}')`],
    ['É', `EXECUTE É('${secret}')`],
    ['abc', `execute U&"\\0061bc"('${secret}')`],
    ['é', `execute u&"\\+0000e9"('${secret}')`],
    ['abc', `execute U&"!0061bc" UESCAPE '!' ('${secret}')`],
    ['ä'.repeat(40), `execute ${'ä'.repeat(40)}('${secret}')`],
  ] as const) {
    for (const prepare of [parse(bytes(name), 'select password($1)'), query(bytes(`prepare "${name}" as select password($1)`))]) {
      const redactor = createRedactor()
      redactor.frontend(prepare)
      assert.doesNotMatch(readQuery(redactor.frontend(query(bytes(execute)))), /hunter/, execute)
      const other = query(bytes(`execute ö('${secret}')`))
      assert.equal(redactor.frontend(other), other)
    }
  }
})

test('a statement that was parsed by protocol is redacted when EXECUTE names it', () => {
  const redactor = createRedactor()
  redactor.frontend(parse('login', 'select crypt($1, password)'))
  assert.doesNotMatch(readQuery(redactor.frontend(query(`execute login('${secret}')`))), /hunter/)
})

test('beyond the names that are kept every Bind counts as one of a credential-bearing statement', () => {
  const redactor = createRedactor()
  for (let number = 0; number <= 1_001; number++) redactor.frontend(parse(`s${number}`, 'select password($1)'))
  const frame = bind('never seen', [secret])
  assert.notEqual(redactor.frontend(frame), frame)
})

const echoes: [string, Buffer, Record<string, string>][] = [
  ['a bare word', query(`ALTER ROLE x PASSWORD ${secret}`), { M: `syntax error at or near "${secret}"`, P: '23' }],
  ['a bare word in lower case', query('SET a.password = Hunter2'), { M: 'column "hunter2" does not exist' }],
  ['a string', query(`ALTER ROLE x PASSWORD 'a b${secret}' x`), { M: `syntax error at or near "'a b${secret}'"` }],
  ['doubled quotes', query(`select dblink('it''s ${secret}')`), { D: `it's ${secret}` }],
  ['escapes', query(`select dblink(E'\\x68unter2-Zq9x')`), { M: `bad "${secret}"` }],
  [
    'an unterminated string',
    query(`ALTER ROLE x PASSWORD 'a ${secret} and more`),
    { M: `unterminated quoted string at or near "'a ${secret} and more"` },
  ],
  [
    'a nested literal',
    query(`do $$ begin execute 'alter role x password ''${secret}'' y'; end $$`),
    { M: 'syntax error', q: `alter role x password '${secret}' y` },
  ],
  [
    'a nested literal of letters only',
    query(`do $$ begin execute 'alter role x password ''hunters'' y'; end $$`),
    { M: 'syntax error at "hunters"' },
  ],
  [
    'a part of a connection string',
    query(`select dblink('host=h password = ${secret} x')`),
    { M: `invalid connection option "${secret}"` },
  ],
  ['a password in a URL', query(`select 'postgres://u:hunter%32-Zq9x@h/db'`), { M: `invalid "${secret}"` }],
  ['a JSON value', query(`select '{"password": "${secret}", }'::json`), { W: `JSON data, line 1: {"password": "${secret}",...` }],
]
for (const [name, frame, fields] of echoes) {
  test(`the server's echo is redacted: ${name}`, () => {
    for (const type of ['E', 'N'] as const) {
      const redactor = createRedactor()
      const answer = response(type, { S: 'ERROR', V: 'ERROR', C: '42601', ...fields })
      assert.equal(redactor.backend(answer), answer)
      redactor.frontend(frame)
      const redacted = readResponse(redactor.backend(answer))
      assert.doesNotMatch(JSON.stringify(redacted), /hunter/i)
      assert.deepEqual([redacted['S'], redacted['C'], redacted['P']], ['ERROR', '42601', fields['P']])
    }
  })
}

test('parameters are remembered for echoes, and a literal that holds another is replaced whole', () => {
  const redactor = createRedactor()
  redactor.frontend(parse('', 'select crypt($1, $2)'))
  redactor.frontend(bind('', [secret, 'hunter2']))
  assert.equal(readResponse(redactor.backend(response('E', { M: `bad "${secret}", "hunter2"` })))['M'], 'bad "[redacted]", "[redacted]"')
})

test('an echo that repeats nothing is the very same frame', () => {
  const redactor = createRedactor()
  redactor.frontend(query(`ALTER ROLE x PASSWORD '${secret}'`))
  const answer = response('E', { S: 'ERROR', M: 'role "x" does not exist' })
  assert.equal(redactor.backend(answer), answer)
})

test('what is remembered stays bounded: of 100,000 literals the newest are found, the oldest forgotten', () => {
  const redactor = createRedactor()
  for (let number = 0; number < 1_000; number++)
    redactor.frontend(query(`select password(${Array.from({ length: 100 }, (_, index) => `'v-${number}-${index}'`).join()})`))
  redactor.frontend(query(`select password('${'long '.repeat(50_000)}${secret}')`))
  assert.equal(readResponse(redactor.backend(response('E', { M: `x "${'long '.repeat(50_000)}${secret}"` })))['M'], 'x "[redacted]')
  assert.doesNotMatch(readResponse(redactor.backend(response('E', { M: '"v-999-99"' })))['M']!, /v-999/)
  assert.match(readResponse(redactor.backend(response('E', { M: '"v-5-5"' })))['M']!, /v-5-5/)
})

// Goal: no bytes of a peer make it throw or break framing. Method: random and mutated frames in both directions.
test('any bytes give a frame of its own stated length', () => {
  const text = fc.array(
    fc.oneof(
      fc.constantFrom('password', `'`, '"', '$$', "E'", '\\', ';', 'execute s', 'prepare s as', '/*', '--', '\0', '=', '(', 'hunter', '\n'),
      fc.string({ unit: 'binary-ascii', maxLength: 3 }),
    ),
    { maxLength: 20 },
  )
  const whole = fc.oneof(
    text.map((parts) => query(parts.join(''))),
    text.map((parts) => parse('s', parts.join(''))),
    text.map((parts) => bind('s', parts, [1])),
    text.map((parts) => response('E', { M: parts.join('') })),
    fc
      .tuple(fc.constantFrom('Q', 'P', 'B', 'E', 'N', 'C', 'F'), fc.uint8Array({ maxLength: 40 }))
      .map(([type, bytes]) => frameOf(type, Buffer.from(bytes))),
  )
  const mutated = fc.tuple(whole, fc.nat(), fc.nat(255)).map(([frame, at, byte]) => {
    const copy = Buffer.from(frame)
    if (copy.length > 5) copy[5 + (at % (copy.length - 5))] = byte
    return copy
  })
  fc.assert(
    fc.property(fc.array(fc.oneof(whole, mutated), { maxLength: 8 }), fc.constantFrom(16, 1_000_000), (frames, heldBytesMax) => {
      const redactor = createRedactor({ heldBytesMax })
      redactor.frontend(parse('s', 'select password($1)'))
      for (const frame of frames) {
        for (const recorded of [redactor.frontend(frame), redactor.backend(frame)]) {
          assert.equal(recorded[0], frame[0])
          assert.equal(recorded.readUInt32BE(1), recorded.length - 1)
        }
      }
    }),
    { numRuns: 5_000 },
  )
})
