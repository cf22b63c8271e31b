// Goal: a sidecar records whether its store is there or not, loses nothing when it is killed, says what it could not ship, and ends soon.
// Method: the sidecar as a process over a real PostgreSQL; the store's folder is taken away and given back, signals come at bad moments.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test, type TestContext } from 'node:test'
import { assertOnceWithin } from '../../base/test-durations.ts'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { freePort } from '../../tools/free-port.ts'
import { assertVerified, readRecorded } from '../nothing-lost/recorded.ts'
import { connectRemembering, ConnectionEnded, errorIn, firstColumn, query } from '../nothing-lost/remembering-client.ts'
import { listenerFor, startSidecar, untilLogged, type SidecarProcess, type SidecarSettings } from './sidecar-process.ts'

let database: EmbeddedPostgres
before(async () => {
  database = await startPostgres()
})
after(() => database.stop())

type World = { readonly localPort: number; start(settings?: Partial<SidecarSettings>): Promise<SidecarProcess> }

async function createWorld(t: TestContext): Promise<World> {
  const localPort = await freePort()
  return {
    localPort,
    start: (settings = {}) =>
      startSidecar(t, {
        listeners: [listenerFor(0, { localPort, port: database.port })],
        variables: { STENO_SOURCE_0_DATABASE_URL: database.url },
        ...settings,
      }),
  }
}

/** A file in the folder's place refuses everything, to root too. */
async function takeStoreAway({ storeFolder }: SidecarProcess): Promise<void> {
  await rename(storeFolder, `${storeFolder}-away`)
  await writeFile(storeFolder, '')
}

async function giveStoreBack({ storeFolder }: SidecarProcess): Promise<void> {
  await rm(storeFolder)
  if (existsSync(`${storeFolder}-away`)) await rename(`${storeFolder}-away`, storeFolder)
}

/** A URL of a store whose place a file has from the first moment. */
async function storeAwayAt(folder: string): Promise<void> {
  await writeFile(join(folder, 'store'), '')
}

async function emptyFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'steno-pod-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

async function segmentsIn({ storeFolder }: SidecarProcess): Promise<string[]> {
  return (await readdir(storeFolder, { recursive: true })).filter((name) => name.endsWith('.steno'))
}

test('control that is away at start and comes later has everything in the end', { timeout: 300_000 }, async (t) => {
  const world = await createWorld(t)
  const folder = await emptyFolder(t)
  await storeAwayAt(folder)
  const sidecar = await world.start({ folder })
  assert.deepEqual(await sidecar.get('/startz'), { status: 200, text: 'ok\n' }, 'the pod starts')
  const client = await connectRemembering(world.localPort, 'while away')
  assert.deepEqual(firstColumn(await client.query("select 'passes'")), ['passes'])
  await untilLogged(sidecar, 'STORE_UNAVAILABLE')
  assert.deepEqual(firstColumn(await client.query("select 'passes still'")), ['passes still'])
  await giveStoreBack(sidecar)
  await client.end()
  assert.equal(await sidecar.stop(), 0)
  assert.equal(sidecar.terminationMessage(), '')
  await assertVerified(sidecar.storeFolder, sidecar.spoolFolder)
  assert.ok((await readRecorded(sidecar.storeFolder)).get('while away')!.backend.equals(client.received()))
})

test(
  'what killed sidecars spooled while control was away is shipped by the next one, under the same recorder',
  { timeout: 300_000 },
  async (t) => {
    const world = await createWorld(t)
    const folder = await emptyFolder(t)
    await storeAwayAt(folder)
    const received = new Map<string, Buffer>()
    for (const name of ['first', 'second']) {
      const sidecar = await world.start({ folder })
      const client = await connectRemembering(world.localPort, name)
      await client.query(`select '${name}'`)
      await sidecar.kill()
      await client.ended
      received.set(name, client.received())
    }
    const last = await world.start({ folder })
    const client = await connectRemembering(world.localPort, 'third')
    await client.query("select 'third'")
    received.set('third', client.received())
    await giveStoreBack(last)
    await client.end()
    assert.equal(await last.stop(), 0)
    await assertVerified(last.storeFolder, last.spoolFolder)
    const recorded = await readRecorded(last.storeFolder)
    assert.deepEqual(
      ['first', 'second', 'third'].map((name) => [recorded.get(name)!.closeReason, recorded.get(name)!.recovered]),
      [
        ['killed', true],
        ['killed', true],
        ['terminated', false],
      ],
    )
    for (const [name, bytes] of received) assert.ok(recorded.get(name)!.backend.equals(bytes), `nothing of ${name} is lost`)
    assert.equal(new Set([...recorded.values()].map(({ identity }) => identity.recorder)).size, 1)
  },
)

