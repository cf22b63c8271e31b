// Goal: a probe learns whether agents should be sent here, and why not, from the first trouble to the last moment; and no count is lost when
// the sealing thread ends, is woken or fails. Method: a proxy in the test's own process over a real database; the store's folder is taken
// away, the disk of the spool is full on cue.
import assert from 'node:assert/strict'
import { writeSync } from 'node:fs'
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createLog } from '../../base/log.ts'
import { startProxy, type ProxySettings } from '../../sidecar/main.ts'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { connectRemembering, execute } from '../nothing-lost/remembering-client.ts'
import { testSettings } from '../nothing-lost/test-settings.ts'
import { scrape, scrapeUntil } from './scrape.ts'

let database: EmbeddedPostgres
before(async () => {
  database = await startPostgres()
})
after(() => database.stop())

async function startWorld(t: TestContext, options: Partial<ProxySettings> = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'steno-health-'))
  let isFull = false
  const spoolWrite = ((...call: Parameters<typeof writeSync>) => {
    if (isFull) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
    return writeSync(...call)
  }) as typeof writeSync
  const settings = { ...testSettings(database.url, folder), metricsListen: { host: '127.0.0.1', port: 0 }, ...options }
  const proxy = await startProxy(settings, createLog({ level: 'silent' }), { spoolWrite })
  t.after(async () => {
    await proxy.stop()
    await rm(folder, { recursive: true, force: true })
  })
  const port = proxy.metricsPort!
  const readiness = async (): Promise<string> => {
    const answer = await fetch(`http://127.0.0.1:${port}/readyz`)
    const text = await answer.text()
    assert.equal(answer.status, text === 'ok\n' ? 200 : 503)
    return text
  }
  return {
    ...{ proxy, port, folder, readiness },
    fill(full: boolean): void {
      isFull = full
    },
    async untilReadinessIs(pattern: RegExp): Promise<void> {
      while (!pattern.test(await readiness())) await sleep(20, undefined, { signal: t.signal })
    },
  }
}

test(
  'a store that refuses for too long is why a proxy is not ready, until it takes again; agents go on',
  { timeout: 300_000 },
  async (t) => {
    const world = await startWorld(t, { storeFailingMillisecondsMax: 100 })
    assert.equal(await world.readiness(), 'ok\n')
    const client = await connectRemembering(world.proxy.port, 'agent')
    await client.query('select 1')
    await scrapeUntil(world.port, (seen) => seen.value('steno_segments_stored_total') >= 1 && seen.value('steno_spool_bytes') === 0)
    const [store, away] = [join(world.folder, 'store'), join(world.folder, 'away')]
    await rename(store, away)
    await writeFile(store, 'no folder')
    await client.query('select 2')
    await world.untilReadinessIs(/^not storing: the store has refused for \d+ s; the spool keeps the recordings\n$/)
    const failing = await scrape(world.port)
    assert.ok(failing.value('steno_store_failing_seconds') > 0.1)
    assert.ok(failing.value('steno_store_failures_total') > 0)
    assert.ok(failing.value('steno_spool_bytes') > 0)
    assert.equal(failing.value('steno_segments_waiting'), 1)
    assert.equal(failing.value('steno_recording'), 1)
    assert.ok(failing.value('steno_store_last_success_timestamp_seconds') < Date.now() / 1000)
    assert.equal((await fetch(`http://127.0.0.1:${world.port}/healthz`)).status, 200, 'a restart would mend nothing')
    await client.query('select 3')
    await rm(store)
    await rename(away, store)
    await world.untilReadinessIs(/^ok\n$/)
    await client.end()
    const mended = await scrapeUntil(world.port, (seen) => seen.value('steno_spool_bytes') === 0)
    assert.equal(mended.value('steno_store_failing_seconds'), 0)
    assert.equal(mended.value('steno_segments_waiting'), 0)
    assert.equal(mended.value('steno_statements_total', { kind: 'query', outcome: 'completed' }), 3)
  },
)

test('a spool that refuses is why a proxy is not ready, and statements that it refused are counted', { timeout: 300_000 }, async (t) => {
  const world = await startWorld(t, { recordWaitMilliseconds: 200 })
  const client = await connectRemembering(world.proxy.port, 'agent')
  world.fill(true)
  await client.query('select 1')
  assert.equal(await world.readiness(), 'not recording: the spool cannot be written: no space left on device\n')
  const full = await scrape(world.port)
  assert.equal(full.value('steno_recording'), 0)
  assert.equal(full.value('steno_statements_refused_total'), 1)
  world.fill(false)
  await client.query('select 2')
  assert.equal(await world.readiness(), 'ok\n')
  assert.equal((await scrape(world.port)).value('steno_recording'), 1)
  await client.end()
})

test('while it stops, the proxy says so until everything is stored', { timeout: 300_000 }, async (t) => {
  const world = await startWorld(t, { drainMilliseconds: 60_000 })
  const client = await connectRemembering(world.proxy.port, 'agent')
  await client.query('begin')
  const stopped = world.proxy.stop()
  assert.equal(await world.readiness(), 'stopping\n')
  assert.equal((await fetch(`http://127.0.0.1:${world.port}/healthz`)).status, 200)
  assert.equal((await scrape(world.port)).value('steno_sessions_open'), 1)
  await client.end()
  assert.deepEqual(await stopped, { everythingStored: true })
  await assert.rejects(fetch(`http://127.0.0.1:${world.port}/healthz`), 'the port is closed')
})

test('counts survive a sealing thread that ended for want of work', { timeout: 300_000 }, async (t) => {
  const world = await startWorld(t)
  const completed = (count: number) =>
    scrapeUntil(world.port, (seen) => seen.value('steno_statements_total', { outcome: 'completed' }) === count)
  for (let round = 1; round <= 2; round++) {
    const client = await connectRemembering(world.proxy.port, `agent-${round}`)
    await client.query('select 1')
    await client.ask(execute('select $1::text', 'a'))
    await client.end()
    await completed(2 * round)
    // The thread ends after five quiet seconds; what it holds in memory then goes with it.
    if (round === 1) assert.ok(activeWorkers() > 0)
    while (round === 1 && activeWorkers() > 0) await sleep(50, undefined, { signal: t.signal })
  }
})

function activeWorkers(): number {
  return process.getActiveResourcesInfo().filter((resource) => resource === 'MessagePort' || resource === 'Worker').length
}
