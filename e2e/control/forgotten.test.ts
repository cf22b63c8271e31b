// Goal: a store that is emptied under a running recorder loses what it had and nothing more. Method: a real proxy ships to a real control, whose
// folder is emptied while both run, and once more while control is replaced, so that it has nothing in memory either; each time the sessions
// that come afterwards are stored, the recorder is attested again, and `verify` says that something is missing.
import assert from 'node:assert/strict'
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { findAttestation } from '../../session/attestation.ts'
import { openDirectoryStore } from '../../session/stores/directory.ts'
import { startPostgres } from '../../tools/embedded-postgres.ts'
import { readRecorded } from '../nothing-lost/recorded.ts'
import { runProgram } from '../support/run-program.ts'
import { createControlWorld } from './control-world.ts'

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
  { timeout: 300_000 },
  async (t) => {
    const control = await createControlWorld(t)
    const { storeFolder } = control
    await control.start()

    await using database = await startPostgres()
    const proxy = await control.startProxy(database.url)
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
      if (how === 'while control is replaced') await control.stop()
      emptyStore()
      if (how === 'while control is replaced') await control.start()
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
