// Goal: no input crashes it. Method: conversations as they were really held, damaged in every way, are said to the proxy by an agent, by a
// database, and given to the readers and commands as stored objects. The proxy lives on, serves the others, holds no more memory, logs no
// defect, and what it recorded verifies. Runs for STENO_FUZZ_SECONDS; a failure names its seed, which STENO_SEED begins with.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import test, { after, before } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { KnownError } from '../../base/errors.ts'
import { createStatementTracker } from '../../postgres/statement-tracker.ts'
import { frontend } from '../../postgres/messages/write-for-tests.ts'
import { createMemoryStore } from '../../session/memory-store.ts'
import { listSessions, readRecords, readStatements, sessionIds } from '../../session/read-session.ts'
import { decodeRecords, encodeRecord, recordType, type SessionRecord } from '../../session/records.ts'
import { openSegment, sealSegment, segmentRawBytesMax } from '../../session/segment.ts'
import type { Store } from '../../session/stores/store.ts'
import { verifyStore } from '../../session/verify.ts'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { makeConversation, schemaSql } from '../notices-nothing/conversations.ts'
import { createRandom, seedsToRun, type Random } from '../notices-nothing/random.ts'
import { connectRaw, startupMessage, type RawClient } from '../notices-nothing/raw-client.ts'
import { startProxyProcess, steno, type RunningProxy } from '../support/proxy.ts'
import { authenticationRequests, soundStartUp, startFakeServer, type Script } from './fake-server.ts'
import { mutate } from './mutate.ts'

const seconds = Number(process.env['STENO_FUZZ_SECONDS'] ?? 8)
/** Each of the four tests has its part of the time. */
const partMilliseconds = (seconds * 1000) / 4
const concurrency = 4
const conversationMillisecondsMax = 150
/** An idle proxy has about 80 MB; a peer may not make it hold more than its stated buffers. */
const residentBytesMax = 300 * 1024 * 1024
const firstSeed = seedsToRun(1)[0]!

let server: EmbeddedPostgres
const said: Buffer[] = []
const answered: Buffer[] = []
let folder: string

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'steno-fuzz-'))
  server = await startPostgres({ authentication: 'trust' })
  await server.query(schemaSql)
  for (let seed = 1; seed <= 12; seed++) {
    const bytes = Buffer.concat(makeConversation(createRandom(seed)).steps.map((step) => step.bytes))
    const client = connectRaw({ host: server.host, port: server.port, parameters: { user: 'postgres', database: 'postgres' } })
    await client.start()
    const startUpBytes = client.receivedBytes
    client.socket.end(bytes)
    await client.end()
    said.push(bytes)
    answered.push(Buffer.from(client.received().subarray(startUpBytes)))
  }
})
after(async () => {
  await server.stop()
  await rm(folder, { recursive: true, force: true })
})

/** Runs `one` with seed after seed until the time is up, several at a time; every second `check`. */
async function untilTimeIsUp(one: (random: Random) => Promise<void>, check: () => Promise<void>): Promise<number> {
  const deadline = Date.now() + partMilliseconds
  let seed = firstSeed
  let nextCheck = 0
  while (Date.now() < deadline || seed === firstSeed) {
    const seeds = Array.from({ length: concurrency }, () => seed++)
    try {
      await Promise.all(seeds.map((each) => one(createRandom(each))))
      if (Date.now() >= nextCheck) {
        await check()
        nextCheck = Date.now() + 1_000
      }
    } catch (error) {
      throw new Error(`STENO_SEED=${seeds[0]}: ${String(error)}`, { cause: error })
    }
  }
  await check()
  return seed - firstSeed
}

/** Says `bytes` in up to three pieces, waits for the end or a moment, and leaves. */
async function sayAndLeave(client: RawClient, bytes: Buffer, random: Random): Promise<void> {
  const cut = random.below(bytes.length + 1)
  client.send(bytes.subarray(0, cut))
  if (random.chance(0.5)) await sleep(1)
  client.send(bytes.subarray(cut))
  if (random.chance(0.5)) client.socket.end()
  await Promise.race([client.end(), sleep(conversationMillisecondsMax)])
  assert(
    !/\bXX000\0Msteno: /.test(client.received().toString('latin1')),
    `the agent was told of a defect: ${client.received().toString('latin1').slice(-400)}`,
  )
  await client.destroy()
}