for (const [what, begin, isAnswered] of [
  ['in an open transaction', ['begin; create table if not exists cut (n int); insert into cut values (1)'], true],
  ['amid a statement', ['begin; create table cut (n int)', 'select pg_sleep(1000)'], false],
] as const) {
  test(`told to end while a session is ${what}, the sidecar cuts it, and the recording says so`, { timeout: 300_000 }, async (t) => {
    const world = await createWorld(t)
    await assertOnceWithin(10_000, async () => {
      const sidecar = await world.start()
      const client = await connectRemembering(world.localPort, 'cut')
      for (const sql of begin) {
        if (isAnswered || sql.startsWith('begin')) await client.query(sql)
        else client.send(query(sql))
      }
      const begun = performance.now()
      assert.equal(await sidecar.stop(), 0)
      const took = performance.now() - begun
      const { fields } = await client.ended
      assert.equal(fields?.get('C'), '57P01')
      assert.deepEqual(await database.query("select to_regclass('cut') as cut"), [{ cut: null }], 'nothing is committed')
      await assertVerified(sidecar.storeFolder, sidecar.spoolFolder)
      const recorded = (await readRecorded(sidecar.storeFolder)).get('cut')!
      assert.equal(recorded.closeReason, 'shutdown')
      assert.ok(recorded.backend.equals(client.received()))
      return took
    })
  })
}

test('an agent that ended before has its sidecar ended within ten seconds, all shipped', { timeout: 300_000 }, async (t) => {
  const world = await createWorld(t)
  await assertOnceWithin(10_000, async () => {
    const sidecar = await world.start()
    const client = await connectRemembering(world.localPort, 'job')
    await client.query("select 'work'")
    client.socket.destroy() // As the kernel does it for a process that ends.
    const begun = performance.now()
    assert.equal(await sidecar.stop(), 0)
    const took = performance.now() - begun
    await assertVerified(sidecar.storeFolder, sidecar.spoolFolder)
    assert.ok((await readRecorded(sidecar.storeFolder)).has('job'))
    return took
  })
})

