// Goal: when steno cannot record, nothing passes unrecorded unless the operator said so, and everybody is told the truth. Method: a
// real proxy and database; the write to the spool fails or falls short on cue. The database's own log says what was executed.
import assert from 'node:assert/strict'
import { writeSync } from 'node:fs'
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { createLog } from '../../base/log.ts'
import { startProxy, type ProxySettings } from '../../sidecar/main.ts'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { executedStatements, loggingSettings, mark } from './proof.ts'
import { assertVerified, readRecorded } from './recorded.ts'
import { connectRemembering, ConnectionEnded, errorIn, firstColumn, message, query } from './remembering-client.ts'
import { testSettings } from './test-settings.ts'

let database: EmbeddedPostgres
before(async () => {
  database = await startPostgres({ settings: loggingSettings })
  await database.query('create table proof (text text)')
})
after(() => database.stop())

/** How the disk under the spool behaves now. */
type Disk = 'healthy' | 'full' | 'full after a few bytes' | 'slow to take'

async function startWorld(t: TestContext, options: Partial<ProxySettings> = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'steno-failing-'))
  let disk: Disk = 'healthy'
  const full = (): never => {
    throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
  }
  const spoolWrite = ((descriptor: number, bytes: Buffer, offset: number, length: number, position: number): number => {
    switch (disk) {
      case 'healthy':
        return writeSync(descriptor, bytes, offset, length, position)
      case 'full':
        return full()
      case 'full after a few bytes':
        writeSync(descriptor, bytes, offset, Math.min(10, length), position)
        return full()
      case 'slow to take':
        return writeSync(descriptor, bytes, offset, Math.min(7, length), position)
    }
  }) as typeof writeSync
  const settings = { ...testSettings(database.url, folder), recordWaitMilliseconds: 300, ...options }
  const proxy = await startProxy(settings, createLog({ level: 'silent' }), { spoolWrite })
  let isStopped = false
  const stop = async (): Promise<void> => {
    if (!isStopped) await proxy.stop()
    isStopped = true
  }
  t.after(async () => {
    await stop()
    await rm(folder, { recursive: true, force: true })
  })
  return {
    port: proxy.port,
    metricsPort: proxy.metricsPort,
    storeFolder: join(folder, 'store'),
    become(next: Disk): void {
      disk = next
    },
    async executed(): Promise<string[]> {
      return (await executedStatements(database.logFile)).map(({ sql }) => sql)
    },
    async recorded() {
      await stop()
      const findings = await assertVerified(join(folder, 'store'), join(folder, 'spool'))
      return { conversations: await readRecorded(join(folder, 'store')), findings }
    },
  }
}

for (const disk of ['full', 'full after a few bytes'] as const) {
  test(`block: on a disk that is ${disk} a statement waits, then fails with 53100, was not executed, and the session lives on`, async (t) => {
    const world = await startWorld(t)
    const name = `block-${disk.replaceAll(' ', '-')}`
    const client = await connectRemembering(world.port, name)
    await client.query(`insert into proof values ('${mark} ${name} before')`)
    world.become(disk)
    for (const attempt of [1, 2]) {
      const fields = errorIn(await client.query(`insert into proof values ('${mark} ${name} refused ${attempt}')`))
      assert.equal(fields?.get('C'), '53100')
      assert.equal(fields.get('S'), 'ERROR')
      assert.match(fields.get('M')!, /it was not executed/)
    }
    world.become('healthy')
    assert.equal(errorIn(await client.query(`insert into proof values ('${mark} ${name} after')`)), null)
    const executed = (await world.executed()).filter((sql) => sql.includes(` ${name} `))
    assert.deepEqual(
      executed.map((sql) => sql.split(' ').at(-1)),
      ["before')", "after')"],
    )
    await client.end()
    const { conversations } = await world.recorded()
    assert.deepEqual(
      conversations.get(name)!.statements.map(({ sql }) => sql),
      executed,
    )
    assert.deepEqual(conversations.get(name)!.gaps, [])
  })
}