/** The proxy is alive, serves others, is small, and logs nothing that looks like a defect. */
async function checkProxy(proxy: RunningProxy, expected: string): Promise<void> {
  const client = connectRaw({ host: proxy.host, port: proxy.port, parameters: { user: 'agent', database: 'postgres' } })
  try {
    await client.start()
    client.send(Buffer.concat([frontend.query("select 'still here'"), frontend.terminate]))
    await client.end()
    assert(
      client.received().toString('latin1').includes(expected),
      `another connection is not served: ${client.received().toString('latin1')}\n${tail(proxy)}`,
    )
  } finally {
    await client.destroy()
  }
  const status = readFileSync(`/proc/${proxy.pid}/status`, 'utf8')
  const residentBytes = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024
  assert(residentBytes < residentBytesMax, `the proxy grew to ${residentBytes} bytes`)
  assert.doesNotMatch(proxy.log(), /defect|\bat .*\.ts:\d|unhandled|uncaught|TypeError|RangeError|ERR_|"level":"fatal"/i, tail(proxy))
}
const tail = (proxy: RunningProxy): string => proxy.log().slice(-3_000)

async function endSound(proxy: RunningProxy): Promise<void> {
  assert.equal(await proxy.stop(), 0, tail(proxy))
  const verified = await steno(['verify', '--all', '--store', proxy.storeUrl, '--spool', proxy.spoolFolder])
  assert.equal(verified.status, 0, verified.stdout.slice(0, 3_000) + verified.stderr)
}

test('no input crashes it: from the agent', async (t) => {
  const upstream = `host=${server.host} port=${server.port} user=postgres dbname=postgres sslmode=disable`
  await using proxy = await startProxyProcess({ upstream, folder: path.join(folder, 'agent') })
  const startUp = startupMessage({ user: 'agent', database: 'postgres', application_name: 'fuzz' })
  // A session that lives through all of it.
  const witness = connectRaw({ host: proxy.host, port: proxy.port, parameters: { user: 'agent', database: 'postgres' } })
  await witness.start()
  const count = await untilTimeIsUp(
    async (random) => {
      const client = connectRaw({ host: proxy.host, port: proxy.port, parameters: { user: 'agent', database: 'postgres' } })
      if (random.chance(0.15)) {
        // Also before the session begins, pipelined with what should follow.
        await sayAndLeave(client, Buffer.concat([mutate(random, startUp, said), random.pick(said)]), random)
        return
      }
      await client.start()
      await sayAndLeave(client, mutate(random, random.pick(said), [...said, ...answered]), random)
    },
    async () => {
      await checkProxy(proxy, 'still here')
      const answers = witness.countOf('Z')
      witness.send(frontend.query('select 1'))
      await witness.until(() => witness.countOf('Z') > answers)
      assert(!witness.closed, `a session was ended that did nothing wrong\n${tail(proxy)}`)
    },
  )
  await witness.destroy()
  await endSound(proxy)
  t.diagnostic(`${count} conversations`)
})

test('no input crashes it: from the database', async (t) => {
  const sound: Script = { startUp: soundStartUp, answer: Buffer.from('C\0\0\0\x0fstill here\0Z\0\0\0\x05I', 'latin1'), closes: true }
  const scripts: Script[] = []
  await using fake = await startFakeServer(() => scripts.shift() ?? sound)
  await using proxy = await startProxyProcess({ upstream: `host=${fake.host} port=${fake.port} user=u dbname=postgres sslmode=disable` })
  const count = await untilTimeIsUp(
    async (random) => {
      const isStartUp = random.chance(0.2)
      scripts.push({
        startUp: isStartUp ? damagedStartUp(random) : soundStartUp,
        answer: mutate(random, random.pick(answered), [...answered, ...said]),
        closes: random.chance(0.7),
      })
      const client = connectRaw({ host: proxy.host, port: proxy.port, parameters: { user: 'agent', database: 'postgres' } })
      await Promise.race([client.start(), sleep(conversationMillisecondsMax)])
      await sayAndLeave(client, random.pick(said), random)
    },
    async () => {
      scripts.length = 0
      await checkProxy(proxy, 'still here')
    },
  )
  await endSound(proxy)
  t.diagnostic(`${count} conversations`)
})

function damagedStartUp(random: Random): Buffer {
  const requests = Array.from({ length: random.below(4) }, () => random.pick(authenticationRequests))
  const whole = Buffer.concat([...requests, soundStartUp])
  return random.chance(0.2) ? whole : mutate(random, whole, [...answered, ...authenticationRequests])
}

