/**
 * Goal: `steno doctor` finds what would keep a proxy from working, says what to do, and leaves nothing behind.
 * Method: `bin/steno doctor` against a real PostgreSQL, with one thing wrong at a time.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import net, { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { startProxyProcess, steno, type StenoResult } from '../support/proxy.ts'

type Check = { type: 'check'; check: string; status: string; message: string; remedy?: string; code?: string; target: string | null }
type Totals = { type: 'totals'; ok: number; warning: number; failed: number; skipped: number; healthy: boolean }

const program = fileURLToPath(new URL('../../bin/steno', import.meta.url))
let server: EmbeddedPostgres
let folder: string
/** Where the checks put what they throw away. */
let temporary: string
let place: string[]

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'doctor-'))
  temporary = mkdtempSync(join(tmpdir(), 'doctor-'))
  server = await startPostgres({ tls: true })
  await server.query("create role shop login password 'right horse'")
})
after(async () => {
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
  rmSync(temporary, { recursive: true, force: true })
})
beforeEach(() => {
  place = ['--store', pathToFileURL(join(folder, 'store')).href, '--spool', join(folder, 'spool'), '--listen', '127.0.0.1:0']
})

const upstream = (password: string, query = 'sslmode=require'): string =>
  `postgresql://shop:${encodeURIComponent(password)}@localhost:${server.port}/postgres?${query}`

async function doctor(
  upstreamText: string,
  args: readonly string[] = [],
): Promise<StenoResult & { checks: Check[]; totals: Totals; find(name: string): Check }> {
  const environment = { ...(upstreamText === '' ? {} : { STENO_UPSTREAM: upstreamText }), STENO_CONFIG: '', TMPDIR: temporary }
  const result = await steno(['doctor', '--json', '--check-milliseconds', '60000', ...place, ...args], { environment })
  const lines = result.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Check | Totals)
  const checks = lines.filter((line) => line.type === 'check')
  return {
    ...result,
    checks,
    totals: lines.at(-1) as Totals,
    find(name) {
      const found = checks.find(({ check }) => check === name)
      assert.ok(found, `${name} in ${result.stdout}${result.stderr}`)
      return found
    },
  }
}

test('a database, store and spool that will do are all found well, and nothing is left behind', async () => {
  const result = await doctor(upstream('right horse', `sslmode=verify-full&sslrootcert=${server.certificates!.ca}`))
  assert.deepEqual([result.status, result.stderr], [0, ''])
  const expected = [
    'versions',
    'config file',
    'settings',
    'resolve',
    'connect',
    'certificate',
    'sign-in',
    'server version',
    'server clock',
    'who may connect',
  ]
  expected.push('store', 'store create-once', 'store space', 'store clock')
  expected.push('spool', 'spool file system', 'spool space', 'spool permissions', 'spool and store', 'spool lock', 'address for agents')
  assert.deepEqual(
    result.checks.map(({ check }) => check),
    expected,
  )
  assert.equal(result.totals.failed, 0)
  assert.equal(result.totals.healthy, true)
  assert.match(result.find('sign-in').message, /^signed in as shop to postgres, TLSv1\.3 /)
  assert.match(result.find('server version').message, /^PostgreSQL 18/)
  // The server's certificate is one for a few days.
  assert.match(result.find('certificate').message, /^the certificate of CN=localhost expires on \d{4}-\d\d-\d\d, in \d days$/)
  assert.equal(result.find('server clock').status, 'ok')
  assert.deepEqual(readdirSync(folder), [])
  assert.deepEqual(readdirSync(temporary), [])
})

test('a wrong password is said to be one, is shown nowhere, and the rest is looked at all the same', async () => {
  const result = await doctor(upstream('battery staple'))
  assert.equal(result.status, 1)
  const { status, message, remedy, code } = result.find('sign-in')
  assert.deepEqual([status, message, code], ['failed', 'password authentication failed for user "shop"', '28P01'])
  assert.match(remedy ?? '', /password/)
  assert.equal(result.find('store create-once').status, 'ok')
  assert.deepEqual([result.totals.failed, result.totals.healthy], [1, false])
  assert.doesNotMatch(result.stdout + result.stderr, /battery/)
})

