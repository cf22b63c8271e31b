// Goal: a store that is emptied under a running recorder loses what it had and nothing more. Method: a real proxy ships to a real control, whose
// folder is emptied while both run, and once more while control is replaced, so that it has nothing in memory either; each time the sessions
// that come afterwards are stored, the recorder is attested again, and `verify` says that something is missing.
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { findAttestation } from '../../session/attestation.ts'
import { openDirectoryStore } from '../../session/stores/directory.ts'
import { createAuthority, issueLeaf } from '../../tools/certificates.ts'
import { freePort, startPostgres } from '../../tools/embedded-postgres.ts'
import { readRecorded } from '../nothing-lost/recorded.ts'
import { runProgram } from '../support/run-program.ts'
import { startProxyProcess } from '../support/proxy.ts'
import type { ControlCue } from './control-process.ts'

const program = fileURLToPath(new URL('./control-process.ts', import.meta.url))
const steno = fileURLToPath(new URL('../../bin/steno', import.meta.url))

/** A recorder asks whether it is known each minute, and when its sealing thread, which ends after five idle seconds, is woken. */
const betweenSessionsMilliseconds = 6_000

async function until(what: string, holds: () => Promise<boolean>, everyMilliseconds = 50): Promise<void> {
  const end = Date.now() + 120_000
  while (!(await holds())) {
    assert.ok(Date.now() < end, `waited for: ${what}`)
    await sleep(everyMilliseconds)
  }
}

test(
  'a recorder whose store was emptied is known there again, and what it records from then on is stored',
  { timeout: 240_000 },
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'steno-e2e-forgotten-'))
    t.after(() => rmSync(folder, { recursive: true, force: true }))
    const storeFolder = join(folder, 'kept-by-control')
    const [port, authority] = await Promise.all([freePort(), createAuthority('steno')])
    const leaf = await issueLeaf(authority, { kind: 'server', commonName: 'control', names: ['127.0.0.1'] })
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const tokenFile = join(folder, 'token')
    writeFileSync(tokenFile, 'good-1')
    const cue: ControlCue = {
      ...{ storeFolder, port, death: null, certificate: { key: leaf.keyPem, cert: leaf.certificatePem } },
      privateKey: String(privateKey.export({ type: 'pkcs8', format: 'pem' })),
    }
    writeFileSync(join(folder, 'cue.json'), JSON.stringify(cue))
    let control: ChildProcess | null = null
    t.after(() => control?.kill('SIGKILL'))
    async function startControl(): Promise<void> {
      const started = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program, join(folder, 'cue.json')], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      control = started
      await once(started.stdout, 'data')
    }
    await startControl()

    await using database = await startPostgres()
    const proxy = await startProxyProcess({
      upstream: database.url,
      folder,
      arguments: ['--store', `control+https://127.0.0.1:${port}/default`],
      environment: {
        STENO_CONTROL_CA: authority.certificatePem,
        STENO_CONTROL_PUBLIC_KEY: String(publicKey.export({ type: 'spki', format: 'pem' })),
        STENO_CONTROL_TOKEN_FILE: tokenFile,
      },
    })
    t.after(() => proxy.kill())
    async function converse(name: string): Promise<void> {
      const client = new pg.Client({ host: '127.0.0.1', port: proxy.port, database: 'postgres', user: 'agent', application_name: name })
      await client.connect()
      await client.query('select 41 + 1')
      await client.end()
    }
    const stored = async (name: string): Promise<boolean> => (await readRecorded(storeFolder).catch(() => null))?.has(name) === true
    /** The folder itself stays: it is control's volume. */
    function emptyStore(): void {
      for (const entry of readdirSync(storeFolder)) rmSync(join(storeFolder, entry), { recursive: true, force: true })
    }

    await converse('first')
    await until('the first session is stored', () => stored('first'))
    const recorder = [...(await readRecorded(storeFolder)).values()][0]!.identity.recorder
    const attestedPod = async (): Promise<string | undefined> =>
      (await findAttestation(openDirectoryStore(storeFolder), recorder))?.attestation.pod.podUid
    assert.equal(await attestedPod(), 'uid-1')

    for (const how of ['while control runs on', 'while control is replaced'] as const) {
      const before = proxy.log().length
      if (how === 'while control is replaced') {
        const gone = control!
        gone.kill('SIGKILL')
        await once(gone, 'exit')
      }
      emptyStore()
      if (how === 'while control is replaced') await startControl()
      let sessions = 0
      await until(
        `the recorder is attested again, emptied ${how}`,
        async () => {
          await converse(`${how} ${++sessions}`)
          return (await attestedPod()) === 'uid-1'
        },
        betweenSessionsMilliseconds,
      )
      await converse(`${how}, after`)
      await until(`what is said afterwards is stored, emptied ${how}`, () => stored(`${how}, after`))
      assert.match(proxy.log().slice(before), /the store did not know this recorder any more/)
    }

    assert.equal(await proxy.stop(), 0, 'the spool was handed over whole')
    const verified = await runProgram({ command: steno, env: process.env }, ['verify', '--all', '--store', `file://${storeFolder}`])
    assert.equal(verified.status, 1, 'what the store lost is not passed over')
    assert.match(verified.stdout + verified.stderr, /ledger/i)
  },
)
