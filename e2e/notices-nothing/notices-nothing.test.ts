// Goal: the client notices nothing. Method: random conversations over all message kinds, right and wrong ones, are held directly and
// through steno with databases that are the same, in random pieces with random pauses, and all that comes back is compared byte for byte,
// apart from process ids, keys and times. STENO_CONVERSATIONS says how many (50; `make test-slow` 150). A failure names its seed; STENO_SEED=n
// runs that one again.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import test, { after, before, suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { frontend } from '../../postgres/messages/write-for-tests.ts'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { startProxyProcess, steno, stopUntilStored, type RunningProxy } from '../support/proxy.ts'
import { makeConversation, schemaSql } from './conversations.ts'
import { createRandom, seedsToRun } from './random.ts'
import { connectRaw, type RawOptions } from './raw-client.ts'
import { authenticationOk, comparable, talk, withoutExchange, type Heard } from './talk.ts'

const conversationCount = Number(process.env['STENO_CONVERSATIONS'] ?? 50)
/** At level `stored` each answer waits for the store's disk: fewer conversations say as much. */
const ways = [
  { mode: 'custody', level: 'results', conversations: conversationCount },
  { mode: 'pass-through', level: 'results', conversations: conversationCount },
  { mode: 'custody', level: 'stored', conversations: Math.ceil(conversationCount / 3) },
] as const satisfies readonly { readonly mode: Mode; readonly level: string; readonly conversations: number }[]
/** Even a conversation that is cut off has the session's parameters behind it. */
const startUpFramesMin = 15
/**
 * PostgreSQL itself may die of what a conversation says; it then ends everybody's sessions, on both ways. 18.4 does of BEGIN by the
 * extended protocol, then as queries a ROLLBACK TO without its savepoint and any SELECT, then Execute of the unnamed portal.
 */
const crashesMax = 2
const crashLoggedMilliseconds = 200
type Mode = 'custody' | 'pass-through'

let server: EmbeddedPostgres
const password = 'the-password-of-shop'

before(async () => {
  server = await startPostgres({ settings: { max_connections: '50' } })
  await server.query(`create role shop login password '${password}'`)
  await server.query('create database template_for_all owner shop')
  await server.query(schemaSql, 'template_for_all')
  await server.query('grant all on all tables in schema public to shop; grant all on schema public to shop', 'template_for_all')
})
after(() => server.stop())

/** What the server's log says of processes of its own that crashed. */
async function crashLines(): Promise<string[]> {
  const log = await readFile(server.logFile, 'utf8')
  return log.match(/^.*\(PID \d+\) (?:was terminated by|exited with exit code (?![01]\b)).*\n(?:.*DETAIL: .*)?/gm) ?? []
}

async function untilRecovered(): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await server.query('select 1')
      return
    } catch (error) {
      if (tries === 1_000) throw error
      await sleep(100)
    }
  }
}

/** Two databases that are the same to the last object id. */
async function twins(name: string): Promise<{ direct: string; throughSteno: string }> {
  const direct = `${name}_direct`
  const throughSteno = `${name}_steno_`
  for (const database of [direct, throughSteno]) await server.query(`create database ${database} template template_for_all owner shop`)
  return { direct, throughSteno }
}

function upstreamOf(mode: Mode, database: string): string {
  const who = mode === 'custody' ? `user=shop password=${password} dbname=${database}` : ''
  return `host=${server.host} port=${server.port} sslmode=disable ${who}`
}

/** What the agent signs in with: in custody nothing. */
function agentOf(mode: Mode, proxy: RunningProxy, database: string, rest: Partial<RawOptions> = {}): RawOptions {
  const { host, port } = proxy
  const parameters = { user: 'shop', database, ...rest.parameters }
  return { host, port, ...rest, ...(mode === 'custody' ? {} : { password: rest.password ?? password }), parameters }
}
function directlyOf(database: string, rest: Partial<RawOptions> = {}): RawOptions {
  return { host: server.host, port: server.port, password, ...rest, parameters: { user: 'shop', database, ...rest.parameters } }
}

