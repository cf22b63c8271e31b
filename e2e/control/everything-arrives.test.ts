// Goal: whatever happens to control, everything that an agent said arrives in its store exactly once, and nothing leaves the spool before.
// Method: one real proxy ships to a control in a process of its own that is killed before and after each of its first puts, goes away for a
// while, refuses an expired token, comes back with a certificate of another authority, and is away while the proxy is killed too. At the end
// the database's own log is compared with the recordings, and the store verifies.
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { listSpoolFiles } from '../../sidecar/spool/spool-files.ts'
import { findAttestation } from '../../session/attestation.ts'
import { openDirectoryStore } from '../../session/stores/directory.ts'
import { createAuthority, issueLeaf, type Issued } from '../../tools/certificates.ts'
import { freePort, startPostgres } from '../../tools/embedded-postgres.ts'
import { assertNothingLost, executedStatements, loggingSettings, mark, type Remembered } from '../nothing-lost/proof.ts'
import { assertVerified, readRecorded } from '../nothing-lost/recorded.ts'
import { connectRemembering } from '../nothing-lost/remembering-client.ts'
import { startProxyProcess, type RunningProxy } from '../support/proxy.ts'
import type { ControlCue } from './control-process.ts'

const program = fileURLToPath(new URL('./control-process.ts', import.meta.url))
const waitMillisecondsMax = 60_000
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
  const folder = mkdtempSync(join(tmpdir(), 'steno-e2e-control-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const storeFolder = join(folder, 'kept-by-control')
  const [port, authority, next] = await Promise.all([freePort(), createAuthority('steno'), createAuthority('steno, the next')])
  const leafOf = (issuer: Issued): Promise<Issued> => issueLeaf(issuer, { kind: 'server', commonName: 'control', names: ['127.0.0.1'] })
  let leaf = await leafOf(authority)
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const tokenFile = join(folder, 'token')
  await writeFile(tokenFile, 'good-1')

  let control: ChildProcess | null = null
  t.after(() => control?.kill('SIGKILL'))
  async function startControl(death: ControlCue['death'] = null): Promise<ChildProcess> {
    const cue: ControlCue = {
      ...{ storeFolder, port, death, certificate: { key: leaf.keyPem, cert: leaf.certificatePem } },
      privateKey: String(privateKey.export({ type: 'pkcs8', format: 'pem' })),
    }
    await writeFile(join(folder, 'cue.json'), JSON.stringify(cue))
    const started = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program, join(folder, 'cue.json')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    control = started
    await Promise.race([
      once(started.stdout, 'data'),
      once(started, 'exit').then(() => Promise.reject(new Error('control ended instead of listening'))),
    ])
    return started
  }
  async function stopControl(): Promise<void> {
    if (control === null || control.exitCode !== null || control.signalCode !== null) return
    control.kill('SIGKILL')
    await once(control, 'exit')
  }

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
  const startProxy = (): Promise<RunningProxy> =>
    startProxyProcess({
      upstream: database.url,
      folder,
      arguments: ['--store', `control+https://127.0.0.1:${port}/default`],
      environment: {
        STENO_CONTROL_CA: authority.certificatePem + next.certificatePem,
        STENO_CONTROL_PUBLIC_KEY: String(publicKey.export({ type: 'spki', format: 'pem' })),
        STENO_CONTROL_TOKEN_FILE: tokenFile,
      },
    })

  await startControl()
  let proxy = await startProxy()
  t.after(() => proxy.kill())
  await converse(proxy, 'first')
  await until('the first session is stored', () => isStored('first'))

  // Killed at each put, before the store has the object and after, when only the receipt is missing.
  for (const when of ['before', 'after'] as const) {
    for (const put of putsToDieAt) {
      await stopControl()
      const dying = await startControl({ put, when })
      const name = `killed-${when}-put-${put}`
      await converse(proxy, name)
      if (dying.signalCode === null) await once(dying, 'exit')
      await startControl()
      await until(`${name} is stored`, () => isStored(name))
    }
  }

  // The token expires; the kubelet brings another.
  await writeFile(tokenFile, 'expired')
  await converse(proxy, 'token')
  await until('the proxy says that the token is refused', () => proxy.log().includes('the token is refused'))
  assert.equal(await isStored('token'), false)
  await writeFile(tokenFile, 'good-2')
  await until('the session with the next token is stored', () => isStored('token'))

  // The authority changes, which ends every connection that there was.
  await stopControl()
  leaf = await leafOf(next)
  await startControl()
  await converse(proxy, 'rotated')
  await until('the session behind the next certificate is stored', () => isStored('rotated'))

  // Control is away, and the proxy is killed: what was not stored is in the spool, and nowhere else.
  await stopControl()
  const saidBefore = proxy.log().length
  await converse(proxy, 'away')
  await until('the proxy says that control is away', () => proxy.log().slice(saidBefore).includes('does not answer'))
  await proxy.kill()
  assert.ok(listSpoolFiles(proxy.spoolFolder).length > 0, 'nothing left the spool without a receipt')
  await startControl()
  proxy = await startProxy()
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
