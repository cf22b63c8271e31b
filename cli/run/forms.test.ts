/**
 * Goal: whatever form a variable has, steno reaches the database that it names, and the command gets the same form, led through steno.
 * Method: a table of forms; for each what the upstream's connection string says and what the command's variable becomes. Properties
 * over generated credentials, which no form may leave behind.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { redactedText } from '../../postgres/connection-string.ts'
import { BadVariable } from './errors.ts'
import { rewrite } from './test-rewriting.ts'

/** Nobody's home, so that no password file of this machine counts. */
const home = { HOME: '/nonexistent' }

const forms: readonly { readonly given: string; readonly upstream: string; readonly child: string }[] = [
  {
    given: 'postgres://shop:secret@db.example/shop',
    upstream: 'postgresql://shop:***@db.example:5432/shop?sslmode=prefer',
    child: 'postgres://shop:TOKEN@127.0.0.1:7001/shop?sslmode=disable',
  },
  {
    given: 'postgresql://shop:s%40cr%2Fet@db.example:6000/my%20shop?sslmode=verify-full&sslrootcert=/etc/ca.pem&application_name=agent',
    upstream: 'postgresql://shop:***@db.example:6000/my%20shop?sslmode=verify-full',
    child: 'postgresql://shop:TOKEN@127.0.0.1:7001/my%20shop?application_name=agent&sslmode=disable',
  },
  {
    given: 'postgresql://shop:secret@[2001:db8::1]:6000/shop?connect_timeout=3&options=-c%20search_path%3Da,b',
    upstream: 'postgresql://shop:***@[2001:db8::1]:6000/shop?sslmode=prefer',
    child: 'postgresql://shop:TOKEN@127.0.0.1:7001/shop?connect_timeout=3&options=-c%20search_path%3Da,b&sslmode=disable',
  },
  {
    given: 'postgresql://shop:secret@a.example:6000,b.example:6001/shop?target_session_attrs=read-write',
    upstream: 'postgresql://shop:***@a.example:6000,b.example:6001/shop?sslmode=prefer',
    child: 'postgresql://shop:TOKEN@127.0.0.1:7001/shop?sslmode=disable',
  },
  {
    given: 'postgresql:///shop?host=/var/run/postgresql&user=shop',
    upstream: 'postgresql://shop@%2Fvar%2Frun%2Fpostgresql:5432/shop?sslmode=prefer',
    child: 'postgresql://shop:TOKEN@127.0.0.1:7001/shop?sslmode=disable',
  },
  {
    given: 'postgresql://%2Fvar%2Frun%2Fpostgresql/shop?user=shop&password=secret',
    upstream: 'postgresql://shop:***@%2Fvar%2Frun%2Fpostgresql:5432/shop?sslmode=prefer',
    child: 'postgresql://shop:TOKEN@127.0.0.1:7001/shop?sslmode=disable',
  },
  {
    given: 'postgresql+asyncpg://shop:secret@db.example/shop?ssl=require&prepared_statement_cache_size=0',
    upstream: 'postgresql://shop:***@db.example:5432/shop?sslmode=require',
    child: 'postgresql+asyncpg://shop:TOKEN@127.0.0.1:7001/shop?prepared_statement_cache_size=0&ssl=disable',
  },
  {
    given: 'postgresql+asyncpg://shop:secret@db.example/shop',
    upstream: 'postgresql://shop:***@db.example:5432/shop?sslmode=prefer',
    child: 'postgresql+asyncpg://shop:TOKEN@127.0.0.1:7001/shop',
  },
  {
    given: 'postgresql+psycopg://shop:secret@db.example/shop?sslmode=require&channel_binding=require&sslnegotiation=direct',
    upstream: 'postgresql://shop:***@db.example:5432/shop?sslmode=require',
    child: 'postgresql+psycopg://shop:TOKEN@127.0.0.1:7001/shop?sslmode=disable',
  },
  {
    given: 'postgresql+psycopg2://shop:secret@/shop?host=a.example:6000&host=b.example:6001',
    upstream: 'postgresql://shop:***@a.example:6000,b.example:6001/shop?sslmode=prefer',
    child: 'postgresql+psycopg2://shop:TOKEN@127.0.0.1:7001/shop?sslmode=disable',
  },
  {
    given: 'postgresql+pg8000://shop:secret@db.example/shop',
    upstream: 'postgresql://shop:***@db.example:5432/shop?sslmode=prefer',
    child: 'postgresql+pg8000://shop:TOKEN@127.0.0.1:7001/shop',
  },
  {
    given: 'postgres+psycopg://shop:secret@db.example/shop#fragment',
    upstream: 'postgresql://shop:***@db.example:5432/shop?sslmode=prefer',
    child: 'postgres+psycopg://shop:TOKEN@127.0.0.1:7001/shop?sslmode=disable#fragment',
  },
  {
    // Not percent-encoded, as many write it.
    given: 'postgresql://shop:s@cret@db.example/shop',
    upstream: 'postgresql://shop:***@db.example:5432/shop?sslmode=prefer',
    child: 'postgresql://shop:TOKEN@127.0.0.1:7001/shop?sslmode=disable',
  },
  {
    given: 'postgis://shop:secret@db.example/shop',
    upstream: 'postgresql://shop:***@db.example:5432/shop?sslmode=prefer',
    child: 'postgis://shop:TOKEN@127.0.0.1:7001/shop?sslmode=disable',
  },
  {
    // Prisma's own parameters are not libpq's.
    given: 'postgresql://shop:secret@db.example/shop?schema=public&connection_limit=5&sslmode=require',
    upstream: 'postgresql://shop:***@db.example:5432/shop?sslmode=require',
    child: 'postgresql://shop:TOKEN@127.0.0.1:7001/shop?schema=public&connection_limit=5&sslmode=disable',
  },
  {
    // The npm package pg's.
    given: 'postgres://shop:secret@db.example/shop?sslmode=no-verify',
    upstream: 'postgresql://shop:***@db.example:5432/shop?sslmode=require',
    child: 'postgres://shop:TOKEN@127.0.0.1:7001/shop?sslmode=disable',
  },
  {
    given: 'postgres://shop:secret@db.example/shop?ssl=true',
    upstream: 'postgresql://shop:***@db.example:5432/shop?sslmode=require',
    child: 'postgres://shop:TOKEN@127.0.0.1:7001/shop?sslmode=disable',
  },
  {
    given: 'jdbc:postgresql://db.example:6000/shop?user=shop&password=s%26cret&ssl=true&currentSchema=sales&ApplicationName=agent',
    upstream: 'postgresql://shop:***@db.example:6000/shop?sslmode=verify-full',
    child: 'jdbc:postgresql://127.0.0.1:7001/shop?user=shop&password=TOKEN&currentSchema=sales&ApplicationName=agent&sslmode=disable',
  },
  {
    given: 'jdbc:postgresql://a.example,b.example:6001/shop?user=shop&password=secret&targetServerType=primary&loadBalanceHosts=true',
    upstream: 'postgresql://shop:***@a.example:5432,b.example:6001/shop?sslmode=prefer',
    child: 'jdbc:postgresql://127.0.0.1:7001/shop?user=shop&password=TOKEN&sslmode=disable',
  },
  {
    given: 'jdbc:postgresql:shop?user=shop&password=secret',
    upstream: 'postgresql://shop:***@localhost:5432/shop?sslmode=prefer',
    child: 'jdbc:postgresql://127.0.0.1:7001/shop?user=shop&password=TOKEN&sslmode=disable',
  },
  {
    given: 'r2dbc:postgresql://shop:secret@db.example/shop?sslMode=require&schema=sales',
    upstream: 'postgresql://shop:***@db.example:5432/shop?sslmode=require',
    child: 'r2dbc:postgresql://shop:TOKEN@127.0.0.1:7001/shop?schema=sales&sslMode=disable',
  },
  {
    given: 'host=db.example port=6000 dbname=shop user=shop password=secret sslmode=verify-full sslrootcert=system',
    upstream: 'postgresql://shop:***@db.example:6000/shop?sslmode=verify-full',
    child: 'host=127.0.0.1 port=7001 user=shop password=TOKEN dbname=shop sslmode=disable',
  },
  {
    // As Go's gorm has it: TimeZone is the driver's.
    given: "user=shop password='s \\'ecret' host=db.example dbname='my shop' TimeZone=Europe/Riga application_name=agent",
    upstream: 'postgresql://shop:***@db.example:5432/my%20shop?sslmode=prefer',
    child: "host=127.0.0.1 port=7001 user=shop password=TOKEN dbname='my shop' TimeZone=Europe/Riga application_name=agent sslmode=disable",
  },
]

