import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { redactSql } from './redact-sql.ts'
import { createRedactor } from './redactor.ts'
import { bearing, ordinary, secret } from './test-statements.ts'
import { parse, query, readParse, readQuery } from './test-frames.ts'

for (const sql of bearing) {
  test(`nothing of the secret is left of ${JSON.stringify(sql).slice(0, 120)}`, () => {
    assert.ok(sql.includes(secret))
    const redactor = createRedactor()
    const ofQuery = readQuery(redactor.frontend(query(sql)))
    const ofParse = readParse(redactor.frontend(parse('s', sql, [23, 25])))
    for (const text of [ofQuery, ofParse.sql, redactSql(sql)]) {
      assert.doesNotMatch(text, /hunter|Zq9x/i)
      assert.match(text, /\[redacted\]/)
    }
    assert.deepEqual([ofParse.name, ofParse.types], ['s', [23, 25]])
    assert.ok(redactor.isActive())
  })
}
for (const sql of ordinary) {
  test(`the very same frame is given for ${JSON.stringify(sql)}`, () => {
    const redactor = createRedactor()
    for (const frame of [query(sql), parse('', sql, [1])]) assert.equal(redactor.frontend(frame), frame)
    assert.equal(redactSql(sql), sql)
    assert.equal(redactor.isActive(), false)
  })
}

test('statements beside a credential-bearing one stay, and its names and parameters stay readable', () => {
  assert.equal(
    redactSql(`select 'kept'; update "u" set password = 'x', n = 12 where id = $1 and c = 12345; select 'kept too'`),
    `select 'kept'; update "u" set password = '[redacted]', n = 12 where id = $1 and c = '[redacted]'; select 'kept too'`,
  )
  assert.equal(
    redactSql('insert into "u" ("password", a) values ("hunter", "b"."c")'),
    `insert into "u" ("password", a) values ('[redacted]', "b"."c")`,
  )
  assert.equal(
    redactSql('create table u(password text not null, a varchar(255))'),
    'create table u(password text not null, a varchar(255))',
  )
})

test('what a role may do stays readable behind its password, and a password that is no string takes all that follows with it', () => {
  for (const [sql, redacted] of [
    [
      `create role bob superuser password 'x' valid until 'infinity' connection limit 3 in role readers, "writers"; select 'kept'`,
      `create role bob superuser password '[redacted]' valid until '[redacted]' connection limit 3 in role readers, "writers"; select 'kept'`,
    ],
    [`alter role bob password null nologin`, `alter role bob password null nologin`],
    [`alter role bob password $1`, `alter role bob password $1`],
    [`create role bob password correct horse superuser; select a`, `create role bob password '[redacted]'; select a`],
    [`create user bob identified by (a b), c`, `create user bob identified by '[redacted]'`],
    [`update u set password = $1, role = editor where id = 5`, `update u set password = $1, role = editor where id = 5`],
    [`grant select (password) on users to bob`, `grant select (password) on users to bob`],
  ] as const)
    assert.equal(redactSql(sql), redacted)
})

// Goal: no mix of quoting, comments and statements around a literal lets it through. Method: place it at random in every quoting style.
test('a secret in any quoting style among any other text is redacted', () => {
  const style = fc.constantFrom<(text: string) => string>(
    (text) => `'${text}'`,
    (text) => `E'${text}'`,
    (text) => `e'\\'${text}\\\\'`,
    (text) => `U&'\\0041${text}'`,
    (text) => `$$${text}$$`,
    (text) => `$q$'${text}$q$`,
    (text) => `'''${text}'''`,
    (text) => `'x'\n'${text}'`,
    (text) => `/* ' ${text} */`,
    (text) => `'${text}`,
    (text) => `$z$${text}`,
  )
  const noise = fc.constantFrom(
    ' ',
    ' /* ; */ ',
    ' -- x\n',
    ', ',
    ' || ',
    ' ( ',
    ' ) ',
    ` 'ok' `,
    ' $1 ',
    ` "a""b" `,
    ' $$ ; $$ ',
    ` 'a\\' `,
    ` E'\\'' `,
    '; ',
  )
  const trigger = fc.constantFrom('password', 'DBLINK', ' Secret ', '"pwd"', '/* passphrase */', `'conninfo'`, 'crypt(')
  fc.assert(
    fc.property(
      fc.array(noise, { maxLength: 4 }),
      trigger,
      fc.array(noise, { maxLength: 4 }),
      style,
      fc.array(noise, { maxLength: 4 }),
      (before, word, between, quote, after) => {
        // Between trigger and secret no statement may end, or the secret is another statement's.
        const gap = between.filter((text) => !text.includes(';'))
        const sql = `select ${before.join('')} ${word} ${gap.join('')} ${quote(secret)} ${after.join('')}`
        assert.doesNotMatch(readQuery(createRedactor().frontend(query(sql))), /hunter/, sql)
      },
    ),
    { numRuns: 5_000 },
  )
})
