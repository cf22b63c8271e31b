/** Goal: a command's environment is what it was, but every mention of a database leads through steno and no credential is left. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { redactedText } from '../../postgres/connection-string.ts'
import { variablesHolding } from './child-environment.ts'
import { BadVariable } from './errors.ts'
import { findMentions, namesDatabase } from './mentions.ts'
import { rewrite } from './test-rewriting.ts'

const home = { HOME: '/nonexistent' }
const folder = mkdtempSync(join(tmpdir(), 'steno-run-'))
after(() => rmSync(folder, { recursive: true }))
const upstreamsOf = (environment: Parameters<typeof rewrite>[0]): string[] =>
  rewrite(environment).upstreams.map(({ settings }) => redactedText(settings))

test('the PG variables lead through steno, and those that only fit the database are gone', () => {
  const { child, upstreams } = rewrite({
    ...home,
    ...{ PGHOST: 'db.example', PGHOSTADDR: '192.0.2.1', PGPORT: '6000', PGUSER: 'shop', PGPASSWORD: 'secret', PGDATABASE: 'sales' },
    ...{ PGSSLMODE: 'verify-full', PGSSLROOTCERT: '/etc/ca.pem', PGSSLCERT: '/c', PGSSLKEY: '/k', PGSSLNEGOTIATION: 'direct' },
    ...{ PGCHANNELBINDING: 'require', PGREQUIREAUTH: 'scram-sha-256', PGTARGETSESSIONATTRS: 'primary', PGPASSFILE: '/nonexistent/pass' },
    ...{ PGAPPNAME: 'agent', PGOPTIONS: '-c search_path=a', PGCONNECT_TIMEOUT: '3', PGTZ: 'UTC' },
    PATH: '/bin',
  })
  assert.deepEqual(child, {
    ...home,
    ...{ PGHOST: '127.0.0.1', PGPORT: '7001', PGUSER: 'shop', PGPASSWORD: 'TOKEN', PGDATABASE: 'sales', PGSSLMODE: 'disable' },
    ...{ PGAPPNAME: 'agent', PGOPTIONS: '-c search_path=a', PGCONNECT_TIMEOUT: '3', PGTZ: 'UTC' },
    PATH: '/bin',
  })
  const [settings] = upstreams.map((upstream) => upstream.settings)
  assert.equal(redactedText(settings!), 'postgresql://shop:***@db.example:6000/sales?sslmode=verify-full')
  assert.equal(settings!.hosts[0]?.address, '192.0.2.1')
  assert.equal(settings!.tls.certificate, '/c')
  // The command asks for these itself.
  assert.deepEqual([settings!.options, settings!.applicationName], [null, null])
})

test('without a user it is the one of the operating system, as libpq has it', () => {
  const { child } = rewrite({ ...home, PGHOST: 'db.example', PGPASSWORD: 'secret' })
  assert.equal(child['PGUSER'], userInfo().username)
})

test('PG variables complete a URL that names no password, and are not a database of their own then', () => {
  const { child, upstreams } = rewrite({
    ...home,
    DATABASE_URL: 'postgresql://shop@db.example/shop',
    PGPASSWORD: 'secret',
    PGSSLMODE: 'require',
  })
  assert.equal(upstreams.length, 1)
  assert.equal(upstreams[0]?.settings.password?.reveal(), 'secret')
  assert.equal(upstreams[0]?.settings.tls.mode, 'require')
  assert.equal(child['DATABASE_URL'], 'postgresql://shop:TOKEN@127.0.0.1:7001/shop?sslmode=disable')
  assert.equal(child['PGPASSWORD'], 'TOKEN')
  assert.equal(child['PGSSLMODE'], 'disable')
})

test('blanks and a line end around a URL are nothing, as drivers have it', () => {
  for (const written of [' postgresql://shop:secret@db.example/sales', 'postgresql://shop:secret@db.example/sales\n']) {
    const { child } = rewrite({ ...home, REPLICA: written, DATABASE_URL: written })
    assert.equal(child['DATABASE_URL'], 'postgresql://shop:TOKEN@127.0.0.1:7001/sales?sslmode=disable')
    assert.doesNotMatch(child['REPLICA'] ?? '', /secret/)
  }
})

test('with a URL alone the PG variables lead to the same database, so that psql needs no argument', () => {
  const { child } = rewrite({ ...home, DATABASE_URL: 'postgresql://shop:secret@db.example/sales' })
  const { PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, PGSSLMODE } = child
  assert.deepEqual([PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, PGSSLMODE], ['127.0.0.1', '7001', 'shop', 'TOKEN', 'sales', 'disable'])
})

test('STENO_UPSTREAM is what DATABASE_URL and the PG variables lead to, in the form they had', () => {
  const upstream = { ...home, STENO_UPSTREAM: 'host=db.example user=shop password=secret dbname=sales' }
  const alone = rewrite(upstream).child
  assert.equal(alone['DATABASE_URL'], 'postgresql://shop:TOKEN@127.0.0.1:7001/sales?sslmode=disable')
  assert.equal(alone['PGDATABASE'], 'sales')
  assert.equal(alone['STENO_UPSTREAM'], undefined)
  const both = rewrite({
    ...upstream,
    DATABASE_URL: 'postgresql+asyncpg://agent:own@other.example/other',
    PGHOST: 'third.example',
    PGUSER: 'third',
  })
  assert.deepEqual(
    both.upstreams.map(({ settings }) => redactedText(settings)),
    ['postgresql://shop:***@db.example:5432/sales?sslmode=prefer'],
  )
  assert.equal(both.child['DATABASE_URL'], 'postgresql+asyncpg://shop:TOKEN@127.0.0.1:7001/sales')
  assert.deepEqual([both.child['PGHOST'], both.child['PGUSER'], both.child['PGDATABASE']], ['127.0.0.1', 'shop', 'sales'])
  const mysql = rewrite({ ...upstream, DATABASE_URL: 'mysql://a:b@c/d' })
  assert.equal(mysql.child['DATABASE_URL'], 'mysql://a:b@c/d')
  assert.equal(mysql.child['PGHOST'], '127.0.0.1')
})

test('several databases have a proxy each, the same one twice has one', () => {
  const { child, upstreams } = rewrite({
    ...home,
    REPLICA_URL: 'postgresql://shop:secret@replica.example/shop',
    DATABASE_URL: 'postgresql://shop:secret@db.example/shop',
    REPORTS_DSN: 'host=db.example user=shop password=secret dbname=shop',
    QUEUE: 'postgres://shop:secret@db.example/queue',
  })
  assert.equal(upstreams.length, 3)
  assert.match(child['DATABASE_URL'] ?? '', /:7001\/shop\?/)
  assert.match(child['REPLICA_URL'] ?? '', /:7002\/shop\?/)
  assert.match(child['REPORTS_DSN'] ?? '', /port=7001 /)
  assert.match(child['QUEUE'] ?? '', /:7003\/queue\?/)
  assert.equal(child['PGPORT'], '7001')
})

test('user and password beside a URL are taken with it', () => {
  const { child, upstreams } = rewrite({
    ...home,
    ...{
      SPRING_DATASOURCE_URL: 'jdbc:postgresql://db.example/shop',
      SPRING_DATASOURCE_USERNAME: 'shop',
      SPRING_DATASOURCE_PASSWORD: 'secret',
    },
  })
  assert.equal(redactedText(upstreams[0]!.settings), 'postgresql://shop:***@db.example:5432/shop?sslmode=prefer')
  assert.equal(child['SPRING_DATASOURCE_URL'], 'jdbc:postgresql://127.0.0.1:7001/shop?sslmode=disable')
  assert.equal(child['SPRING_DATASOURCE_USERNAME'], 'shop')
  assert.equal(child['SPRING_DATASOURCE_PASSWORD'], 'TOKEN')
})

test('a line of the password file is a credential, for its server and user only', () => {
  const file = join(folder, 'passwords')
  writeFileSync(file, 'db.example:5432:*:shop:secret\n', { mode: 0o600 })
  const environment = { ...home, PGPASSFILE: file }
  const fits = rewrite({ ...environment, DATABASE_URL: 'postgresql://shop@db.example/shop' })
  assert.equal(fits.upstreams[0]?.settings.user, 'shop')
  assert.equal(fits.child['PGPASSFILE'], undefined)
  const other = rewrite({ ...environment, DATABASE_URL: 'postgresql://anna@db.example/shop' })
  assert.equal(other.upstreams[0]?.settings.user, null)
})

test('a Unix socket is never passed through: the server would take whoever reaches the proxy for the person who started it', () => {
  for (const environment of [{ PGUSER: 'shop' }, { DATABASE_URL: 'postgresql:///shop' }, { PGHOST: '@abstract' }]) {
    const { upstreams, child } = rewrite({ ...home, ...environment })
    assert.notEqual(upstreams[0]?.settings.user, null)
    assert.equal(child['PGPASSWORD'], 'TOKEN')
  }
})

test('a service is refused with what to do, wherever it is named', () => {
  for (const environment of [{ PGSERVICE: 'shop' }, { PGSERVICE: 'shop', DATABASE_URL: 'postgresql://shop:secret@db.example/shop' }]) {
    assert.throws(
      () => rewrite({ ...home, ...environment }),
      (error) => error instanceof BadVariable && /PGSERVICE/.test(error.message) && /Write the parameters/.test(error.remedy),
    )
  }
})

test('what names no PostgreSQL database is left alone', () => {
  const environment = {
    ...{
      MYSQL_URL: 'mysql://a:b@c/d',
      NOTE: 'see postgresql://shop:secret@db.example/shop for details',
      API_URL: 'https://example.com/?host=x',
    },
    ...{ MSSQL_DSN: 'Server=db;User Id=sa;Password=x', GO_DSN: 'user:secret@tcp(db:3306)/shop?parseTime=true', EMPTY_URL: '' },
    ...{ LABEL: 'host=db.example user=shop', PGHOSTS: '' },
  }
  const { mentions, others } = findMentions(environment)
  assert.deepEqual(mentions, [])
  assert.deepEqual(others, [{ variable: 'MYSQL_URL', scheme: 'mysql' }])
})

test('variables with a credential that steno cannot place are named', () => {
  const environment = { DB_PASSWORD: 'sec', NOTE: 'the password is hunter22', URL: 'x://a:hunter%2022@b', PATH: '/sec/bin', OTHER: 'x' }
  assert.deepEqual(variablesHolding(environment, ['sec', 'hunter22', 'hunter 22']), ['DB_PASSWORD', 'NOTE', 'URL'])
})

test('what bin/steno sets for its own Node is not passed on, what a person set is', () => {
  const database = { ...home, DATABASE_URL: 'postgresql://shop:secret@db.example/shop' }
  const malloc = { MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '131072' }
  const valuesOf = ({ child }: { readonly child: Readonly<Record<string, string | undefined>> }) =>
    ['NODE_COMPILE_CACHE', ...Object.keys(malloc)].map((name) => child[name])
  const own = rewrite({ ...database, NODE_COMPILE_CACHE: '/x/node_modules/.cache/steno', ...malloc })
  assert.deepEqual(valuesOf(own), [undefined, undefined, undefined])
  const theirs = rewrite({ ...database, NODE_COMPILE_CACHE: '/tmp/mine', ...malloc })
  assert.deepEqual(valuesOf(theirs), ['/tmp/mine', '2', '131072'])
})

test('an argument that names a database by itself is noticed', () => {
  for (const argument of ['postgresql://db.example/shop', 'jdbc:postgresql:shop', 'postgresql://a%zz@b'])
    assert.ok(namesDatabase(argument), argument)
  for (const argument of ['--host=db.example', 'select 1', 'https://example.com']) assert.ok(!namesDatabase(argument), argument)
})

test('upstreams are told apart by everything that decides what is reached', () => {
  const url = 'postgresql://shop:secret@db.example/shop'
  for (const other of [
    'postgresql://shop:other@db.example/shop',
    'postgresql://anna:secret@db.example/shop',
    'postgresql://shop:secret@db.example/other',
    'postgresql://shop:secret@db.example/shop?sslmode=require',
    'postgresql://shop:secret@db.example/shop?require_auth=md5',
  ])
    assert.equal(upstreamsOf({ ...home, A_URL: url, B_URL: other }).length, 2, other)
  assert.equal(upstreamsOf({ ...home, A_URL: url, B_URL: `${url}?application_name=x` }).length, 1)
})