for (const { given, upstream, child } of forms) {
  test(`a variable keeps its form and leads through steno: ${given}`, () => {
    const made = rewrite({ ...home, DATABASE_URL: given })
    assert.deepEqual(
      made.upstreams.map(({ settings }) => redactedText(settings)),
      [upstream],
    )
    assert.equal(made.child['DATABASE_URL'], child)
  })
}

test('a form that names no credential is for the command to sign in with, and keeps its user', () => {
  for (const [given, child] of [
    ['postgresql://shop@db.example/shop', 'postgresql://shop@127.0.0.1:7001/shop?sslmode=disable'],
    ['postgresql://db.example', 'postgresql://127.0.0.1:7001?sslmode=disable'],
    ['jdbc:postgresql://db.example/shop?user=shop', 'jdbc:postgresql://127.0.0.1:7001/shop?user=shop&sslmode=disable'],
    ['host=db.example user=shop', 'host=127.0.0.1 port=7001 user=shop sslmode=disable'],
  ] as const) {
    const made = rewrite({ ...home, DATABASE_URL: given })
    assert.equal(made.upstreams[0]?.settings.user, null, given)
    assert.equal(made.child['DATABASE_URL'], child)
  }
})

test('a form that no reader can tell apart is refused, and the error repeats nothing of it', () => {
  for (const given of [
    'postgresql://shop:sec/ret@db.example/shop',
    'postgresql://shop:sec%ret@db.example/shop',
    'postgresql://shop:secret@[::1/shop',
    'postgresql://shop:secret@db.example:port/shop',
    'postgresql://shop:secret@db.example/shop?service=theirs',
    'postgresql://shop:secret@db.example/shop?sslmode=secret',
    "host=db.example password='secret",
  ]) {
    assert.throws(
      () => rewrite({ ...home, DATABASE_URL: given }),
      (error) => {
        assert.ok(error instanceof BadVariable, String(error))
        assert.match(error.message, /^DATABASE_URL cannot be used: /)
        assert.doesNotMatch(`${error.message} ${error.remedy}`, /sec.?ret/, given)
        return true
      },
    )
  }
})

