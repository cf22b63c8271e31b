/**
 * Goal: whoever tails a store sees each statement once, in order and soon, of sessions that grow while they look, whatever kills the proxy.
 * Method: a real PostgreSQL, `bin/steno proxy` and `bin/steno tail`, each a process of its own.
 */
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { assertOnceWithin } from '../../base/test-durations.ts'
import { statementIndexKey } from '../../session/object-keys.ts'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { startProxyProcess, steno, type RunningProxy } from '../support/proxy.ts'
import { linesOf, type LiveLine } from './outputs.ts'

const program = fileURLToPath(new URL('../../bin/steno', import.meta.url))
const waitMillisecondsMax = 120_000
/** What `steno tail --help` promises. */
const promisedMilliseconds = 2_000

let server: EmbeddedPostgres
let upstream: string
before(async () => {
  server = await startPostgres()
  upstream = `postgresql://${server.superuser}:${server.password}@${server.host}:${server.port}/postgres`
})
after(() => server.stop())

type Tail = {
  readonly child: ChildProcess
  readonly lines: () => LiveLine[]
  /** When each line was seen, in milliseconds since the epoch. */
  readonly seenAt: readonly number[]
  readonly errors: () => string
  /** Sends the signal, or waits for its own end; gives the exit code. */
  end(signal?: NodeJS.Signals): Promise<number | null>
}

/** A tail of all sessions says nothing when it begins; with `--since` it cannot miss what comes while it starts. */
function startTail(t: TestContext, storeUrl: string, args: readonly string[]): Tail {
  const child = spawn(program, ['tail', '--store', storeUrl, '--json', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  t.after(() => child.kill('SIGKILL'))
  let text = ''
  let errors = ''
  const seenAt: number[] = []
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    text += piece
    for (const character of piece) if (character === '\n') seenAt.push(Date.now())
  })
  child.stderr.setEncoding('utf8').on('data', (piece: string) => (errors += piece))
  const exited = once(child, 'close')
  return {
    child,
    lines: () => linesOf(text),
    seenAt,
    errors: () => errors,
    async end(signal) {
      if (signal !== undefined) child.kill(signal)
      await exited
      return child.exitCode
    },
  }
}

async function connected(proxy: RunningProxy): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: proxy.url() })
  client.on('error', () => undefined)
  await client.connect()
  return client
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  for (const end = Date.now() + waitMillisecondsMax; !isSo(); await sleep(20)) assert.ok(Date.now() < end, what)
}

const sqlOf = (lines: readonly LiveLine[]): (string | undefined)[] =>
  lines.filter(({ event }) => event === 'statement').map(({ sql }) => sql)

test('sessions that grow while they are tailed are shown once, in order, within two seconds of being stored', async (t) => {
  await assertOnceWithin(promisedMilliseconds, async () => {
    await using proxy = await startProxyProcess({ upstream, arguments: ['--segment-milliseconds', '100'] })
    const tail = startTail(t, proxy.storeUrl, ['--since', '1h', '--sessions'])
    const clients = [await connected(proxy), await connected(proxy)]
    const sent = clients.map(() => [] as string[])
    for (let round = 0; round < 5; round++) {
      for (const [own, client] of clients.entries()) {
        for (let each = 0; each < 20; each++) {
          const sql = `select ${round * 20 + each} as own${own}`
          sent[own]!.push(sql)
          await client.query(sql)
        }
      }
      // What comes next is a part of its own.
      const last = sent[1]!.at(-1)
      await until(`round ${round} is shown`, () => sqlOf(tail.lines()).includes(last))
    }
    for (const client of clients) await client.end()
    await until('both ends are shown', () => tail.lines().filter(({ event }) => event === 'session-closed').length === 2)
    const lines = tail.lines()
    for (const [own, expected] of sent.entries())
      assert.deepEqual(
        sqlOf(lines).filter((sql) => sql?.endsWith(`own${own}`)),
        expected,
      )
    assert.equal(lines.filter(({ event }) => event === 'session-opened').length, 2)
    const storedAt = new Map(lines.map(({ session }) => [session, storedTimes(proxy, session)]))
    const delays = lines.flatMap(({ session, event, number }, index) =>
      event === 'statement' ? [tail.seenAt[index]! - storedAt.get(session)!.get(number)!] : [],
    )
    const median = delays.sort((a, b) => a - b)[Math.floor(delays.length / 2)]!
    t.diagnostic(`seen ${median.toFixed(0)} ms after being stored (median), ${delays.at(-1)!.toFixed(0)} ms at most`)
    assert.equal(await tail.end('SIGINT'), 0)
    assert.equal(tail.errors(), '')
    return median
  })
})

/** When each statement of a session was stored, in milliseconds since the epoch. */
function storedTimes(proxy: RunningProxy, session: string): Map<number, number> {
  const times = new Map<number, number>()
  for (let part = 1; ; part++) {
    const file = join(proxy.storeFolder, statementIndexKey(session, part))
    const status = statSync(file, { throwIfNoEntry: false })
    if (status === undefined) return times
    for (const line of readFileSync(file, 'utf8').split('\n').slice(0, -1))
      times.set((JSON.parse(line) as { number: number }).number, status.mtimeMs)
  }
}

