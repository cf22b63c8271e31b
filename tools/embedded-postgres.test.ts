/**
 * Goal: other tests can trust the launcher. Method: real servers, real certificates, and a process that is killed while it owns a server.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { assertOnceWithin } from '../base/test-durations.ts'
import { startPostgres } from './embedded-postgres.ts'
import type { EmbeddedPostgres } from './embedded-postgres.ts'

const readMillisecondsMax = 100

async function rowsOver(config: pg.ClientConfig, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client(config)
  client.on('error', () => undefined) // A refused connection is reported by `connect` already.
  await client.connect()
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows
  } finally {
    await client.end()
  }
}

function overTcp(server: EmbeddedPostgres, more: pg.ClientConfig = {}): pg.ClientConfig {
  return { host: server.host, port: server.port, user: server.superuser, password: server.password, database: 'postgres', ...more }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false // ESRCH is the answer that is asked for.
  }
}

async function untilFalse(condition: () => boolean, millisecondsMax: number): Promise<boolean> {
  const deadline = performance.now() + millisecondsMax
  while (condition()) {
    if (performance.now() > deadline) return false
    await sleep(20)
  }
  return true
}

test('a server answers, only with its password, and leaves nothing behind', async () => {
  const server = await startPostgres({ settings: { log_statement: 'all', max_connections: '7' } })
  try {
    assert.deepEqual(await server.query("select 1 as first; select 'two' as second"), [{ second: 'two' }])
    assert.deepEqual(await rowsOver({ connectionString: server.url }, 'show max_connections'), [{ max_connections: '7' }])
    await assert.rejects(rowsOver(overTcp(server, { password: 'wrong' }), 'select 1'), { code: '28P01' })
    assert.match(readFileSync(server.logFile, 'utf8'), /statement: show max_connections/)
    assert.equal(statSync(server.folder).mode & 0o777, 0o700)
    assert.equal(existsSync(`${server.folder}/password`), false)
  } finally {
    await Promise.all([server.stop(), server.stop('immediate')])
  }
  assert.equal(existsSync(server.folder), false)
  assert.equal(isAlive(server.pid), false)
  const socket = connect(server.port, server.host)
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException]
  assert.equal(error.code, 'ECONNREFUSED')
})

// PostgreSQL writes into its file of the process number when it is ready; how long initdb and it take until then is the machine's matter.
test('a server that is ready is not waited for any longer', async () => {
  await assertOnceWithin(readMillisecondsMax, async () => {
    await using server = await startPostgres()
    return Date.now() - statSync(`${server.folder}/data/postmaster.pid`).mtimeMs
  })
})

test('version 15 runs too', { skip: process.platform !== 'linux' || process.arch !== 'x64' }, async () => {
  await using server = await startPostgres({ version: 15 })
  const [row] = await server.query('show server_version_num')
  assert.match(String(row?.['server_version_num']), /^15/)
})

test('certificates: the server is known by its authority, and a client by its certificate', async () => {
  await using server = await startPostgres({ tls: true, authentication: 'cert' })
  const files = server.certificates
  assert.ok(files !== null)
  const read = (path: string) => readFileSync(path, 'utf8')
  const own = { ca: read(files.ca), cert: read(files.client), key: read(files.clientKey) }
  const sql = 'select ssl, client_dn from pg_stat_ssl where pid = pg_backend_pid()'
  for (const name of ['localhost', '127.0.0.1']) {
    const rows = await rowsOver(overTcp(server, { host: name, password: '', ssl: own }), sql)
    assert.deepEqual(rows, [{ ssl: true, client_dn: '/CN=postgres' }])
  }
  await assert.rejects(rowsOver(overTcp(server, { ssl: { ...own, ca: read(files.otherCa) } }), sql), { code: /^(SELF_SIGNED|UNABLE_TO)/ })
  const foreign = { ca: own.ca, cert: read(files.otherClient), key: read(files.otherClientKey) }
  await assert.rejects(rowsOver(overTcp(server, { ssl: foreign }), sql))
  await assert.rejects(rowsOver(overTcp(server, { ssl: { ca: own.ca } }), sql), { code: '28000' })
  await assert.rejects(rowsOver(overTcp(server), sql), { code: '28000' })
})

for (const authentication of ['md5', 'password', 'trust'] as const) {
  test(`authentication by ${authentication} is what the server asks for`, async () => {
    await using server = await startPostgres({ authentication })
    const wrong = rowsOver(overTcp(server, { password: 'wrong' }), 'select 1 as one')
    if (authentication === 'trust') assert.deepEqual(await wrong, [{ one: 1 }])
    else await assert.rejects(wrong, { code: '28P01' })
    assert.deepEqual(await rowsOver(overTcp(server), 'select 1 as one'), [{ one: 1 }])
    const [row] = await server.query('select rolpassword from pg_authid where rolname = current_user')
    assert.match(String(row?.['rolpassword']), authentication === 'md5' ? /^md5/ : /^SCRAM-SHA-256/)
  })
}

test('a line of hba comes before the default ones', async () => {
  await using server = await startPostgres({ hba: ['host all nobody all reject'] })
  await assert.rejects(rowsOver(overTcp(server, { user: 'nobody' }), 'select 1'), { code: '28000', message: /rejects connection/ })
})

test('a setting that the server refuses is reported with its own words', async () => {
  await assert.rejects(startPostgres({ settings: { shared_buffers: 'plenty' } }), {
    code: 'POSTGRES_NOT_STARTED',
    message: /shared_buffers/,
  })
})

test('a test process that is killed takes its server with it', async () => {
  const launcher = fileURLToPath(new URL('embedded-postgres.ts', import.meta.url))
  const script = `const { startPostgres } = await import(${JSON.stringify(launcher)})
    const { pid, folder } = await startPostgres()
    console.log(JSON.stringify({ pid, folder }))
    setInterval(() => undefined, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
  const { pid, folder } = JSON.parse(line) as { pid: number; folder: string }
  assert.ok(isAlive(pid) && existsSync(folder))
  child.kill('SIGKILL')
  assert.ok(await untilFalse(() => isAlive(pid) || existsSync(folder), 120_000), 'the server and its folder are gone')
})

test('a test that forgets to stop its server still ends', async () => {
  const launcher = fileURLToPath(new URL('embedded-postgres.ts', import.meta.url))
  const script = `const { startPostgres } = await import(${JSON.stringify(launcher)}); console.log((await startPostgres()).folder)`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 120_000,
  })
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
  const [code] = (await once(child, 'exit')) as [number | null]
  assert.equal(code, 0)
  assert.ok(await untilFalse(() => existsSync(line), 120_000), 'the folder is gone')
})