test('no password is left in any form, and each comes to the upstream as it was meant', () => {
  const writers: readonly ((user: string, password: string) => string)[] = [
    (user, password) => `postgresql://${encodeURIComponent(user)}:${encodeURIComponent(password)}@db.example/shop?sslmode=require`,
    (user, password) => `postgresql://db.example/shop?user=${encodeURIComponent(user)}&password=${encodeURIComponent(password)}`,
    (user, password) => `jdbc:postgresql://db.example/shop?user=${encodeURIComponent(user)}&password=${encodeURIComponent(password)}`,
    (user, password) => `host=db.example user='${user.replace(/[\\']/g, '\\$&')}' password='${password.replace(/[\\']/g, '\\$&')}'`,
  ]
  const text = fc.string({ minLength: 1, unit: 'grapheme' }).filter((value) => !/[\0\s]/.test(value))
  fc.assert(
    fc.property(text, text, fc.constantFrom(...writers), (user, end, write) => {
      const password = `hidden${end}`
      const { child, upstreams } = rewrite({ ...home, DATABASE_URL: write(user, password) })
      assert.equal(upstreams[0]?.settings.user, user)
      assert.equal(upstreams[0]?.settings.password?.reveal(), password)
      assert.ok(!Object.values(child).some((value) => value.includes('hidden')))
      // What was made is a form of the same kind, for the same user.
      const again = rewrite({ ...home, DATABASE_URL: child['DATABASE_URL'] })
      assert.equal(again.upstreams[0]?.settings.user, user)
      assert.equal(again.upstreams[0]?.settings.password?.reveal(), 'TOKEN')
      assert.deepEqual(
        again.upstreams[0]?.settings.hosts.map(({ name, port }) => `${name}:${port}`),
        ['127.0.0.1:7001'],
      )
    }),
  )
})

test('whatever a variable holds, it is read, left alone or refused with an error that is known', () => {
  const piece = fc.constantFrom(
    'postgresql://',
    'jdbc:postgresql:',
    'host=',
    "'",
    '@',
    ':',
    '/',
    '?',
    '&',
    '=',
    '%',
    ' ',
    ',',
    '[',
    ']',
    'a',
    '\\',
  )
  fc.assert(
    fc.property(fc.array(fc.oneof(piece, fc.string({ maxLength: 3 }))), (pieces) => {
      try {
        rewrite({ ...home, DATABASE_URL: pieces.join(''), PGHOST: 'db.example' })
      } catch (error) {
        assert.ok(error instanceof BadVariable, String(error))
      }
    }),
    { numRuns: 500 },
  )
})