test('block: a statement that finds room while it waits is executed as if nothing had been', async (t) => {
  const world = await startWorld(t, { recordWaitMilliseconds: 20_000 })
  const client = await connectRemembering(world.port, 'patient')
  world.become('full')
  const answer = client.query(`select '${mark} patient'`)
  await sleep(300)
  assert.ok(!(await world.executed()).some((sql) => sql.includes('patient')), 'it waits in front of the database')
  world.become('healthy')
  assert.deepEqual(firstColumn(await answer), [`${mark} patient`])
  await client.end()
  assert.equal((await world.recorded()).conversations.get('patient')!.statements.length, 1)
})

test('block: in a transaction the session ends, because the database would go on from a different state', async (t) => {
  const world = await startWorld(t)
  const client = await connectRemembering(world.port, 'transaction')
  const other = await connectRemembering(world.port, 'bystander')
  await client.query(`begin /* ${mark} */`)
  await client.query(`insert into proof values ('${mark} transaction 1')`)
  world.become('full')
  await assert.rejects(client.query(`insert into proof values ('${mark} transaction 2')`), (error: unknown) => {
    assert.ok(error instanceof ConnectionEnded)
    assert.equal(error.fields?.get('S'), 'FATAL')
    assert.equal(error.fields.get('C'), '53100')
    return true
  })
  world.become('healthy')
  assert.deepEqual(firstColumn(await other.query("select count(*) from proof where text like '% transaction %'")), ['0'])
  await other.end()
  assert.ok(!(await world.executed()).some((sql) => sql.includes('transaction 2')))
  const { conversations } = await world.recorded()
  assert.equal(conversations.get('transaction')!.closeReason, 'recording-failed')
})

test('block: half of a batch that went on already ends the session instead of answering for the rest', async (t) => {
  const world = await startWorld(t)
  const client = await connectRemembering(world.port, 'half-batch')
  client.send(message('P', `\0select '${mark} half-batch'\0\0\0`), message('H'))
  while (client.received().length === 0) await sleep(10) // ParseComplete: the database holds the first half.
  world.become('full')
  await assert.rejects(client.ask(message('S')), ConnectionEnded)
  world.become('healthy')
  await world.recorded()
})

test('block: a result that cannot be recorded is not delivered', async (t) => {
  const world = await startWorld(t)
  const client = await connectRemembering(world.port, 'undelivered')
  const holder = new pg.Client({ connectionString: database.url })
  await holder.connect()
  await holder.query('select pg_advisory_lock(1)')
  const answer = client.query(`select pg_advisory_xact_lock(1), '${mark} undelivered'`)
  answer.catch(() => undefined)
  while (!(await world.executed()).some((sql) => sql.includes('undelivered'))) await sleep(10)
  world.become('full')
  await holder.end() // Only now the database can answer.
  await assert.rejects(answer, ConnectionEnded)
  assert.ok(!client.received().includes('undelivered'))
  world.become('healthy')
  const { conversations } = await world.recorded()
  assert.equal(conversations.get('undelivered')!.statements[0]!.outcome, 'unfinished')
})

test('a disk that takes a few bytes at a time is slow and nothing else', async (t) => {
  const world = await startWorld(t)
  world.become('slow to take')
  const client = await connectRemembering(world.port, 'slow')
  assert.equal(firstColumn(await client.query(`select '${mark} ' || n from generate_series(1, 50) n`)).length, 50)
  await client.end()
  const { conversations } = await world.recorded()
  assert.ok(conversations.get('slow')!.backend.equals(client.received()))
})

