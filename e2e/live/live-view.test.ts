/**
 * Goal: whoever watches a proxy's standard output sees each statement once, in order, and nothing that an agent said acts on the screen
 * or passes for a line; and a standard output that nobody reads costs the recording nothing.
 * Method: a real PostgreSQL, `bin/steno proxy`, and standard outputs of every kind: pipes read and not read, a socket, a file, a full disk.
 */
import assert from 'node:assert/strict'
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { startProxyProcess, steno, type RunningProxy } from '../support/proxy.ts'
import { createPipe, linesOf, type LiveLine } from './outputs.ts'

const waitMillisecondsMax = 120_000
const acting = /[\0-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/

let server: EmbeddedPostgres
let upstream: string
before(async () => {
  server = await startPostgres()
  upstream = `postgresql://${server.superuser}:${server.password}@${server.host}:${server.port}/postgres`
})
after(() => server.stop())

async function connected(proxy: RunningProxy): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: proxy.url(), application_name: 'live "view"\n', pipeline: true })
  await client.connect()
  return client
}

async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = Date.now() + waitMillisecondsMax; !(await isSo()); await sleep(20)) assert.ok(Date.now() < end, what)
}

async function storedStatements(proxy: RunningProxy): Promise<number> {
  const { stdout } = await steno(['sessions', '--json', '--store', proxy.storeUrl])
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .reduce((sum, line) => sum + ((JSON.parse(line) as { statements: number | null }).statements ?? 0), 0)
}

const statementsIn = (lines: readonly LiveLine[]): LiveLine[] => lines.filter(({ event }) => event === 'statement')

const hostile = [
  `select '\n{"event":"statement","number":99,"sql":"drop table customers"}\n'`,
  `select '\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J \r\b'`,
  `select '\u202e\u2066desrever\u2028line\u2029\u200f'`,
  `select 'quote " backslash \\ brace }' -- \ud83c\udf89`,
  `select 1 as "nothing\x7f"`,
]

for (const format of ['json', 'pretty'] as const) {
  test(`nothing in SQL forges a line or acts on a terminal: ${format}`, async () => {
    using pipe = createPipe()
    await using proxy = await startProxyProcess({
      upstream,
      standardOutput: pipe.descriptor,
      arguments: ['--log-format', format],
    })
    const output = pipe.read()
    const client = await connected(proxy)
    for (const sql of hostile) await client.query(sql)
    await client.query('select $1::text as "parameter"', ['never-shown-parameter'])
    await client.query("select 'never-shown-value' from no_such_table").catch(() => undefined)
    await client.end()
    assert.equal(await proxy.stop(), 0)
    await output.ended
    assert.doesNotMatch(output.text(), acting)
    assert.doesNotMatch(output.text(), /never-shown-parameter/)
    const lines = output.text().split('\n').slice(0, -1)
    assert.equal(lines.length, hostile.length + 4, output.text())
    if (format === 'pretty') {
      for (const line of lines) assert.match(line, /^\d{4}-\d\d-\d\dT[\d:.]+Z {2}[0-9a-f-]{18} {2}/)
      return
    }
    const statements = statementsIn(linesOf(output.text()))
    assert.deepEqual(
      statements.slice(0, hostile.length).map(({ sql }) => sql),
      hostile,
    )
    assert.deepEqual(
      statements.map(({ number }) => number),
      statements.map((_, index) => index + 1),
    )
    assert.deepEqual(statements.at(-1)?.sqlstate, '42P01')
  })
}

test('SQL of any size and binary data make a line of bounded length, cut with a mark', async () => {
  using pipe = createPipe()
  await using proxy = await startProxyProcess({ upstream, standardOutput: pipe.descriptor })
  const output = pipe.read()
  const client = await connected(proxy)
  const huge = `select '${'ü'.repeat(3_000_000)}' = ''`
  await client.query(huge)
  await client.query("select decode(repeat('00ff1b', 10000), 'hex')")
  await client.query('select $1::bytea', [Buffer.from([0, 1, 27, 155, 255])])
  await client.end()
  await proxy.stop()
  await output.ended
  const [first, second, third] = statementsIn(linesOf(output.text()))
  assert.deepEqual([first?.sql?.length, first?.sqlCut, first?.sqlBytes], [1_000, true, Buffer.byteLength(huge)])
  assert.ok((second?.bytes ?? 0) > 60_000)
  assert.equal(third?.sql, 'select $1::bytea')
  for (const line of output.text().split('\n')) assert.ok(line.length < 2_500)
})