for (const { mode, level, conversations } of ways) {
  suite(`the client notices nothing: ${mode}, level ${level}`, { concurrency: 1 }, () => {
    test('in random conversations over all message kinds', async (t) => {
      let cutOff = 0
      let crashes = 0
      const seeds = seedsToRun(conversations)
      for (let at = 0; at < seeds.length;) {
        const name = `${mode.replace('-', '_')}_${level}_${at}`
        const { direct, throughSteno } = await twins(name)
        await using proxy = await startProxyProcess({ upstream: upstreamOf(mode, throughSteno), arguments: ['--level', level] })
        let crash: string | null = null
        for (; at < seeds.length && crash === null; at++) {
          const seed = seeds[at]!
          const crashesBefore = (await crashLines()).length
          const conversation = makeConversation(createRandom(seed))
          const talks = [
            talk(directlyOf(direct), conversation, createRandom(seed + 1)),
            talk(agentOf(mode, proxy, throughSteno), conversation, createRandom(seed + 2)),
          ] as const
          const [first, second] = await Promise.allSettled(talks)
          const isSame =
            first.status === 'fulfilled' && second.status === 'fulfilled' && isDeepStrictEqual(...framesOf(mode, first.value, second.value))
          if (isSame) continue
          await sleep(crashLoggedMilliseconds)
          await untilRecovered() // The server takes a connection once it has dealt with processes that ended before.
          crash = (await crashLines())[crashesBefore] ?? null
          if (crash !== null) {
            t.diagnostic(`STENO_SEED=${seed}: the database crashed, so this conversation says nothing: ${crash}`)
            continue
          }
          const [expected, got] = await Promise.all(talks)
          const pair = framesOf(mode, expected, got)
          if (got.wasCutOff || expected.wasCutOff) {
            cutOff++
            const common = Math.min(...pair.map((frames) => frames.length))
            assert(common >= startUpFramesMin, `STENO_SEED=${seed}: only ${common} frames came`)
            pair.forEach((frames, index) => (pair[index] = frames.slice(0, common)))
          }
          assert.deepEqual(pair[0], pair[1], `STENO_SEED=${seed}`)
        }
        if (crash === null) {
          const state =
            'select (select jsonb_agg(i order by id) from items i) as items, (select jsonb_agg(line order by line) from log) as log'
          assert.deepEqual(await server.query(state, throughSteno), await server.query(state, direct), 'both databases are left the same')
        } else {
          crashes++
          assert(crashes <= crashesMax, 'the database crashed too often for a comparison')
          await untilRecovered()
        }
        await stopUntilStored(proxy, upstreamOf(mode, throughSteno))
        const verified = await steno(['verify', '--all', '--store', proxy.storeUrl])
        assert.equal(verified.status, 0, verified.stdout + verified.stderr)
      }
      assert(
        cutOff <= 1 + seeds.length / 5,
        `${cutOff} of ${seeds.length} conversations could be compared only up to where the database cut them off`,
      )
    })

    test('at start-up: parameters, notices, protocol versions and refusals', async () => {
      const { direct, throughSteno } = await twins(`start_${mode.replace('-', '_')}_${level}`)
      for (const database of [direct, throughSteno]) {
        await server.query(
          `alter database ${database} set search_path = public, pg_catalog; alter database ${database} set work_mem = '5MB'`,
        )
      }
      await using proxy = await startProxyProcess({ upstream: upstreamOf(mode, throughSteno), arguments: ['--level', level] })
      const variants: Record<string, Partial<RawOptions>> = {
        plain: {},
        'many parameters': {
          parameters: {
            application_name: 'ünï',
            client_encoding: 'LATIN1',
            DateStyle: 'German',
            TimeZone: 'Asia/Tokyo',
            extra_float_digits: '2',
            options: '-c work_mem=6MB -c search_path=x',
          },
        },
        'protocol 3.2': { protocolMinor: 2 },
        'a protocol to come': { protocolMinor: 9 },
        'an unknown protocol option': { parameters: { '_pq_.nothing': '1', application_name: 'a' } },
        'an unknown setting': { parameters: { nonsense: '1' } },
        'a bad value': { parameters: { DateStyle: 'nonsense' } },
        'bad options': { parameters: { options: '-c nonsense' } },
        'debug messages': { parameters: { client_min_messages: 'debug1' } },
        ...(mode === 'custody' ? {} : { 'a wrong password': { password: 'wrong' } }),
        ...(mode === 'custody' ? {} : { 'an unknown database': { parameters: { database: 'nowhere' } } }),
        ...(mode === 'custody' ? {} : { 'an unknown user': { parameters: { user: 'nobody' } } }),
      }
      for (const [name, variant] of Object.entries(variants)) {
        const expected = await startUp(directlyOf(direct, variant))
        const got = await startUp(agentOf(mode, proxy, throughSteno, variant))
        assert.deepEqual(seen(mode, got), seen(mode, expected), name)
      }
    })
  })
}

function framesOf(mode: Mode, expected: Heard, got: Heard): [got: readonly string[], expected: readonly string[]] {
  return [seen(mode, got.frames), seen(mode, expected.frames)]
}

/**
 * What is compared. A session that the database refuses behind AuthenticationOk begins with its error here: steno passes
 * AuthenticationOk on only with all of the start-up, once the session's opening is recorded. No client acts on it alone.
 */
function seen(mode: Mode, frames: readonly string[]): readonly string[] {
  const relevant = mode === 'custody' ? withoutExchange(frames) : frames
  return frames.some((frame) => frame.startsWith('Z ')) ? relevant : relevant.filter((frame) => frame !== authenticationOk)
}

/** What came until ReadyForQuery, and what a first statement shows of the session. */
async function startUp(options: RawOptions): Promise<string[]> {
  const client = connectRaw(options)
  try {
    await client.start()
    client.socket.end(
      Buffer.concat([
        frontend.query("select name, setting from pg_settings where source in ('client', 'database') order by 1"),
        frontend.terminate,
      ]),
    )
    await client.end()
    return comparable(client.frames())
  } finally {
    await client.destroy()
  }
}