test('continue: traffic passes with a gap that says when and how much, the metric counts it, and recording goes on afterwards', async (t) => {
  const world = await startWorld(t, { onRecordFailure: 'continue', metricsListen: { host: '127.0.0.1', port: 0 } })
  const client = await connectRemembering(world.port, 'continue')
  await client.query(`select '${mark} recorded 1'`)
  world.become('full')
  const unrecorded = query(`select '${mark} unrecorded'`)
  const from = Date.now()
  const frontendBefore = client.received().length
  assert.deepEqual(firstColumn(await client.ask(unrecorded)), [`${mark} unrecorded`])
  assert.deepEqual(firstColumn(await client.ask(unrecorded)), [`${mark} unrecorded`])
  const backendBytes = client.received().length - frontendBefore
  const metrics = await (await fetch(`http://127.0.0.1:${world.metricsPort}/metrics`)).text()
  assert.match(metrics, /^steno_gaps_total 1$/m)
  assert.equal((await fetch(`http://127.0.0.1:${world.metricsPort}/readyz`)).status, 503, 'not ready while it does not record')
  world.become('healthy')
  assert.deepEqual(firstColumn(await client.query(`select '${mark} recorded 2'`)), [`${mark} recorded 2`])
  assert.equal((await fetch(`http://127.0.0.1:${world.metricsPort}/readyz`)).status, 200)
  await client.end()
  const { conversations, findings } = await world.recorded()
  const conversation = conversations.get('continue')!
  assert.deepEqual(
    conversation.statements.map(({ sql }) => sql),
    [`select '${mark} recorded 1'`, `select '${mark} recorded 2'`],
  )
  assert.equal(conversation.gaps.length, 1)
  const [gap] = conversation.gaps
  assert.equal(gap!.frontendBytes, 2 * unrecorded.length)
  assert.equal(gap!.backendBytes, backendBytes)
  assert.ok(gap!.from >= from && gap!.to >= gap!.from && gap!.to <= Date.now())
  assert.match(findings, /"GAP"/)
})

test('continue: a session that begins and ends while nothing can be recorded is known by its gap', async (t) => {
  const world = await startWorld(t, { onRecordFailure: 'continue', segment: { bytesMax: 4_000_000, ageMilliseconds: 100 } })
  world.become('full')
  const client = await connectRemembering(world.port, 'unseen')
  assert.deepEqual(firstColumn(await client.query(`select '${mark} unseen'`)), [`${mark} unseen`])
  world.become('healthy')
  await client.end()
  const { conversations } = await world.recorded()
  assert.equal(conversations.get('unseen')!.gaps.length, 1)
})

test('a store that refuses: the spool keeps everything, traffic goes on up to the cap and then waits, and all is stored when it is back', async (t) => {
  const world = await startWorld(t, {
    spoolLimits: { unshippedBytesMax: 200_000, unshippedMillisecondsMax: 3_600_000, fileBytesMax: 50_000, reserveBytes: 0 },
  })
  const client = await connectRemembering(world.port, 'store-away')
  await client.query(`select '${mark} at first'`)
  // A file where the store's folder was refuses everything, to root too.
  await rename(world.storeFolder, `${world.storeFolder}-away`)
  await writeFile(world.storeFolder, '')
  let passed = 0
  let refused: ReadonlyMap<string, string> | null = null
  while (refused === null) {
    // Less than the 8 KiB that the server sends at once: of a result in two pieces the second may find the spool full, and ends the session.
    refused = errorIn(await client.query(`select '${mark} ${passed}', repeat('x', 5000)`))
    if (refused === null) passed++
  }
  assert.equal(refused.get('C'), '53100')
  assert.match(refused.get('M')!, /wait for the store/)
  assert.ok(passed >= 30 && passed <= 60, `${passed} results of 5 kB passed before the cap of 200 kB`)
  await rm(world.storeFolder)
  await rename(`${world.storeFolder}-away`, world.storeFolder)
  while (errorIn(await client.query(`select '${mark} again'`)) !== null);
  await client.end()
  const { conversations } = await world.recorded()
  const conversation = conversations.get('store-away')!
  assert.equal(conversation.statements.length, passed + 2)
})
