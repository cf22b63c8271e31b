// Goal: shipping on demand takes what is there whatever its age, and tells the truth of it; once the end is near, what follows goes by itself. Method: a recorder in the test's own process that
// seals nothing by itself for ten minutes.
import assert from 'node:assert/strict'
import { mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createLog } from '../../base/log.ts'
import { startRecorder } from '../../sidecar/recorder.ts'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { assertVerified, readRecorded } from '../nothing-lost/recorded.ts'
import { connectRemembering } from '../nothing-lost/remembering-client.ts'
import { testSettings } from '../nothing-lost/test-settings.ts'

let database: EmbeddedPostgres
before(async () => {
  database = await startPostgres()
})
after(() => database.stop())

test('what open sessions have said is stored on demand, and said not to be while the store is away', { timeout: 300_000 }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'steno-ship-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const { listen, upstream, databases, agentToken, allowCleartextPassword, ...rest } = testSettings(database.url, folder)
  const recorder = await startRecorder(
    {
      ...rest,
      segment: { bytesMax: 2 * 1024 * 1024, ageMilliseconds: 600_000 },
      storeAtStart: 'may-be-away',
      listeners: [{ addresses: [listen], upstream, databases, agentToken, allowCleartextPassword }],
    },
    createLog({ level: 'silent' }),
  )
  const segments = async (): Promise<number> =>
    (await readdir(join(folder, 'store'), { recursive: true })).filter((name) => name.endsWith('.steno')).length
  const client = await connectRemembering(recorder.addresses[0]!.port, 'open')
  await client.query("select 'one'")
  assert.ok(recorder.waitingBytes > 0)
  assert.equal(await recorder.ship({ waitMilliseconds: 120_000 }), true)
  assert.equal(await segments(), 1)
  assert.equal(recorder.waitingBytes, 0)
  assert.equal(await recorder.ship({ waitMilliseconds: 120_000 }), true, 'nothing waits')
  assert.equal(await segments(), 1, 'and nothing is made of nothing')
  await rename(join(folder, 'store'), join(folder, 'away'))
  await writeFile(join(folder, 'store'), '')
  await client.query("select 'two'")
  assert.equal(await recorder.ship({ waitMilliseconds: 500 }), false)
  await rm(join(folder, 'store'))
  await rename(join(folder, 'away'), join(folder, 'store'))
  assert.equal(await recorder.ship({ waitMilliseconds: 120_000 }), true)
  assert.equal(await segments(), 2)
  await client.query("select 'three'")
  assert.equal(await segments(), 2, 'nothing is sealed by itself')
  recorder.hasten({ forMilliseconds: 60_000 })
  while ((await segments()) < 3) await sleep(20, undefined, { signal: t.signal })
  await client.query("select 'four'")
  while ((await segments()) < 4) await sleep(20, undefined, { signal: t.signal })
  await client.end()
  assert.deepEqual(await recorder.stop({ withinMilliseconds: 120_000 }), { everythingStored: true, waitingBytes: 0 })
  await assertVerified(join(folder, 'store'), join(folder, 'spool'))
  assert.ok((await readRecorded(join(folder, 'store'))).get('open')!.backend.equals(client.received()))
})
