/** Goal: a string means what it means to libpq. Method: a table of cases, compared by hand with PQconninfoParse of libpq 15 and the documentation of 18. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { KnownError } from '../base/errors.ts'
import { splitConnectionString } from './connection-string-text.ts'
import { BadConnectionString, parseConnectionString, redactedText } from './connection-string.ts'

const assigned = (text: string): Record<string, string> =>
  Object.fromEntries(splitConnectionString(text).map(({ keyword, value }) => [keyword, value]))

const texts: [string, Record<string, string>][] = [
  ['', {}],
  ['  ', {}],
  ['postgresql://', {}],
  ['postgres://localhost', { host: 'localhost' }],
  ['postgresql://localhost:5433', { host: 'localhost', port: '5433' }],
  ['postgresql://user:secret@localhost/db', { user: 'user', password: 'secret', host: 'localhost', dbname: 'db' }],
  [
    'postgresql://host1:123,host2:456/db?target_session_attrs=any',
    { host: 'host1,host2', port: '123,456', dbname: 'db', target_session_attrs: 'any' },
  ],
  ['postgresql://h1,h2:6,[::1]:7/db', { host: 'h1,h2,::1', port: ',6,7', dbname: 'db' }],
  ['postgresql://[2001:db8::1234]/database', { host: '2001:db8::1234', dbname: 'database' }],
  ['postgresql://%2Fvar%2Flib%2Fpostgresql/dbname', { host: '/var/lib/postgresql', dbname: 'dbname' }],
  ['postgresql:///dbname?host=/var/lib/postgresql', { dbname: 'dbname', host: '/var/lib/postgresql' }],
  ['postgresql://h/db?options=-c%20synchronous_commit%3Doff', { host: 'h', dbname: 'db', options: '-c synchronous_commit=off' }],
  ['postgresql://h?ssl=true', { host: 'h', sslmode: 'require' }],
  ['postgresql://u:p%40s%3As@h/', { user: 'u', password: 'p@s:s', host: 'h' }],
  ['postgresql://u:@h/d', { user: 'u', host: 'h', dbname: 'd' }],
  ['postgresql://u:a?b@h/d', { user: 'u', password: 'a?b', host: 'h', dbname: 'd' }],
  ['postgresql://h/d?host=other', { host: 'other', dbname: 'd' }],
  ['host = a  port= 1', { host: 'a', port: '1' }],
  ["host='a b' password='it\\'s' user=x\\ y", { host: 'a b', password: "it's", user: 'x y' }],
  ["dbname='' user=u", { dbname: '', user: 'u' }],
  ['user=a\\\\b', { user: 'a\\b' }],
  ['user=a password=  dbname=x', { user: 'a', password: 'dbname=x' }],
]
for (const [text, expected] of texts) test(`is taken apart as libpq does: ${text}`, () => assert.deepEqual(assigned(text), expected))

const refusals: [string, string | null][] = [
  ['postgresql://h?ssl=false', 'ssl'],
  ['postgresql://h?user', null],
  ['postgresql://h?user=a=b', null],
  ['postgresql://h?nope=1', 'nope'],
  ['host=a nope=b', 'nope'],
  ['postgresql://[::1', 'host'],
  ['postgresql://[]/d', 'host'],
  ['postgresql://[::1]x/d', 'host'],
  ['postgresql://u%zz@h', 'user'],
  ['postgresql://u%00@h', 'user'],
  ['postgresql://u%ff@h', 'user'],
  ['postgresql://a b@h', 'user'],
  ['mysql://h', null],
  ['host', null],
  ["password='x", null],
  ['host=a port=0', 'port'],
  ['host=a port=65536', 'port'],
  ['host=a port=12x', 'port'],
  ['host=a,b port=1,2,3', 'port'],
  ['host=a,b hostaddr=1.1.1.1', 'hostaddr'],
  ['host=a sslmode=verify_full', 'sslmode'],
  ['host=a sslmode=', 'sslmode'],
  ['host=a sslrootcert=system sslmode=require', 'sslmode'],
  ['host=a sslnegotiation=direct', 'sslmode'],
  ['host=a sslkey=pkcs11:x', 'sslkey'],
  ['host=a sslcertmode=require', 'sslcertmode'],
  ['host=a ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2', 'ssl_min_protocol_version'],
  ['host=a channel_binding=yes', 'channel_binding'],
  ['host=a require_auth=scram-sha-256,!md5', 'require_auth'],
  ['host=a require_auth=md5,md5', 'require_auth'],
  ['host=a require_auth=ldap', 'require_auth'],
  ['host=a target_session_attrs=master', 'target_session_attrs'],
  ['host=a load_balance_hosts=yes', 'load_balance_hosts'],
  ['host=a connect_timeout=soon', 'connect_timeout'],
  ['host=a gssencmode=require', 'gssencmode'],
  ['host=a service=prod', 'service'],
  ['host=a requirepeer=postgres', 'requirepeer'],
  ['host=a replication=database', 'replication'],
  ['host=a oauth_issuer=x', 'oauth_issuer'],
  ['host=a min_protocol_version=3.2 max_protocol_version=3.0', 'min_protocol_version'],
  ['host=a password=x', 'user'],
]
for (const [text, parameter] of refusals) {
  test(`is refused and the parameter named: ${text}`, () => {
    assert.throws(
      () => parseConnectionString(text),
      (error) =>
        error instanceof BadConnectionString &&
        error.parameter === parameter &&
        error.remedy !== '' &&
        (parameter === null || error.message.includes(parameter)),
    )
  })
}

test('what is not said has the documented default', () => {
  const settings = parseConnectionString('postgresql://db')
  assert.deepEqual(settings.hosts, [{ name: 'db', address: null, port: 5432 }])
  assert.equal(settings.user, null)
  assert.equal(settings.tls.mode, 'prefer')
  assert.equal(settings.connectTimeoutMilliseconds, 10_000)
  assert.equal(settings.channelBinding, 'prefer')
  assert.deepEqual(settings.protocolMinor, { wanted: 0, least: 0 })
  assert.equal(settings.tls.defaultFolder, null)
})

test('hosts, addresses and ports are matched one to one', () => {
  const hosts = (text: string) => parseConnectionString(text).hosts.map(({ name, address, port }) => `${name}|${address}|${port}`)
  assert.deepEqual(hosts('host=a,b port=1,'), ['a|null|1', 'b|null|5432'])
  assert.deepEqual(hosts('host=a,b port=7'), ['a|null|7', 'b|null|7'])
  assert.deepEqual(hosts('hostaddr=1.1.1.1,::1'), ['|1.1.1.1|5432', '|::1|5432'])
  assert.deepEqual(hosts('host=a,b hostaddr=,1.1.1.1'), ['a|null|5432', 'b|1.1.1.1|5432'])
  assert.deepEqual(hosts('dbname=x port=1'), ['/var/run/postgresql|null|1', '/tmp|null|1'])
})

test('the environment fills in what the string leaves out, but never the user', () => {
  const environment = { PGHOST: 'e', PGPORT: '99', PGUSER: 'somebody', PGPASSWORD: 'pw', PGSSLMODE: 'require', HOME: '/home/me' }
  const settings = parseConnectionString('host=a', environment)
  assert.deepEqual(settings.hosts, [{ name: 'a', address: null, port: 99 }])
  assert.equal(settings.user, null)
  assert.equal(settings.password?.reveal(), 'pw')
  assert.equal(settings.tls.mode, 'require')
  assert.equal(settings.tls.defaultFolder, '/home/me/.postgresql')
  assert.equal(settings.passwordFile, '/home/me/.pgpass')
  assert.throws(() => parseConnectionString('host=a', { PGSERVICE: 'x' }), BadConnectionString)
})

test('the meaning of parameters that interact', () => {
  assert.equal(parseConnectionString('host=a sslrootcert=system').tls.mode, 'verify-full')
  assert.deepEqual([...parseConnectionString('host=a require_auth=scram-sha-256,none').allowedAuthentication!], ['scram-sha-256', 'none'])
  assert.deepEqual(
    [...parseConnectionString('host=a require_auth=!password,!md5').allowedAuthentication!],
    ['gss', 'sspi', 'scram-sha-256', 'oauth', 'none'],
  )
  assert.deepEqual(parseConnectionString('host=a max_protocol_version=latest').protocolMinor, { wanted: 2, least: 0 })
  assert.deepEqual(parseConnectionString('host=a min_protocol_version=3.2').protocolMinor, { wanted: 2, least: 2 })
  assert.equal(parseConnectionString('host=a connect_timeout=0').connectTimeoutMilliseconds, 0)
  assert.equal(parseConnectionString('host=a client_encoding=auto').clientEncoding, null)
  assert.deepEqual(
    parseConnectionString('host=a tcp_user_timeout=5 krbsrvname=x').withoutEffect.map(({ parameter }) => parameter),
    ['tcp_user_timeout', 'krbsrvname'],
  )
})

// Goal: no slip of quoting or encoding shows a password. Method: put one, unquoted and unencoded, wherever one can stand.
test('no error, log text or dump holds the password or a piece of it', () => {
  const piece = fc.stringMatching(/^[q-z]{6,12}$/)
  const separator = fc.constantFrom(' ', '/', '@', ':', '?', '&', '=', "'", '\\', '%', '#', ',', ' =', '[')
  fc.assert(
    fc.property(piece, separator, piece, separator, piece, (first, one, second, two, third) => {
      const password = first + one + second + two + third
      const shapes = [
        `postgresql://user:${password}@host/db?nope=1`,
        `postgresql://user:${password}@host/db`,
        `postgresql://user@host/db?password=${password}&sslmode=no`,
        `user=me password=${password} host=h`,
        `user=me password='${password}' nope=1`,
        `password=${password}`,
      ]
      for (const text of shapes) {
        let shown: string
        try {
          const settings = parseConnectionString(text)
          // The user, host and database are not secret; a password that was not encoded may have become one of them.
          if (settings.password?.reveal() !== password) continue
          shown = redactedText(settings) + JSON.stringify(settings) + inspect(settings, { depth: 9 }) + String(settings.password)
        } catch (error) {
          assert.ok(error instanceof KnownError)
          shown = error.message + error.remedy
        }
        for (const secret of [first, second, third]) assert.ok(!shown.includes(secret), `${text} shows ${secret}: ${shown}`)
      }
    }),
    { numRuns: 500 },
  )
})

test('the text for logs says where to and as whom', () => {
  assert.equal(
    redactedText(parseConnectionString('postgresql://me:pw@[::1]:1,b/d%2Fb?sslmode=require')),
    'postgresql://me:***@[::1]:1,b:5432/d%2Fb?sslmode=require',
  )
  assert.equal(redactedText(parseConnectionString('host=/run/pg dbname=x')), 'postgresql://%2Frun%2Fpg:5432/x?sslmode=prefer')
})

test('any text gives settings or a known error', () => {
  const words = fc.constantFrom(
    'postgresql://',
    'host',
    '=',
    ' ',
    "'",
    '\\',
    '/',
    '?',
    '&',
    '@',
    ':',
    '[',
    ']',
    ',',
    '%',
    '%41',
    'port',
    '5432',
    'sslmode',
    'require',
    'a',
    '\0',
    'é',
    '__proto__',
    'constructor',
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.array(words).map((list) => list.join('')),
        fc.string(),
      ),
      (text) => {
        try {
          parseConnectionString(text)
        } catch (error) {
          assert.ok(error instanceof BadConnectionString, String(error))
        }
      },
    ),
    { numRuns: 3000 },
  )
})