test('filters show what they name, and a count ends it', async (t) => {
  await using proxy = await startProxyProcess({ upstream })
  const client = await connected(proxy)
  await client.query('create table "Orders" (id int); create table customers (id int)')
  await client.query('insert into "Orders" values (1)')
  await client.query('insert into orders values (1)').catch(() => undefined)
  await client.query("select 'Orders'")
  await client.query('delete from customers')
  const tails = (
    [
      [['--failed', '--count', '1'], ['insert into orders values (1)']],
      [['--sql', '^(?i)DELETE', '--count', '1'], ['delete from customers']],
      [
        ['--table', '"Orders"', '--count', '2'],
        ['create table "Orders" (id int)', 'insert into "Orders" values (1)'],
      ],
      [['--user', 'nobody', '--until-idle', '1'], []],
      [['--database', 'postgres', '--sqlstate', '42P01', '--until-idle', '1000'], ['insert into orders values (1)']],
    ] satisfies [args: string[], expected: string[]][]
  ).map(([args, expected]) => ({ tail: startTail(t, proxy.storeUrl, ['--since', '1h', ...args]), args, expected }))
  for (const { tail, args, expected } of tails) {
    assert.equal(await tail.end(), 0, `${args.join(' ')}: ${tail.errors()}`)
    // The idle ones may have looked before the part was stored; what they show is what they name all the same.
    if (args.includes('--count'))
      assert.deepEqual(
        sqlOf(tail.lines()).map((sql) => sql?.trim()),
        expected,
      )
    else for (const sql of sqlOf(tail.lines())) assert.ok(sql !== undefined && expected.includes(sql))
  }
  await client.end()
})

test('one session is shown from its beginning until it is closed', async (t) => {
  await using proxy = await startProxyProcess({ upstream })
  const client = await connected(proxy)
  await client.query('select 1')
  await until('there is a session', () => statSync(join(proxy.storeFolder, 'sessions'), { throwIfNoEntry: false }) !== undefined)
  await untilListed(proxy)
  const tail = startTail(t, proxy.storeUrl, ['last'])
  await until('its beginning is shown', () => tail.lines().length === 1)
  await client.query('select 2')
  await until('it is shown as it grows', () => tail.lines().length === 2)
  await client.query('select 3')
  await client.end()
  assert.equal(await tail.end(), 0)
  assert.deepEqual(sqlOf(tail.lines()), ['select 1', 'select 2', 'select 3'])
})

async function untilListed(proxy: RunningProxy): Promise<void> {
  for (const end = Date.now() + waitMillisecondsMax; ; await sleep(50)) {
    const { stdout } = await steno(['sessions', '--json', '--store', proxy.storeUrl])
    if (stdout.includes('"state":"open"')) return
    assert.ok(Date.now() < end, 'the session is stored')
  }
}

test('a proxy that is killed and started again is tailed without a statement missing or shown twice', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'steno-tail-killed-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  await using first = await startProxyProcess({ upstream, folder })
  const tail = startTail(t, first.storeUrl, ['--since', '1h', '--sessions'])
  const client = await connected(first)
  const sent: string[] = []
  for (let number = 0; number < 200; number++) {
    sent.push(`select ${number}`)
    await client.query(sent.at(-1)!)
    if (number === 100) await until('the first part is shown', () => tail.lines().length > 1)
  }
  await first.kill()
  await using second = await startProxyProcess({ upstream, folder })
  await until('what was recovered is shown', () => tail.lines().some(({ event }) => event === 'session-closed'))
  const later = await connected(second)
  await later.query('select 200')
  sent.push('select 200')
  await later.end()
  await until('what came later is shown', () => tail.lines().filter(({ event }) => event === 'session-closed').length === 2)
  assert.deepEqual(sqlOf(tail.lines()), sent)
  assert.equal(await tail.end('SIGTERM'), 0)
})

test('a reader that has seen enough ends it, and bad input is refused with what to give instead', async (t) => {
  await using proxy = await startProxyProcess({ upstream })
  const client = await connected(proxy)
  const tail = startTail(t, proxy.storeUrl, ['--since', '1h'])
  await client.query('select 1')
  await until('it is shown', () => tail.lines().length === 1)
  tail.child.stdout!.destroy()
  await client.query('select 2')
  assert.equal(await tail.end(), 0)
  await client.end()
  for (const [args, code, expected] of [
    [['--sql', '('], 2, /regular expression/],
    [['--table', 'a b'], 2, /must be a name/],
    [['--since', 'yesterday'], 2, /must be a date/],
    [['--count', '0'], 2, /whole number/],
    [['ffffffff'], 1, /SESSION_NOT_FOUND/],
  ] as const) {
    const { status, stdout, stderr } = await steno(['tail', '--store', proxy.storeUrl, ...args])
    assert.deepEqual([status, stdout], [code, ''], args.join(' '))
    assert.match(stderr, expected)
  }
})
