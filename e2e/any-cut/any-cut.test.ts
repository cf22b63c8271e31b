// Goal: any cut of the stream gives the same recording. Method: one conversation is held again and again through the real proxy; what the
// agent says and (by a relay before the server) what the database says is cut at each single place, in single bytes, and at random.
// All recordings then hold the same frames and the same statements, but for times and places.
import assert from 'node:assert/strict'
import test from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { frontend } from '../../postgres/messages/write-for-tests.ts'
import type { StatementSummary } from '../../postgres/statement.ts'
import { readIdentity, readRecords, readStatements, sessionIds } from '../../session/read-session.ts'
import { recordFlag, recordType } from '../../session/records.ts'
import type { IndexLine } from '../../session/statement-index.ts'
import { openStore } from '../../session/stores/open-store.ts'
import type { Store } from '../../session/stores/store.ts'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { createRandom, seedsToRun } from '../notices-nothing/random.ts'
import { comparable } from '../notices-nothing/talk.ts'
import { connectRaw, framesOf, type RawFrame } from '../notices-nothing/raw-client.ts'
import { startProxyProcess, steno, stopUntilStored, type RunningProxy } from '../support/proxy.ts'
import { startRelay, type Cutter } from './relay.ts'

const randomCuts = 40
/** Long enough that the proxy reads what came before on its own; a cut that it does not see is a cut less, not a failure. */
const pauseMilliseconds = 2

/** Every way of the redactor and both scanners: judged and redacted frames, an echoed literal, COPY both ways, an error, a suspension. */
const long = Buffer.concat([
  frontend.query('select 1; select null'),
  frontend.parse('select $1::int + $2::int', 'sum', [23]),
  frontend.bind({ statement: 'sum', values: ['1', '2'] }),
  frontend.describe('P'),
  frontend.execute('', 1),
  frontend.sync,
  frontend.query("alter role shop password 'a literal that is redacted'"),
  frontend.query("alter role nobody password 'a literal that is redacted'"),
  frontend.query("do $$ begin raise notice 'said'; end $$"),
  frontend.query('copy (select generate_series(1, 20)) to stdout'),
  frontend.query('create temp table t (a text); copy t from stdin'),
  frontend.copyData('one\ntwo\n'),
  frontend.copyData('three\n'),
  frontend.copyDone,
  frontend.parse('select generate_series(1, 5)'),
  frontend.bind(),
  frontend.execute('', 2),
  frontend.execute('', 0),
  frontend.sync,
  frontend.query('select 1/0'),
  frontend.functionCall(177, ['20', '22']),
  frontend.terminate,
])
const short = Buffer.concat([
  frontend.query("alter role x password 'y'"),
  frontend.parse('select $1'),
  frontend.bind({ values: ['v'] }),
  frontend.execute(),
  frontend.sync,
  frontend.terminate,
])

type Cuts = { readonly agent?: readonly number[]; readonly server?: Cutter }

/** How the relay cuts the next connection. */
let serverCutter: Cutter = (chunk) => [chunk]
const whole: Cutter = (chunk) => [chunk]
const singleBytes: Cutter = (chunk) => Array.from(chunk, (_, place) => chunk.subarray(place, place + 1))
const at =
  (place: number): Cutter =>
  (chunk, offset) =>
    place > offset && place < offset + chunk.length ? [chunk.subarray(0, place - offset), chunk.subarray(place - offset)] : [chunk]