test(
  'what cannot be shipped at the end is said before anything is waited for, and the next start ships it',
  { timeout: 300_000 },
  async (t) => {
    const world = await createWorld(t)
    const sidecar = await world.start()
    const client = await connectRemembering(world.localPort, 'left')
    await client.query("select 'left'")
    await takeStoreAway(sidecar)
    await client.end()
    sidecar.signal('SIGTERM')
    await untilLogged(sidecar, '"msg":"stopping"')
    while (!/^steno is ending, and [1-9]\d* bytes/.test(sidecar.terminationMessage()))
      await new Promise((resolve) => setTimeout(resolve, 10))
    // Longer after the first than what passes one signal on twice takes.
    await untilLogged(sidecar, 'STORE_UNAVAILABLE')
    await new Promise((resolve) => setTimeout(resolve, 400))
    sidecar.signal('SIGTERM')
    assert.equal(await sidecar.ended, 1)
    assert.match(
      sidecar.terminationMessage(),
      /^steno: the store has not taken everything: \d+ bytes of recordings \(since 20[-0-9T:.]+Z\) are still in the pod's spool/,
    )
    assert.match(sidecar.stderr(), /"waitingBytes":[1-9]\d*,"msg":"not everything is stored/)
    await giveStoreBack(sidecar)
    const next = await world.start({ folder: sidecar.folder })
    assert.equal(await next.stop(), 0)
    assert.equal(next.terminationMessage(), '')
    await assertVerified(next.storeFolder, next.spoolFolder)
    assert.ok((await readRecorded(next.storeFolder)).get('left')!.backend.equals(client.received()))
  },
)

test('a sidecar whose store is away ends in order before its grace period does, and says what is left', { timeout: 300_000 }, async (t) => {
  const world = await createWorld(t)
  await assertOnceWithin(10_000, async () => {
    const sidecar = await world.start({ terminationGraceSeconds: 3 })
    const client = await connectRemembering(world.localPort, 'left')
    await takeStoreAway(sidecar)
    await client.query("select 'left'")
    const begun = performance.now()
    assert.equal(await sidecar.stop(), 1)
    const took = performance.now() - begun
    assert.ok(took >= 2_000, `${took} ms`)
    assert.match(sidecar.terminationMessage(), /^steno: the store has not taken everything: \d+ bytes of recordings \(since 20/)
    assert.match(sidecar.stderr(), /"withinMilliseconds":2700,"usedMilliseconds":null,"msg":"stopping"/)
    assert.match(sidecar.stderr(), /"everythingStored":false,"waitingBytes":[1-9]\d*,"waitingSince":"20/)
    return took
  })
})

test('told to end again and again while the store is there, it ends once and well', { timeout: 300_000 }, async (t) => {
  const world = await createWorld(t)
  const sidecar = await world.start()
  const client = await connectRemembering(world.localPort, 'agent')
  await client.query('select 1')
  await client.end()
  for (let times = 0; times < 5; times++) sidecar.signal('SIGTERM')
  assert.equal(await sidecar.ended, 0)
})

for (const [what, recording, says] of [
  ['bytes', { spoolBytesMax: 8_400 }, /bytes wait for the store, more than the 8400 allowed/],
  ['age', { spoolAgeMillisecondsMax: 5_000 }, /recordings have waited for the store since/],
] as const) {
  test(
    `unshipped recordings are capped by ${what}: traffic waits, then fails clearly, and passes again when control is back`,
    { timeout: 300_000 },
    async (t) => {
      const world = await createWorld(t)
      const folder = await emptyFolder(t)
      await storeAwayAt(folder)
      const sidecar = await world.start({ folder, recording })
      const client = await connectRemembering(world.localPort, 'capped')
      let passed = 0
      let refused: ReadonlyMap<string, string> | null = null
      while (refused === null) {
        refused = errorIn(await client.query("select repeat('x', 1000)"))
        if (refused === null) passed++
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      assert.ok(passed > 0)
      assert.equal(refused.get('C'), '53100')
      assert.match(refused.get('M') ?? '', says)
      assert.match((await sidecar.get('/readyz')).text, /not recording/)
      await giveStoreBack(sidecar)
      while (errorIn(await client.query("select 'again'")) !== null);
      await client.end()
      assert.equal(await sidecar.stop(), 0)
      await assertVerified(sidecar.storeFolder, sidecar.spoolFolder)
      const { statements } = (await readRecorded(sidecar.storeFolder)).get('capped')!
      assert.equal(
        statements.filter(({ sql }) => sql.startsWith('select repeat')).length,
        passed,
        'no refused statement is recorded as run',
      )
    },
  )
}

test('what a killed sidecar left in the spool counts against what may wait', { timeout: 300_000 }, async (t) => {
  const world = await createWorld(t)
  const folder = await emptyFolder(t)
  await storeAwayAt(folder)
  const first = await world.start({ folder })
  const client = await connectRemembering(world.localPort, 'left')
  await client.query("select repeat('x', 10000)")
  await first.kill()
  await client.ended
  const next = await world.start({ folder, recording: { spoolBytesMax: 5_000 } })
  assert.match(next.stderr(), /"waitingBytes":1\d{4},"msg":"recording"/)
  await assert.rejects(connectRemembering(world.localPort, 'refused'), (error: unknown) => {
    assert.ok(error instanceof ConnectionEnded)
    assert.equal(error.fields?.get('C'), '53100')
    return true
  })
  await giveStoreBack(next)
  // Until the spool of before is recovered the limit holds.
  for (;;) {
    try {
      await (await connectRemembering(world.localPort, 'after')).end()
      break
    } catch (error) {
      assert.ok(error instanceof ConnectionEnded)
    }
  }
  assert.equal(await next.stop(), 0)
  await assertVerified(next.storeFolder, next.spoolFolder)
})

test('/ship stores what an open session has said, at once; health and metrics answer', { timeout: 300_000 }, async (t) => {
  const world = await createWorld(t)
  const sidecar = await world.start()
  assert.equal((await sidecar.get('/ship')).status, 200, 'nothing waits')
  const client = await connectRemembering(world.localPort, 'open')
  await client.query("select 'open'")
  while ((await sidecar.get('/ship')).status !== 200);
  assert.equal((await segmentsIn(sidecar)).length, 1)
  assert.equal((await sidecar.get('/readyz')).status, 200)
  assert.equal((await sidecar.get('/healthz')).status, 200)
  const metrics = await sidecar.get('/metrics')
  for (const line of ['steno_sessions_open 1', 'steno_recording 1', 'steno_sessions_total 1'])
    assert.match(metrics.text, new RegExp(`^${line}$`, 'm'))
  assert.equal((await sidecar.get('/anything')).status, 404)
  await client.end()
  assert.equal(await sidecar.stop(), 0)
  await assertVerified(sidecar.storeFolder, sidecar.spoolFolder)
})