test('a certificate that does not stand the check of sslmode fails the sign-in, with the reason', async () => {
  const result = await doctor(upstream('right horse', 'sslmode=verify-full&sslrootcert=system'))
  assert.equal(result.status, 1)
  assert.match(result.find('sign-in').message, /TLS failed/)
  assert.equal(result.find('certificate').status, 'warning')
})

test('of several hosts each is looked at, and what agents would get is named', async () => {
  const closed = net.createServer().listen(0, '127.0.0.1')
  await once(closed, 'listening')
  const { port } = closed.address() as AddressInfo
  closed.close()
  const result = await doctor(`postgresql://shop:right%20horse@127.0.0.1:${port},127.0.0.1:${server.port}/postgres`)
  assert.equal(result.status, 1)
  assert.deepEqual(
    result.checks.filter(({ check }) => check === 'connect').map(({ target, status }) => [target, status]),
    [
      [`127.0.0.1:${port}`, 'failed'],
      [`127.0.0.1:${server.port}`, 'ok'],
    ],
  )
  assert.match(result.find('choice of host').message, new RegExp(`agents get 127\\.0\\.0\\.1:${server.port}`))
})

test('a host that agents would not get is signed in at all the same, and the wish that nobody fulfils is told', async () => {
  const result = await doctor(upstream('right horse', 'sslmode=require&target_session_attrs=standby'))
  assert.equal(result.status, 1)
  assert.equal(result.find('sign-in').status, 'ok')
  const choice = result.find('choice of host')
  assert.deepEqual([choice.status, /standby/.test(choice.message)], ['failed', true], choice.message)
})

test('a name that does not resolve and a database that does not exist are told apart', async () => {
  const unknown = await doctor('postgresql://shop:x@no-such-host.invalid/postgres', ['--check-milliseconds', '20000'])
  assert.equal(unknown.find('resolve').status, 'failed')
  assert.equal(unknown.find('sign-in').status, 'skipped')
  const missing = await doctor(upstream('right horse').replace('/postgres?', '/nowhere?'))
  assert.deepEqual([missing.find('sign-in').code, missing.find('connect').status], ['3D000', 'ok'])
})

test('a server that accepts and says nothing is given up after the time that each check has', async () => {
  const silent = net.createServer((socket) => socket.on('error', () => undefined)).listen(0, '127.0.0.1')
  await once(silent, 'listening')
  try {
    const { port } = silent.address() as AddressInfo
    const result = await doctor(`postgresql://shop:x@127.0.0.1:${port}/postgres`, ['--check-milliseconds', '300'])
    assert.equal(result.status, 1)
    assert.match(result.find('sign-in').message, /no answer within 0\.3 s/)
    assert.deepEqual(readdirSync(temporary), [])
    assert.equal(result.find('spool lock').status, 'ok')
  } finally {
    silent.close()
  }
})

test('a doctor that is stopped takes away what it made', async () => {
  // Has no TLS, and then says nothing: the sign-in waits.
  const silent = net
    .createServer((socket) => socket.on('error', () => undefined).once('data', () => socket.write('N')))
    .listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const { port } = silent.address() as AddressInfo
  const environment = {
    ...process.env,
    STENO_UPSTREAM: `postgresql://shop:x@127.0.0.1:${port}/postgres`,
    STENO_CONFIG: '',
    TMPDIR: temporary,
  }
  const child = spawn(program, ['doctor', ...place, '--check-milliseconds', '60000'], { stdio: 'ignore', env: environment })
  try {
    while (readdirSync(temporary).length === 0) {
      assert.equal(child.exitCode, null)
      await sleep(10)
    }
    child.kill('SIGTERM')
    await once(child, 'close')
    assert.equal(child.exitCode, 143)
    assert.deepEqual(readdirSync(temporary), [])
  } finally {
    child.kill('SIGKILL')
    silent.close()
  }
})

test('pass-through is proven as far as it can be without a credential', async () => {
  const result = await doctor(`postgresql://localhost:${server.port}/?sslmode=require`)
  assert.equal(result.status, 0)
  assert.match(result.find('reach').message, /encrypted as sslmode=require says/)
  assert.equal(result.find('sign-in').status, 'skipped')
})