test('any cut of the stream gives the same recording', async (t) => {
  await using server = await startPostgres()
  await using relay = await startRelay({ target: server, cut: () => serverCutter, pauseMilliseconds: () => pauseMilliseconds })
  await using proxy = await startProxyProcess({ upstream: upstreamThrough(relay, server) })
  const runs: { readonly name: string; readonly like: string }[] = []

  async function run(name: string, like: string, conversation: Buffer, { agent = [], server: cutter = whole }: Cuts): Promise<number> {
    serverCutter = cutter
    runs.push({ name, like })
    return say(proxy, name, conversation, agent)
  }

  await t.test('said in one piece, in single bytes, and in random pieces', async () => {
    await run('long', 'long', long, {})
    await run('long, the server in single bytes', 'long', long, { server: singleBytes })
    await run('long, the agent in single bytes', 'long', long, { agent: Array.from(long, (_, place) => place) })
    for (const seed of seedsToRun(randomCuts)) {
      const random = createRandom(seed)
      const agent = Array.from({ length: random.below(20) }, () => random.below(long.length))
      const cutter: Cutter = (chunk) => {
        const places = Array.from({ length: random.below(5) }, () => random.below(chunk.length)).toSorted((a, b) => a - b)
        return [0, ...places].map((from, index) => chunk.subarray(from, places[index] ?? chunk.length))
      }
      await run(`long, STENO_SEED=${seed}`, 'long', long, { agent, server: cutter })
    }
  })
  await t.test('cut at each single place of a short one', async () => {
    const heardBytes = await run('short', 'short', short, {})
    for (let place = 1; place < short.length; place++) await run(`short, the agent cut at ${place}`, 'short', short, { agent: [place] })
    // The relay's stream also holds the sign-in of the proxy, so its places are counted from the end.
    const total = await serverBytes(proxy, server)
    for (let place = Math.max(1, total - heardBytes); place < total; place++)
      await run(`short, the server cut at ${place}`, 'short', short, { server: at(place) })
  })

  await stopUntilStored(proxy, upstreamThrough(relay, server))
  const verified = await steno(['verify', '--all', '--store', proxy.storeUrl])
  assert.equal(verified.status, 0, verified.stdout + verified.stderr)
  await t.test('and all recordings are the same', async () => {
    const recordings = await readAll(await openStore(proxy.storeUrl))
    for (const { name, like } of runs) {
      const recording = recordings.get(name)
      assert(recording !== undefined, `there is no recording of: ${name}`)
      assert.deepEqual(recording, recordings.get(like), name)
    }
    const { statements, frontend: said } = recordings.get('long')!
    assert.equal(statements.length, 12)
    assert.match(said.at(-1)!, /^redacted: .*alter role shop password/s)
    assert(!JSON.stringify([...recordings.values()]).includes('a literal that is redacted'))
  })
})

function upstreamThrough(relay: { host: string; port: number }, server: EmbeddedPostgres): string {
  return `host=${relay.host} port=${relay.port} user=${server.superuser} password=${server.password} dbname=postgres sslmode=disable`
}

/** Says `conversation` cut at `cuts`; gives how many bytes came back behind the start-up. */
async function say(proxy: RunningProxy, name: string, conversation: Buffer, cuts: readonly number[]): Promise<number> {
  const client = connectRaw({
    host: proxy.host,
    port: proxy.port,
    parameters: { user: 'agent', database: 'postgres', application_name: name },
  })
  try {
    await client.start()
    const before = client.receivedBytes
    const places = [...new Set(cuts)].toSorted((a, b) => a - b)
    const isBytewise = places.length > 100
    for (const [index, from] of [0, ...places].entries()) {
      const piece = conversation.subarray(from, places[index] ?? conversation.length)
      if (piece.length > 0) client.send(piece)
      if (isBytewise) await new Promise(setImmediate)
      else if (index < places.length) await sleep(pauseMilliseconds)
    }
    await client.end()
    return client.receivedBytes - before
  } finally {
    await client.destroy()
  }
}

/** How many bytes the server says in all of `short`, told by a relay of its own. */
async function serverBytes(proxy: RunningProxy, server: EmbeddedPostgres): Promise<number> {
  let total = 0
  const measure: Cutter = (chunk, offset) => {
    total = offset + chunk.length
    return [chunk]
  }
  serverCutter = measure
  await say(proxy, `measured at ${server.port}`, short, [])
  return total
}

type Recording = { readonly frontend: readonly string[]; readonly backend: readonly string[]; readonly statements: readonly unknown[] }

const timesAndPlaces = ['place', 'started', 'finished', 'session', 'segment']

/** Every recording by its application name. */
async function readAll(store: Store): Promise<Map<string, Recording>> {
  const recordings = new Map<string, Recording>()
  for await (const session of sessionIds(store, 'oldest')) {
    const { asserted } = await readIdentity(store, session)
    const sides: Record<'frontend' | 'backend', { bytes: Buffer[]; redacted: Buffer[] }> = {
      frontend: { bytes: [], redacted: [] },
      backend: { bytes: [], redacted: [] },
    }
    for await (const { type, flags, payload } of readRecords(store, session)) {
      const side = type === recordType.frontend ? sides.frontend : type === recordType.backend ? sides.backend : null
      side?.bytes.push(Buffer.from(payload))
      if ((flags & recordFlag.redacted) !== 0) side?.redacted.push(Buffer.from(payload))
    }
    const statements: unknown[] = []
    for await (const line of readStatements<StatementSummary & IndexLine>(store, session)) {
      statements.push(Object.fromEntries(Object.entries(line).filter(([name]) => !timesAndPlaces.includes(name))))
    }
    recordings.set(String(asserted['application_name']), {
      frontend: shown(sides.frontend),
      backend: shown(sides.backend),
      statements,
    })
  }
  return recordings
}

function shown({ bytes, redacted }: { bytes: readonly Buffer[]; redacted: readonly Buffer[] }): string[] {
  const frames: readonly RawFrame[] = framesOf(Buffer.concat(bytes))
  return [...comparable(frames), `redacted: ${Buffer.concat(redacted).toString('latin1')}`]
}
