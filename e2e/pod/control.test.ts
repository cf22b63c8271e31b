// Goal: what a pod records arrives at control, whole and once, however control comes and goes; nobody else's receipt is believed. Method:
// the sidecar as a process beside the real control server over a folder, with a token of its own; control is ended and started again.
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { join } from 'node:path'
import { after, before, test, type TestContext } from 'node:test'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { freePort } from '../../tools/free-port.ts'
import { startTestControl } from '../../webhook/control/test-control.ts'
import { assertVerified, readRecorded } from '../nothing-lost/recorded.ts'
import { connectRemembering, firstColumn } from '../nothing-lost/remembering-client.ts'
import { startBesideControl, type BesideControlOptions } from './beside-control.ts'
import { untilLogged } from './sidecar-process.ts'

let database: EmbeddedPostgres
before(async () => {
  database = await startPostgres()
})
after(() => database.stop())

async function createWorld(t: TestContext) {
  const control = await startTestControl()
  t.after(() => control[Symbol.asyncDispose]())
  const localPort = await freePort()
  return {
    control,
    localPort,
    start: (options: BesideControlOptions = {}) => startBesideControl(t, { control, localPort, database }, options),
  }
}

test('a session of a pod is in the store of control, and verifies', { timeout: 300_000 }, async (t) => {
  const { control, localPort, start } = await createWorld(t)
  const sidecar = await start()
  const client = await connectRemembering(localPort, 'agent')
  assert.deepEqual(firstColumn(await client.query("select 'recorded'")), ['recorded'])
  await client.end()
  const begun = performance.now()
  assert.equal(await sidecar.stop(), 0)
  // One that waited in vain would take nearly all of its grace period of 120 s.
  assert.ok(performance.now() - begun < 60_000)
  await assertVerified(join(control.folder, 'store'), sidecar.spoolFolder)
  assert.ok((await readRecorded(join(control.folder, 'store'))).get('agent')!.backend.equals(client.received()))
})

test('a pod starts while control is away, and control that comes gets everything', { timeout: 300_000 }, async (t) => {
  const { control, localPort, start } = await createWorld(t)
  await control.server.stop()
  const sidecar = await start()
  assert.equal((await sidecar.get('/startz')).status, 200)
  const client = await connectRemembering(localPort, 'agent')
  await client.query("select 'while away'")
  await untilLogged(sidecar, 'STORE_UNAVAILABLE')
  assert.ok([200, 202].includes((await sidecar.get('/ship')).status), 'the preStop hook is answered')
  await control.restart()
  await client.end()
  assert.equal(await sidecar.stop(), 0)
  await assertVerified(join(control.folder, 'store'), sidecar.spoolFolder)
  assert.ok((await readRecorded(join(control.folder, 'store'))).get('agent')!.backend.equals(client.received()))
})

test('control that is restarted while a session goes on gets everything', { timeout: 300_000 }, async (t) => {
  const { control, localPort, start } = await createWorld(t)
  const sidecar = await start()
  const client = await connectRemembering(localPort, 'agent')
  await client.query("select 'before'")
  while ((await sidecar.get('/ship')).status !== 200);
  await control.server.stop()
  await client.query("select 'while away'")
  await untilLogged(sidecar, 'STORE_UNAVAILABLE')
  await control.restart()
  await client.query("select 'after'")
  await client.end()
  assert.equal(await sidecar.stop(), 0)
  await assertVerified(join(control.folder, 'store'), sidecar.spoolFolder)
  assert.ok((await readRecorded(join(control.folder, 'store'))).get('agent')!.backend.equals(client.received()))
})

test(
  'a receipt of another key is not believed: everything stays in the spool and is shipped once the key is right',
  { timeout: 300_000 },
  async (t) => {
    const { control, localPort, start } = await createWorld(t)
    const publicKey = String(generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }))
    const sidecar = await start({ publicKey })
    const client = await connectRemembering(localPort, 'agent')
    await client.query("select 'kept'")
    await client.end()
    await untilLogged(sidecar, 'RECEIPT_REFUSED')
    assert.match(sidecar.stderr(), /which stays in the spool/)
    await sidecar.kill()
    const next = await start({ folder: sidecar.folder })
    assert.equal(await next.stop(), 0)
    await assertVerified(join(control.folder, 'store'), next.spoolFolder)
    assert.ok((await readRecorded(join(control.folder, 'store'))).get('agent')!.backend.equals(client.received()))
  },
)
