// Goal: whatever form a credential moved here in, the agent reaches its database without one, and what it says is recorded as whose pod it
// was. Method: the sidecar as a process with the environment that the webhook writes, over a real PostgreSQL with TLS and SCRAM.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import pg from 'pg'
import type { Listener } from '../../crds/sidecar-config.ts'
import { freePort } from '../../tools/free-port.ts'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { assertVerified, readRecorded } from '../nothing-lost/recorded.ts'
import { connectRemembering, ConnectionEnded, firstColumn } from '../nothing-lost/remembering-client.ts'
import { encodeQuery, sendRawCancel, startRawSession } from '../support/raw-client.ts'
import { listenerFor, startSidecar, testPolicy } from './sidecar-process.ts'

let database: EmbeddedPostgres
let ca: string
before(async () => {
  database = await startPostgres({ tls: true })
  ca = readFileSync(database.certificates!.ca, 'utf8')
  for (const sql of ['create database shop', 'create database stock', 'create database payroll']) await database.query(sql)
  await database.query("create user orders password 'orders-of-May'")
  await database.query("create user audit password 'audit/of@June'")
})
after(() => database.stop())

const verifyFull = { mode: 'verify-full', caVariable: 'STENO_CA_0' } as const

test(
  'a URL that moved here from the agent: signed in by SCRAM over verified TLS, recorded as the pod and its policy',
  { timeout: 300_000 },
  async (t) => {
    const localPort = await freePort()
    const sidecar = await startSidecar(t, {
      listeners: [listenerFor(0, { localPort, port: database.port, databaseNames: ['shop'], tls: verifyFull })],
      variables: { STENO_SOURCE_0_DATABASE_URL: `postgresql://orders:orders-of-May@127.0.0.1:${database.port}/shop`, STENO_CA_0: ca },
    })
    const client = await connectRemembering(localPort, 'agent', { user: 'agent', database: 'shop' })
    assert.deepEqual(firstColumn(await client.query('select current_user')), ['orders'])
    assert.deepEqual(firstColumn(await client.query('select ssl from pg_stat_ssl where pid = pg_backend_pid()')), ['t'])
    await client.end()
    assert.equal(await sidecar.stop(), 0)
    await assertVerified(sidecar.storeFolder, sidecar.spoolFolder)
    const { identity, backend } = (await readRecorded(sidecar.storeFolder)).get('agent')!
    assert.ok(backend.equals(client.received()))
    assert.deepEqual(identity.policy, { name: 'shop/orders,ClusterSessionPolicy/floor', hash: testPolicy.hash })
    assert.deepEqual(identity.attested, {
      podName: 'agent-0',
      podNamespace: 'shop',
      podUid: 'uid-agent-0',
      serviceAccount: 'agent',
      nodeName: 'node-1',
    })
    assert.match(identity.upstream.tls ?? '', /^TLSv1\.3/)
    assert.deepEqual([identity.mode, identity.user, identity.database], ['custody', 'orders', 'shop'])
    assert.match(sidecar.stdout(), /select current_user/, 'the live view is what the pod logs')
    for (const line of sidecar.stderr().trim().split('\n')) assert.doesNotThrow(() => JSON.parse(line), 'the log is JSON')
  },
)

for (const [form, written] of [
  ['postgres://', (port: number) => `postgres://orders:orders-of-May@127.0.0.1:${port}/shop?sslmode=verify-full`],
  ['SQLAlchemy', (port: number) => `postgresql+asyncpg://orders:orders-of-May@127.0.0.1:${port}/shop`],
  ['JDBC', (port: number) => `jdbc:postgresql://127.0.0.1:${port}/shop?user=orders&password=orders-of-May`],
  ['keywords', (port: number) => `host=127.0.0.1 port=${port} dbname=shop user=orders password='orders-of-May'`],
  ['several hosts', (port: number) => `postgresql://orders:orders-of-May@127.0.0.1:${port},127.0.0.1:${port}/shop`],
  ['a line break behind it', (port: number) => `postgresql://orders:orders-of-May@127.0.0.1:${port}/shop\n`],
  ['no database', (port: number) => `postgresql://orders:orders-of-May@127.0.0.1:${port}`],
] as const) {
  test(`a connection in the form that drivers write leads to the database: ${form}`, { timeout: 300_000 }, async (t) => {
    const localPort = await freePort()
    const sidecar = await startSidecar(t, {
      listeners: [listenerFor(0, { localPort, port: database.port, databaseNames: ['shop'], tls: verifyFull })],
      variables: { STENO_SOURCE_0_DATABASE_URL: written(database.port), STENO_CA_0: ca },
    })
    const client = new pg.Client({ connectionString: `postgresql://agent@127.0.0.1:${localPort}/shop` })
    await client.connect()
    assert.deepEqual((await client.query('select current_user, current_database()')).rows, [
      { current_user: 'orders', current_database: 'shop' },
    ])
    await client.end()
    assert.equal(await sidecar.stop(), 0)
  })
}

test('parts of a connection in variables of their own lead to the database', { timeout: 300_000 }, async (t) => {
  const localPort = await freePort()
  const parts = { host: 'PGHOST', port: 'PGPORT', user: 'PGUSER', password: 'PGPASSWORD', database: 'PGDATABASE' }
  const listener: Listener = {
    ...listenerFor(0, { localPort, port: database.port, databaseNames: ['shop'], tls: verifyFull }),
    source: { kind: 'libpq', variables: Object.fromEntries(Object.entries(parts).map(([part, name]) => [part, `STENO_SOURCE_0_${name}`])) },
  }
  const sidecar = await startSidecar(t, {
    listeners: [listener],
    variables: {
      STENO_SOURCE_0_PGHOST: '127.0.0.1',
      STENO_SOURCE_0_PGPORT: String(database.port),
      STENO_SOURCE_0_PGUSER: 'audit',
      STENO_SOURCE_0_PGPASSWORD: 'audit/of@June',
      STENO_SOURCE_0_PGDATABASE: 'shop',
      STENO_CA_0: ca,
    },
  })
  const client = await connectRemembering(localPort, 'agent', { user: 'agent', database: 'shop' })
  assert.deepEqual(firstColumn(await client.query('select current_user')), ['audit'])
  await client.end()
  assert.equal(await sidecar.stop(), 0)
})

