/** Pass-through: each agent signs in at the database itself. What steno relays, what it replaces, and what never gets recorded. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import pg from 'pg'
import { program } from '../../tools/debian-programs.ts'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { decodeErrorResponse, encodeGssencRequest, encodeSslRequest } from '../../postgres/startup-messages.ts'
import { readRecords } from '../../session/read-session.ts'
import { openStore } from '../../session/stores/open-store.ts'
import { readRecordedSessions } from '../support/compare-with-log.ts'
import { startProxyProcess, steno } from '../support/proxy.ts'
import { connectRaw, encodeQuery, sendRawCancel, startRawSession } from '../support/raw-client.ts'
import { runProgram, type ProgramResult } from '../support/run-program.ts'
import { countSleeping, untilSleeping } from '../support/sleepers.ts'

const trusted = { hba: ['host all trusted 127.0.0.1/32 trust'] }
const [psql, server, older] = await Promise.all([
  program('psql'),
  startPostgres({ tls: true, ...trusted }),
  startPostgres({ version: 15, tls: true, ...trusted }),
])
for (const each of [server, older]) await each.query("create role visitor login password 'visiting'; create role trusted login")
const proxy = await startProxyProcess({ upstream: upstreamOf(server) })
const olderProxy = await startProxyProcess({ upstream: upstreamOf(older) })
after(async () => {
  await Promise.all([proxy, olderProxy].map((each) => each[Symbol.asyncDispose]()))
  await Promise.all([server, older].map((each) => each.stop()))
})

function upstreamOf({ host, port }: EmbeddedPostgres): string {
  return `host=${host} port=${port} sslmode=require`
}

async function psqlAt(url: string, command = 'select current_user'): Promise<ProgramResult> {
  return runProgram(psql, [
    '--no-psqlrc',
    '--no-align',
    '--tuples-only',
    '--no-password',
    '--set',
    'VERBOSITY=verbose',
    '--command',
    command,
    url,
  ])
}

test('each agent is who it signs in as', async () => {
  assert.equal((await psqlAt(proxy.url({ user: 'visitor', password: 'visiting' }))).stdout, 'visitor\n')
  assert.equal((await psqlAt(proxy.url({ user: 'postgres', password: server.password }))).stdout, 'postgres\n')
})

test('a wrong password, user or database gives the error of the database itself', async () => {
  for (const wrong of [
    { user: 'visitor', password: 'wrong' },
    { user: 'nobody', password: 'x' },
    { user: 'visitor', password: 'visiting', database: 'none' },
  ]) {
    const direct = new pg.Client({ ...wrong, host: server.host, port: server.port, database: wrong.database ?? 'postgres' })
    const expected = await direct.connect().then(
      () => assert.fail('the database took it'),
      (error: unknown) => error as pg.DatabaseError,
    )
    const { code, message, severity, routine } = expected
    const through = new pg.Client({ connectionString: proxy.url(wrong) })
    await assert.rejects(through.connect(), { code, message, severity, routine })
    assert.match((await psqlAt(proxy.url(wrong))).stderr, new RegExp(`FATAL: {2}${message}`))
  }
})

test('TLS and GSSAPI are answered with N, and sslmode decides what follows', async () => {
  using client = await connectRaw(proxy)
  client.send(encodeGssencRequest())
  assert.equal(await client.nextByte(), 'N')
  client.send(encodeSslRequest())
  assert.equal(await client.nextByte(), 'N')
  const agent = { user: 'visitor', password: 'visiting' }
  assert.equal((await psqlAt(proxy.url({ ...agent, sslmode: 'prefer' }))).stdout, 'visitor\n')
  const { status, stderr } = await psqlAt(proxy.url({ ...agent, sslmode: 'require' }))
  assert.equal(status, 2)
  assert.match(stderr, /server does not support SSL, but SSL was required/)
})

// A client told of channel binding over a plain connection would take it for an attack.
test('no channel binding is offered to the agent, though the database behind TLS offers it', async () => {
  for (const [each, user] of [
    [proxy, 'visitor'],
    [olderProxy, 'visitor'],
  ] as const) {
    assert.equal((await psqlAt(each.url({ user, password: 'visiting' }))).stdout, 'visitor\n')
    const { stderr } = await psqlAt(`${each.url({ user, password: 'visiting' })}?channel_binding=require`)
    assert.match(stderr, /channel binding/)
  }
})

test('the cancel key is one of steno, not that of the database', async () => {
  using sleeping = await startRawSession(proxy, { user: 'trusted', database: 'postgres', application_name: 'sleeper' })
  using directly = await startRawSession(server, { user: 'trusted', database: 'postgres', application_name: 'direct sleeper' })
  for (const { client } of [sleeping, directly]) client.send(encodeQuery('select pg_sleep(120)'))
  await untilSleeping(server, 'sleeper')
  await untilSleeping(server, 'direct sleeper')
  await sendRawCancel(server, sleeping.processId, sleeping.key)
  await sendRawCancel(proxy, directly.processId, directly.key)
  assert.equal(await countSleeping(server), 2)
  await sendRawCancel(proxy, sleeping.processId, sleeping.key)
  const error = (await sleeping.client.until('Z')).find(({ type }) => type === 'E')
  assert.equal(decodeErrorResponse(error!.body).code, '57014')
  assert.equal(await countSleeping(server), 1)
  await sendRawCancel(server, directly.processId, directly.key)
  await directly.client.until('Z')
})

test('the protocol version is what agent and database agree on', async () => {
  const parameters = { user: 'trusted', database: 'postgres' }
  using newest = await startRawSession(proxy, parameters, 2)
  assert.equal(newest.key.length, 32)
  using future = await startRawSession(proxy, { ...parameters, '_pq_.future': 'on' }, 9999)
  assert.equal(future.messages[0]?.type, 'v')
  assert.equal(future.messages[0].body.readUInt32BE(0) & 0xffff, 2)
  assert.equal(future.key.length, 32)
  // PostgreSQL 15 knows 3.0 only, and there a key has 4 bytes.
  using down = await startRawSession(olderProxy, parameters, 2)
  assert.equal(down.messages[0]?.type, 'v')
  assert.equal(down.messages[0].body.readUInt32BE(0) & 0xffff, 0)
  assert.equal(down.key.length, 4)
})

test('the exchange in which an agent signs in is in no recording', async () => {
  const client = new pg.Client({ connectionString: proxy.url({ user: 'visitor', password: 'visiting' }), application_name: 'signed in' })
  await client.connect()
  await client.query("select 'the first that is recorded'")
  await client.end()
  assert.equal(await proxy.stop(), 0, proxy.log())
  assert.equal((await steno(['verify', '--all', '--store', proxy.storeUrl, '--spool', proxy.spoolFolder])).status, 0)
  const session = (await readRecordedSessions(proxy.storeUrl)).find(({ identity }) => identity.asserted['application_name'] === 'signed in')
  assert.deepEqual([session?.identity.user, session?.identity.mode], ['visitor', 'pass-through'])
  assert.match(session?.identity.upstream.tls ?? '', /TLS/)
  const bodies: string[] = []
  for await (const { payload } of readRecords(await openStore(proxy.storeUrl), session!.id)) bodies.push(payload.toString('latin1'))
  const recorded = bodies.join('')
  assert.match(recorded, /the first that is recorded/)
  assert.doesNotMatch(recorded, /SCRAM|visiting|n,,n=|,r=|,p=|v=/)
})