test('a connection string that cannot be used is one failed check', async () => {
  const result = await doctor('postgresql://shop:hush@localhost/postgres?sslmode=sometimes')
  assert.deepEqual([result.status, result.find('settings').code], [1, 'BAD_CONNECTION_STRING'])
  assert.doesNotMatch(result.stdout, /hush/)
  assert.equal(result.find('store').status, 'ok')
})

test('beside a running proxy its lock and its port are as they should be', async () => {
  await using proxy = await startProxyProcess({ upstream: upstream('right horse') })
  place = ['--store', proxy.storeUrl, '--spool', proxy.spoolFolder, '--listen', `${proxy.host}:${proxy.port}`]
  const files = readdirSync(proxy.spoolFolder)
  const result = await doctor(upstream('right horse'))
  assert.equal(result.status, 0, result.stdout)
  assert.equal(result.find('spool lock').message, 'a proxy is writing here')
  assert.match(result.find('address for agents').message, /as it should/)
  assert.deepEqual(readdirSync(proxy.spoolFolder), files)
  assert.equal((await steno(['verify', '--all', '--store', proxy.storeUrl], { environment: { STENO_CONFIG: '' } })).status, 3)
})

test('a port that somebody else has, an open spool and a foreign store are failures with remedies', async () => {
  const other = net.createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const spool = join(folder, 'open-spool')
  mkdirSync(spool)
  chmodSync(spool, 0o777)
  const head = { version: 1, recorder: '0'.repeat(32), number: 3, sha256: 'a'.repeat(64), store: 'file:///elsewhere' }
  writeFileSync(join(spool, 'ledger-head.json'), JSON.stringify(head))
  writeFileSync(join(spool, 'recorder-key.pem'), 'x', { mode: 0o644 })
  try {
    place = [
      '--store',
      pathToFileURL(join(folder, 'store')).href,
      '--spool',
      spool,
      '--listen',
      `127.0.0.1:${(other.address() as AddressInfo).port}`,
    ]
    const result = await doctor('')
    assert.equal(result.status, 1)
    assert.equal(result.find('address for agents').message, 'something else listens there')
    assert.equal(result.find('spool permissions').code, 'RECORDER_KEY_UNUSABLE')
    assert.equal(result.find('spool and store').code, 'SPOOL_OF_OTHER_STORE')
    for (const { status, remedy, check } of result.checks) {
      if (status === 'failed' || status === 'warning') assert.ok((remedy ?? '').length > 10, check)
    }
  } finally {
    other.close()
    rmSync(spool, { recursive: true })
  }
})

test('a store where nothing can be written fails, and a URL that is none is named', async () => {
  const file = join(folder, 'a-file')
  writeFileSync(file, '')
  place = ['--store', `${pathToFileURL(file).href}/store`, '--spool', `${file}/spool`, '--listen', '127.0.0.1:0']
  const blocked = await doctor('')
  assert.equal(blocked.status, 1)
  assert.equal(blocked.find('spool').status, 'failed')
  assert.ok(
    blocked.checks.some(({ check, status }) => check.startsWith('store') && status === 'failed'),
    blocked.stdout,
  )
  place = ['--store', 'ftp://bucket', '--spool', join(folder, 'spool'), '--listen', '127.0.0.1:0']
  assert.equal((await doctor('')).find('store').code, 'STORE_URL_UNKNOWN')
  rmSync(file)
  assert.ok(!existsSync(join(folder, 'spool')))
})

test('custody on an address of the network without a token is warned of', async () => {
  place = [...place.slice(0, 4), '--listen', '0.0.0.0:0']
  const open = (await doctor(upstream('right horse'))).find('who may connect')
  assert.deepEqual([open.status, /--agent-token-file/.test(open.remedy ?? '')], ['warning', true])
})

test('people get one line a check, with the remedy below it', async () => {
  const environment = { STENO_UPSTREAM: upstream('battery staple'), STENO_CONFIG: '' }
  const { status, stdout } = await steno(['doctor', ...place], { environment })
  assert.equal(status, 1)
  assert.match(stdout, /^ok {7}versions {11}steno /)
  assert.match(
    stdout,
    /^failed {3}sign-in {12}localhost:\d+: password authentication failed for user "shop" \(28P01\)\n {9}-> Correct the user/m,
  )
  assert.match(stdout, /\n\d+ ok, \d warnings?, 1 failed\n$/)
})