test('two listeners to one database keep their users, databases and cancel keys apart, in one spool', { timeout: 300_000 }, async (t) => {
  const ports = [await freePort(), await freePort()] as const
  const sidecar = await startSidecar(t, {
    listeners: [
      listenerFor(0, { localPort: ports[0], port: database.port, databaseNames: ['shop', 'stock'], tls: verifyFull }),
      listenerFor(1, { localPort: ports[1], port: database.port, databaseNames: ['payroll'], tls: verifyFull }),
    ],
    variables: {
      STENO_SOURCE_0_DATABASE_URL: `postgresql://orders:orders-of-May@127.0.0.1:${database.port}/shop`,
      STENO_SOURCE_1_DATABASE_URL: `postgresql://audit:audit%2Fof%40June@127.0.0.1:${database.port}/payroll`,
      STENO_CA_0: ca,
    },
  })
  for (const [port, user, name] of [
    [ports[0], 'orders', 'shop'],
    [ports[0], 'orders', 'stock'],
    [ports[1], 'audit', 'payroll'],
  ] as const) {
    const client = await connectRemembering(port, `${user} in ${name}`, { user: 'agent', database: name })
    assert.deepEqual(firstColumn(await client.query("select current_user || ' in ' || current_database()")), [`${user} in ${name}`])
    await client.end()
  }
  for (const [port, name] of [
    [ports[0], 'payroll'],
    [ports[1], 'shop'],
    [ports[0], 'postgres'],
  ] as const) {
    await assert.rejects(connectRemembering(port, 'refused', { user: 'agent', database: name }), (error: unknown) => {
      assert.ok(error instanceof ConnectionEnded)
      assert.equal(error.fields?.get('C'), '3D000')
      assert.match(error.fields?.get('H') ?? '', /`databaseNames` of the SessionPolicy/)
      return true
    })
  }
  const sleeping = await startRawSession(
    { host: '127.0.0.1', port: ports[0] },
    { user: 'agent', database: 'shop', application_name: 'sleeps' },
  )
  sleeping.client.send(encodeQuery('select pg_sleep(100)'))
  await sendRawCancel({ host: '127.0.0.1', port: ports[1] }, sleeping.processId, sleeping.key)
  const active = await database.query(
    `select count(*)::int as n from pg_stat_activity where pid = ${sleeping.processId} and state = 'active'`,
  )
  assert.deepEqual(active, [{ n: 1 }], 'another listener knows nothing of the key')
  await sendRawCancel({ host: '127.0.0.1', port: ports[0] }, sleeping.processId, sleeping.key)
  const answer = await sleeping.client.until('Z')
  assert.ok(
    answer.some(({ type, body }) => type === 'E' && body.includes('57014')),
    'its own listener passes the cancel request on',
  )
  sleeping.client.send(Buffer.from('X\0\0\0\x04', 'latin1'))
  await sleeping.client.until('(the end)')
  assert.equal(await sidecar.stop(), 0)
  await assertVerified(sidecar.storeFolder, sidecar.spoolFolder)
  const recorded = await readRecorded(sidecar.storeFolder)
  assert.deepEqual([...recorded.keys()].sort(), ['audit in payroll', 'orders in shop', 'orders in stock', 'sleeps'])
  assert.equal(new Set([...recorded.values()].map(({ identity }) => identity.recorder)).size, 1)
})

test('the other address of the machine itself leads to the same database', { timeout: 300_000 }, async (t) => {
  const localPort = await freePort()
  const sidecar = await startSidecar(t, {
    listeners: [listenerFor(0, { localPort, port: database.port })],
    variables: { STENO_SOURCE_0_DATABASE_URL: database.url },
  })
  const client = new pg.Client({ host: '::1', port: localPort, user: 'agent', database: 'postgres' })
  try {
    await client.connect()
  } catch (error) {
    if ((error as { code?: string }).code !== 'EADDRNOTAVAIL') throw error
    t.skip('this machine has no ::1')
    return
  }
  assert.deepEqual((await client.query('select 1 as one')).rows, [{ one: 1 }])
  await client.end()
  assert.equal(await sidecar.stop(), 0)
})

test('a pod without a database has a sidecar all the same, and it ends with it', { timeout: 300_000 }, async (t) => {
  const sidecar = await startSidecar(t, { listeners: [] })
  assert.deepEqual(await sidecar.get('/startz'), { status: 200, text: 'ok\n' })
  assert.equal(await sidecar.stop(), 0)
})

test('a certificate of another authority is refused, and the agent is told', { timeout: 300_000 }, async (t) => {
  const localPort = await freePort()
  const sidecar = await startSidecar(t, {
    listeners: [listenerFor(0, { localPort, port: database.port, tls: { mode: 'verify-full', caVariable: null } })],
    variables: { STENO_SOURCE_0_DATABASE_URL: database.url },
  })
  await assert.rejects(connectRemembering(localPort, 'agent', { user: 'agent' }), /08006.*TLS failed/)
  assert.equal(await sidecar.stop(), 0)
})