/** What the first test stored: real sessions, many of them strange. Made whole again after each damage. */
async function storedObjects(): Promise<Map<string, Buffer>> {
  const root = path.join(folder, 'agent', 'store')
  const files = (await readdir(root, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
  const objects = new Map<string, Buffer>()
  for (const entry of files.slice(0, 400)) {
    const file = path.join(entry.parentPath, entry.name)
    objects.set(path.relative(root, file), await readFile(file))
  }
  return objects
}

/** Reads as the commands do. Anything but a KnownError is a defect. */
async function readEverything(store: Store, session: string): Promise<void> {
  await knownErrorsOnly(async () => {
    for await (const _ of verifyStore(store, {})) continue
  })
  await knownErrorsOnly(async () => {
    for await (const _ of listSessions(store)) continue
  })
  await knownErrorsOnly(async () => {
    for await (const _ of readStatements(store, session)) continue
  })
  await knownErrorsOnly(async () => {
    const tracker = createStatementTracker({ onStatement: () => undefined })
    for await (const record of readRecords(store, session)) track(tracker, record)
    tracker.close(0, 0)
  })
}

async function knownErrorsOnly(read: () => Promise<void>): Promise<void> {
  try {
    await read()
  } catch (error) {
    if (!(error instanceof KnownError)) throw error
  }
}

function track(tracker: ReturnType<typeof createStatementTracker>, { type, payload, time }: SessionRecord, place = 0): void {
  if (type === recordType.frontend) tracker.frontend(payload, time, place, false)
  else if (type === recordType.backend) tracker.backend(payload, time, place)
  else if (type === recordType.gap) tracker.gap(time, place)
}

/**
 * A segment whose checksums are right and whose content is not: as a defect of the recorder, or somebody with time, would make it.
 * Within the length that sealing takes: what a damage emptied or blew up beyond it is cut, or left as it was.
 */
function resealed(random: Random, bytes: Buffer): Buffer {
  const { header, body } = openSegment(bytes)
  const records = [...decodeRecords(body)]
  const payloads = records.map(({ payload }) => payload)
  const changed = records.map((record) => (random.chance(0.3) ? { ...record, payload: mutate(random, record.payload, payloads) } : record))
  const damaged = random.chance(0.5) ? Buffer.concat(changed.map(encodeRecord)) : mutate(random, body, payloads)
  return sealSegment(header, [damaged.length === 0 ? body : damaged.subarray(0, segmentRawBytesMax)]).bytes
}

test('no input crashes it: stored objects, by the readers', async (t) => {
  const objects = await storedObjects()
  const segments = [...objects.keys()].filter((key) => key.endsWith('.steno'))
  const kept = [...objects.keys()].filter((key) => !key.startsWith('sessions/'))
  const count = await untilTimeIsUp(
    async (random) => {
      const session = path.dirname(random.pick(segments))
      const own = [...objects.keys()].filter((key) => key.startsWith(`${session}/`))
      const store = createMemoryStore(new Map([...kept, ...own].map((key) => [key, objects.get(key)!])))
      const key = random.pick(random.chance(0.8) ? own : [...kept, ...own])
      const bytes = objects.get(key)!
      const isResealed = key.endsWith('.steno') && random.chance(0.5)
      store.objects.set(key, isResealed ? resealed(random, bytes) : mutate(random, bytes, [...objects.values()]))
      if (isResealed) store.objects.delete(`${session}/manifest.json`)
      await readEverything(store, path.basename(session))
    },
    async () => undefined,
  )
  t.diagnostic(`${count} damages`)
})

test('no input crashes it: stored objects, by the commands', async (t) => {
  const objects = await storedObjects()
  const sessions: string[] = []
  for await (const session of sessionIds(createMemoryStore(objects), 'oldest')) sessions.push(session)
  const root = path.join(folder, 'commands')
  await cp(path.join(folder, 'agent', 'store'), root, { recursive: true })
  const store = ['--store', pathToFileURL(root).href]
  const deadline = Date.now() + partMilliseconds
  let seed = firstSeed
  for (; Date.now() < deadline || seed === firstSeed; seed++) {
    const random = createRandom(seed)
    const session = random.pick(sessions)
    const own = [...objects.keys()].filter((key) => key.includes(session))
    const key = random.pick(own)
    const bytes = objects.get(key)!
    await writeFile(
      path.join(root, key),
      key.endsWith('.steno') && random.chance(0.5) ? resealed(random, bytes) : mutate(random, bytes, [...objects.values()]),
    )
    const commands = [
      ['show', session, ...store],
      ['show', session, '--statement', '1', ...store],
      ['show', session, '--json', ...store],
      ['verify', session, ...store],
      ['sessions', ...store],
    ]
    const command = random.pick(commands)
    const { status, stdout, stderr } = await steno(command)
    const what = `STENO_SEED=${seed}: steno ${command.join(' ')} with a damaged ${key}: status ${status}\n${stderr.slice(0, 2_000)}`
    assert([0, 1, 2, 3].includes(status), what)
    assert.doesNotMatch(stderr, /defect|\bat .*\.ts:\d|unhandled|uncaught|TypeError|RangeError/i, what)
    assert.doesNotMatch(stdout, /\bat .*\.ts:\d/, what)
    await writeFile(path.join(root, key), bytes)
  }
  t.diagnostic(`${seed - firstSeed} commands`)
})