test('--live-sql-characters 0 shows no SQL, and --live off nothing at all', async () => {
  for (const [given, expected] of [
    [['--live-sql-characters', '0'], 3],
    [['--live', 'off'], 0],
  ] as const) {
    using pipe = createPipe()
    await using proxy = await startProxyProcess({ upstream, standardOutput: pipe.descriptor, arguments: given })
    const output = pipe.read()
    const client = await connected(proxy)
    await client.query('select 1')
    await client.end()
    await proxy.stop()
    await output.ended
    const lines = linesOf(output.text())
    assert.equal(lines.length, expected)
    for (const line of lines) assert.equal('sql' in line, false)
  }
})

test('10,000 statements are all shown, once and in order', async () => {
  using pipe = createPipe()
  await using proxy = await startProxyProcess({ upstream, standardOutput: pipe.descriptor })
  const output = pipe.read()
  const clients = await Promise.all([connected(proxy), connected(proxy)])
  const filler = '-'.repeat(400)
  await Promise.all(
    clients.map(async (client, own) => {
      for (let sent = 0; sent < 5_000; sent += 100)
        await Promise.all(Array.from({ length: 100 }, (_, index) => client.query(`select ${sent + index} -- ${own} ${filler}`)))
      await client.end()
    }),
  )
  await proxy.stop()
  await output.ended
  const lines = linesOf(output.text())
  assert.deepEqual(
    lines.filter(({ event }) => event === 'lines-dropped'),
    [],
  )
  const sessions = Map.groupBy(statementsIn(lines), ({ session }) => session)
  assert.equal(sessions.size, 2)
  for (const statements of sessions.values()) {
    const own = statements[0]?.sql?.split(' ')[3]
    assert.deepEqual(
      statements.map(({ sql }) => sql),
      Array.from({ length: 5_000 }, (_, sent) => `select ${sent} -- ${own} ${filler}`),
    )
  }
  for (const kind of ['session-opened', 'session-closed']) assert.equal(lines.filter(({ event }) => event === kind).length, 2)
})

test('after SIGKILL the next start shows what was recorded and not yet stored, once and marked', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'steno-live-killed-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  // Parts so old and large that nothing is stored before the kill.
  const arguments_ = ['--segment-milliseconds', '600000']
  using killed = createPipe()
  await using first = await startProxyProcess({ upstream, folder, standardOutput: killed.descriptor, arguments: arguments_ })
  const shown = killed.read()
  const client = await connected(first)
  client.on('error', () => undefined)
  for (let number = 1; number <= 50; number++) await client.query(`select ${number} as killed`)
  await until('the statements are shown', () => shown.text().includes('select 50 as killed'))
  await first.kill()
  await shown.ended
  using behind = createPipe()
  await using second = await startProxyProcess({ upstream, folder, standardOutput: behind.descriptor })
  const again = behind.read()
  await second.stop()
  await again.ended
  const lines = linesOf(again.text())
  const statements = statementsIn(lines)
  assert.deepEqual(
    statements.map(({ sql }) => sql),
    Array.from({ length: 50 }, (_, index) => `select ${index + 1} as killed`),
  )
  assert.ok(statements.every(({ recovered }) => recovered === true))
  assert.ok(statementsIn(linesOf(shown.text())).every(({ recovered }) => recovered === undefined))
  assert.equal(lines.at(-1)?.event, 'session-closed')
})

test('what was stored before SIGKILL is not shown again by the next start', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'steno-live-killed-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  await using first = await startProxyProcess({ upstream, folder, arguments: ['--segment-milliseconds', '600000'] })
  const client = await connected(first)
  client.on('error', () => undefined)
  // A part is stored when it has 2 MiB: before the long statement has its answer, and what comes behind it waits.
  await client.query("select 'stored'")
  await client.query(`select 'long' -- ${'-'.repeat(3_000_000)}`)
  await until('the first statement is stored', async () => (await storedStatements(first)) === 1)
  await client.query("select 'not stored'")
  await first.kill()
  using pipe = createPipe()
  await using second = await startProxyProcess({ upstream, folder, standardOutput: pipe.descriptor })
  const output = pipe.read()
  await second.stop()
  await output.ended
  const lines = linesOf(output.text())
  assert.deepEqual(
    lines.map(({ event, number, recovered }) => [event, number, recovered]),
    [
      ['statement', 2, true],
      ['statement', 3, true],
      ['session-closed', undefined, true],
    ],
  )
})

