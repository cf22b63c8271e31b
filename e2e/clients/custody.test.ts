/** Custody: steno holds the credential. What agents are given and what they are refused, as real clients see it. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import pg from 'pg'
import { program } from '../../tools/debian-programs.ts'
import { startPostgres } from '../../tools/embedded-postgres.ts'
import { decodeErrorResponse } from '../../postgres/startup-messages.ts'
import { startProxyProcess } from '../support/proxy.ts'
import { encodeQuery, sendRawCancel, startRawSession, type StartedSession } from '../support/raw-client.ts'
import { runProgram } from '../support/run-program.ts'
import { countSleeping, untilSleeping } from '../support/sleepers.ts'

const [psql, python, server] = await Promise.all([
  program('psql'),
  program('python3-psycopg'),
  startPostgres({ hba: ['host all trusted 127.0.0.1/32 trust'] }),
])
const folder = mkdtempSync(join(tmpdir(), 'steno-custody-'))
const token = `token-${randomBytes(12).toString('hex')}`
const tokenFile = join(folder, 'token')
await writeFile(tokenFile, `${token}\n`, { mode: 0o600 })
await server.query("create role keeper login password 'kept'; create role trusted login")
for (const database of ['shop owner keeper', 'archive', 'secret']) await server.query(`create database ${database}`)
const upstream = `postgresql://keeper:kept@${server.host}:${server.port}/shop`
const open = await startProxyProcess({ upstream, arguments: ['--databases', 'archive'] })
const guarded = await startProxyProcess({ upstream, arguments: ['--agent-token-file', tokenFile] })
after(async () => {
  await Promise.all([open, guarded].map((proxy) => proxy[Symbol.asyncDispose]()))
  await server.stop()
  await rm(folder, { recursive: true })
})

async function psqlAt(
  url: string,
  command: string,
  environment: Record<string, string> = {},
): Promise<{ stdout: string; stderr: string; status: number }> {
  const args = ['--no-psqlrc', '--no-align', '--tuples-only', '--no-password', '--set', 'VERBOSITY=verbose', '--command', command, url]
  return runProgram(psql, args, { environment })
}

const pythonTry = `
import sys, psycopg
try:
    print(psycopg.connect(sys.argv[1]).execute("select current_user").fetchone()[0])
except psycopg.OperationalError as error:
    print("refused:", error)
`

for (const sslmode of ['disable', 'require']) {
  test(`the right token opens a session for psql, pg and psycopg, sslmode=${sslmode}`, async () => {
    const url = guarded.url({ password: token, database: 'shop', sslmode })
    assert.equal((await psqlAt(url, 'select current_user')).stdout, 'keeper\n')
    assert.equal((await runProgram(python, ['-c', pythonTry, url])).stdout, 'keeper\n')
    const client = new pg.Client({ connectionString: guarded.url({ password: token, database: 'shop' }), ssl: sslOf(sslmode) })
    await client.connect()
    assert.deepEqual((await client.query('select current_user')).rows, [{ current_user: 'keeper' }])
    await client.end()
  })

  test(`a wrong token is refused with 28P01 and a remedy, sslmode=${sslmode}`, async () => {
    const url = guarded.url({ password: 'a guess', database: 'shop', sslmode })
    const { stdout, stderr, status } = await psqlAt(url, 'select 1')
    assert.equal(status, 2)
    assert.equal(stdout, '')
    assert.match(stderr, /FATAL:.*steno: the token of this agent is wrong/)
    assert.match(stderr, /HINT: {2}.*--agent-token-file/)
    assert.match((await runProgram(python, ['-c', pythonTry, url])).stdout, /^refused: .*steno: the token of this agent is wrong/s)
    const client = new pg.Client({ connectionString: guarded.url({ password: 'a guess', database: 'shop' }), ssl: sslOf(sslmode) })
    await assert.rejects(client.connect(), { code: '28P01', message: /the token of this agent is wrong/ })
  })
}

test('without a token where one is needed there is no session', async () => {
  const { stderr, status } = await psqlAt(guarded.url({ database: 'shop' }), 'select 1')
  assert.equal(status, 2)
  assert.match(stderr, /no password supplied/)
})

test("the database's own password is not a token", async () => {
  const client = new pg.Client({ connectionString: guarded.url({ user: 'keeper', password: 'kept', database: 'shop' }) })
  await assert.rejects(client.connect(), { code: '28P01' })
})

test("whoever the agent says it is, it gets the upstream's user", async () => {
  for (const user of ['agent', 'keeper', 'postgres', 'ž"; drop']) {
    const { stdout } = await psqlAt(open.url({ user, database: 'shop' }), 'select current_user, session_user')
    assert.equal(stdout, 'keeper|keeper\n', user)
  }
  const { stderr } = await psqlAt(open.url({ database: 'shop' }), 'set session authorization postgres')
  assert.match(stderr, /42501: permission denied/)
})

test('databases that the operator named are open, others are refused with 3D000 and a hint', async () => {
  for (const database of ['shop', 'archive']) {
    assert.equal((await psqlAt(open.url({ database }), 'select current_database()')).stdout, `${database}\n`)
  }
  for (const database of ['secret', 'postgres', 'SHOP', 'shop ']) {
    const client = new pg.Client({ connectionString: open.url({ database }) })
    await assert.rejects(client.connect(), { code: '3D000', hint: /"shop", "archive".*--databases/ })
  }
  const { stderr } = await psqlAt(open.url({ database: 'secret' }), 'select 1')
  assert.match(stderr, /FATAL:.*steno: the database "secret" is not open to agents here/)
  // Nor by the way that names no database at all: clients then name the user's.
  await assert.rejects(startRawSession(open, { user: 'agent', database: 'agent' }), /3D000/)
})

test('a session without a database named gets the one of the upstream', async () => {
  using session = await startRawSession(open, { user: 'agent' })
  const { client } = session
  client.send(encodeQuery('select current_database()'))
  const row = (await client.until('Z')).find(({ type }) => type === 'D')
  assert.equal(row?.body.subarray(6).toString(), 'shop')
})

test('replication connections are refused in every spelling, and what is not one works', async () => {
  for (const value of ['database', 'true', '1', 'on', 'yes']) {
    const { stderr, status } = await psqlAt(`${open.url({ database: 'shop' })}?replication=${value}`, 'IDENTIFY_SYSTEM')
    assert.equal(status, 2)
    assert.match(stderr, /FATAL:.*steno: a replication connection would pass the recording by/)
  }
  assert.equal((await psqlAt(`${open.url({ database: 'shop' })}?replication=false`, 'select 1')).stdout, '1\n')
})

test('parameters of the agent reach the database', async () => {
  const { stdout } = await psqlAt(open.url({ database: 'shop' }), 'show application_name; show timezone; show statement_timeout', {
    PGAPPNAME: 'an agent ž',
    PGTZ: 'Asia/Tokyo',
    PGOPTIONS: '-c statement_timeout=4321ms',
  })
  // PostgreSQL 18 replaces what is not ASCII in an application name.
  assert.equal(stdout, 'an agent \\xc5\\xbe\nAsia/Tokyo\n4321ms\n')
})

test("only the key that steno gave cancels: not a random one, not another session's, not the database's own", async () => {
  using sleeping = await startRawSession(open, { user: 'agent', database: 'shop', application_name: 'sleeper' })
  using other = await startRawSession(open, { user: 'agent', database: 'shop' })
  using directly = await startRawSession(server, { user: 'trusted', database: 'shop', application_name: 'direct sleeper' })
  assert.equal(sleeping.key.length, 4)
  sleeping.client.send(encodeQuery('select pg_sleep(120)'))
  directly.client.send(encodeQuery('select pg_sleep(120)'))
  await untilSleeping(server, 'sleeper')
  await untilSleeping(server, 'direct sleeper')
  const useless: [number, Buffer][] = [
    [sleeping.processId, randomBytes(4)],
    [sleeping.processId, randomBytes(32)],
    [sleeping.processId, other.key],
    [other.processId, sleeping.key],
    [0, sleeping.key],
    [directly.processId, directly.key],
  ]
  for (const [processId, key] of useless) await sendRawCancel(open, processId, key)
  // Nor does steno's key say anything to the database.
  await sendRawCancel(server, sleeping.processId, sleeping.key)
  assert.equal(await countSleeping(server), 2)

  await sendRawCancel(open, sleeping.processId, sleeping.key)
  const error = (await sleeping.client.until('Z')).find(({ type }) => type === 'E')
  assert.equal(decodeErrorResponse(error!.body).code, '57014')
  assert.equal(await countSleeping(server), 1)
  await sendRawCancel(server, directly.processId, directly.key)
  await directly.client.until('Z')
})

test('under protocol 3.2 the cancel key has 32 bytes, and it cancels', async () => {
  using session = await startRawSession(open, { user: 'agent', database: 'shop', application_name: 'sleeper 3.2' }, 2)
  assert.equal(session.key.length, 32)
  assert.ok(session.messages.every(({ type }) => type !== 'v'))
  await cancelWhileSleeping(session, 'sleeper 3.2')
})

test('a protocol version and options from the future are negotiated down', async () => {
  const parameters = { user: 'agent', database: 'shop', application_name: 'sleeper 3.9999', '_pq_.future': 'on' }
  using session = await startRawSession(open, parameters, 9999)
  const [negotiation, authentication] = session.messages
  assert.equal(negotiation?.type, 'v')
  assert.equal(negotiation.body.readUInt32BE(0) & 0xffff, 2)
  assert.equal(negotiation.body.readUInt32BE(4), 1)
  assert.equal(negotiation.body.toString('latin1', 8), '_pq_.future\0')
  assert.equal(authentication?.type, 'R')
  assert.equal(session.key.length, 32)
  await cancelWhileSleeping(session, 'sleeper 3.9999')
})

async function cancelWhileSleeping({ client, processId, key }: StartedSession, application: string): Promise<void> {
  client.send(encodeQuery('select pg_sleep(120)'))
  await untilSleeping(server, application)
  await sendRawCancel(open, processId, key)
  const error = (await client.until('Z')).find(({ type }) => type === 'E')
  assert.equal(decodeErrorResponse(error!.body).code, '57014')
}

function sslOf(sslmode: string): pg.ClientConfig['ssl'] {
  return sslmode === 'disable' ? false : { rejectUnauthorized: false }
}
