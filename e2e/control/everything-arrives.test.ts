// Goal: whatever happens to control, everything that an agent said arrives in its store exactly once, and nothing leaves the spool before.
// Method: one real proxy ships to a control in a process of its own that is killed before and after each of its first puts, goes away for a
// while, refuses an expired token, comes back with a certificate of another authority, and is away while the proxy is killed too. At the end
// the database's own log is compared with the recordings, and the store verifies.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { listSpoolFiles } from '../../sidecar/spool/spool-files.ts'
import { findAttestation } from '../../session/attestation.ts'
import { openDirectoryStore } from '../../session/stores/directory.ts'
import { createAuthority } from '../../tools/certificates.ts'
import { startPostgres } from '../../tools/embedded-postgres.ts'
import { assertNothingLost, executedStatements, loggingSettings, mark, type Remembered } from '../nothing-lost/proof.ts'
import { assertVerified, readRecorded } from '../nothing-lost/recorded.ts'
import { connectRemembering } from '../nothing-lost/remembering-client.ts'
import type { RunningProxy } from '../support/proxy.ts'
import { createControlWorld } from './control-world.ts'

const waitMillisecondsMax = 120_000
/** Segment, index, manifest and the ledger entry that names them: what a short session takes. */
const putsToDieAt = [1, 2, 3, 4]

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + waitMillisecondsMax
  while (!(await holds())) {
    assert.ok(Date.now() < end, `waited for: ${what}`)
    await sleep(20)
  }
}

test('everything arrives exactly once, however control and its connections end', { timeout: 300_000 }, async (t) => {
  const [authority, next] = await Promise.all([createAuthority('steno'), createAuthority('steno, the next')])
  const control = await createControlWorld(t, [authority, next])
  const { storeFolder } = control
  await using database = await startPostgres({ settings: loggingSettings })
  await database.query('create table proof (text text)')
  const remembered: Remembered[] = []
  async function converse(proxy: RunningProxy, name: string): Promise<void> {
    const client = await connectRemembering(proxy.port, name)
    await client.query(`insert into proof values ('${mark} ${name} 1')`)
    await client.query(`select '${mark} ${name} 2', repeat('x', 200) from generate_series(1, 20)`)
    remembered.push({ applicationName: name, received: client.received() })
    await client[Symbol.asyncDispose]()
  }
  const isStored = async (name: string): Promise<boolean> => {
    // While sessions are open or half stored they cannot be read as a whole.
    const recorded = await readRecorded(storeFolder).catch(() => null)
    return recorded?.has(name) === true
  }
  await control.start()
  let proxy = await control.startProxy(database.url)
  t.after(() => proxy.kill())
  await converse(proxy, 'first')
  await until('the first session is stored', () => isStored('first'))

  // Killed at each put, before the store has the object and after, when only the receipt is missing.
  for (const when of ['before', 'after'] as const) {
    for (const put of putsToDieAt) {
      await control.stop()
      const dying = await control.start({ put, when })
      const name = `killed-${when}-put-${put}`
      await converse(proxy, name)
      if (dying.signalCode === null) await once(dying, 'exit')
      await control.start()
      await until(`${name} is stored`, () => isStored(name))
    }
  }

  // The token expires; the kubelet brings another.
  await control.writeToken('expired')
  await converse(proxy, 'token')
  await until('the proxy says that the token is refused', () => proxy.log().includes('the token is refused'))
  assert.equal(await isStored('token'), false)
  await control.writeToken('good-2')
  await until('the session with the next token is stored', () => isStored('token'))

  // The authority changes, which ends every connection that there was.
  await control.stop()
  await control.use(next)
  await control.start()
  await converse(proxy, 'rotated')
  await until('the session behind the next certificate is stored', () => isStored('rotated'))

  // Control is away, and the proxy is killed: what was not stored is in the spool, and nowhere else.
  await control.stop()
  const saidBefore = proxy.log().length
  await converse(proxy, 'away')
  await until('the proxy says that control is away', () => proxy.log().slice(saidBefore).includes('does not answer'))
  await proxy.kill()
  assert.ok(listSpoolFiles(proxy.spoolFolder).length > 0, 'nothing left the spool without a receipt')
  await control.start()
  proxy = await control.startProxy(database.url)
  await until('what the killed proxy left is stored', () => isStored('away'))

  assert.equal(await proxy.stop(), 0)
  assert.deepEqual(listSpoolFiles(proxy.spoolFolder), [])
  await assertVerified(storeFolder, proxy.spoolFolder)
  const recorded = await readRecorded(storeFolder)
  assert.deepEqual(
    [...recorded.keys()].sort(),
    remembered.map(({ applicationName }) => applicationName).sort(),
    'each session once, and no other',
  )
  const counts = assertNothingLost(await executedStatements(database.logFile), remembered, recorded)
  t.diagnostic(`${counts.statements} statements, ${counts.rows} rows, ${counts.bytes} bytes, ${2 * putsToDieAt.length} deaths of control`)
  const recorder = [...recorded.values()][0]!.identity.recorder
  assert.equal((await findAttestation(openDirectoryStore(storeFolder), recorder))?.attestation.pod.podUid, 'uid-1')
})