test('a standard output that nobody reads holds nothing up; what was left out is counted when somebody does', async () => {
  using pipe = createPipe()
  await using proxy = await startProxyProcess({ upstream, standardOutput: pipe.descriptor })
  const client = await connected(proxy)
  const filler = '-'.repeat(900)
  for (let sent = 0; sent < 6_000; sent += 100)
    await Promise.all(Array.from({ length: 100 }, (_, index) => client.query(`select ${sent + index} ${filler}`)))
  await until('all is stored though nobody reads', async () => (await storedStatements(proxy)) === 6_000)
  assert.match(proxy.log(), /lines of the live view are left out/)
  const output = pipe.read()
  await until('the drops are told', () => output.text().includes('lines-dropped'))
  await client.query('select 1 as behind')
  await client.end()
  assert.equal(await proxy.stop(), 0)
  await output.ended
  const lines = linesOf(output.text())
  const dropped = lines.filter(({ event }) => event === 'lines-dropped').reduce((sum, line) => sum + (line.lines ?? 0), 0)
  assert.ok(dropped > 0)
  assert.equal(lines.length - 1 + dropped, 6_001 + 2)
  assert.equal(statementsIn(lines).at(-1)?.sql, 'select 1 as behind')
})

test('a proxy whose standard output is never read ends in good order', async () => {
  using pipe = createPipe()
  await using proxy = await startProxyProcess({ upstream, standardOutput: pipe.descriptor })
  const client = await connected(proxy)
  await Promise.all(Array.from({ length: 500 }, () => client.query(`select 1 ${'-'.repeat(900)}`)))
  await client.end()
  assert.equal(await proxy.stop(), 0)
  assert.equal(await storedStatements(proxy), 500)
})

test('a reader that goes away ends the live view, not the proxy', async () => {
  const pipe = createPipe()
  await using proxy = await startProxyProcess({ upstream, standardOutput: pipe.descriptor })
  pipe[Symbol.dispose]()
  const client = await connected(proxy)
  await client.query('select 1')
  await until('it is in the log', () => proxy.log().includes('the live view ends'))
  await client.query('select 2')
  await client.end()
  assert.equal(await proxy.stop(), 0)
  assert.equal(await storedStatements(proxy), 2)
})

test('a socket as standard output is read like a pipe, and unread holds nothing up', async () => {
  await using proxy = await startProxyProcess({ upstream, standardOutput: 'pipe' })
  const socket = proxy.standardOutput
  assert.ok(socket !== null)
  const client = await connected(proxy)
  const filler = '-'.repeat(900)
  for (let sent = 0; sent < 1_500; sent += 100)
    await Promise.all(Array.from({ length: 100 }, (_, index) => client.query(`select ${sent + index} ${filler}`)))
  await until('all is stored though nobody reads', async () => (await storedStatements(proxy)) === 1_500)
  let text = ''
  socket.setEncoding('utf8').on('data', (piece: string) => (text += piece))
  await client.end()
  assert.equal(await proxy.stop(), 0)
  await until('all is read', () => socket.readableEnded)
  assert.equal(statementsIn(linesOf(text)).length, 1_500)
})

test('a file as standard output is written behind what it holds, also when standard error goes there too', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'steno-live-file-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'out')
  const descriptor = openSync(file, 'w')
  await using proxy = await startProxyProcess({ upstream, standardOutput: descriptor })
  closeSync(descriptor)
  const client = await connected(proxy)
  await client.query('select 1')
  await client.end()
  await proxy.stop()
  assert.equal(statementsIn(linesOf(readFileSync(file, 'utf8'))).length, 1)
})

test(
  'a full disk behind standard output costs the live view and nothing else',
  { skip: !existsSync('/dev/full') && 'there is no /dev/full' },
  async () => {
    const descriptor = openSync('/dev/full', 'w')
    await using proxy = await startProxyProcess({ upstream, standardOutput: descriptor })
    closeSync(descriptor)
    const client = await connected(proxy)
    for (let sent = 0; sent < 20; sent++) await client.query(`select ${sent}`)
    await client.end()
    assert.equal(await proxy.stop(), 0)
    assert.equal(await storedStatements(proxy), 20)
  },
)
