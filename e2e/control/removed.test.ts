// Goal: who may delete in the store cannot make an agent's whole recording, or the end of it, look as if it had never been. Method: two recorders ship to a
// real control, which is killed at each put of the second one's first seconds; then everything of the first is removed, or its ledger is cut.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { cpSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { attestationChainPrefix, ledgerPrefix } from '../../session/object-keys.ts'
import { startPostgres } from '../../tools/embedded-postgres.ts'
import { readRecorded } from '../nothing-lost/recorded.ts'
import { runProgram } from '../support/run-program.ts'
import { createControlWorld } from './control-world.ts'

const steno = fileURLToPath(new URL('../../bin/steno', import.meta.url))

test('everything of one recorder removed is a finding, and so is the end of its ledger', { timeout: 240_000 }, async (t) => {
  const control = await createControlWorld(t)
  const { storeFolder } = control
  await control.start()
  await using database = await startPostgres()

  /** A recorder of its own, from start to end. */
  async function record(name: string): Promise<{ readonly recorder: string; readonly session: string }> {
    const proxy = await control.startProxy(database.url)
    const client = new pg.Client({ host: '127.0.0.1', port: proxy.port, database: 'postgres', user: 'agent', application_name: name })
    await client.connect()
    await client.query('select 41 + 1')
    await client.end()
    assert.equal(await proxy.stop(), 0)
    const { identity } = (await readRecorded(storeFolder)).get(name)!
    rmSync(proxy.spoolFolder, { recursive: true })
    return { recorder: identity.recorder, session: identity.session }
  }
  async function verify(folder: string, ...given: readonly string[]): Promise<{ readonly status: number | null; readonly out: string }> {
    const args = ['verify', '--all', '--store', `file://${folder}`, '--trust-control', control.publicKeyFile, ...given]
    const { status, stdout } = await runProgram({ command: steno, env: process.env }, args)
    return { status, out: stdout }
  }
  const chainEntries = (): string[] => readdirSync(join(storeFolder, attestationChainPrefix)).sort()
  /** A copy of the store from which `isRemoved` is gone. */
  function copyWithout(name: string, isRemoved: (path: string) => boolean): string {
    const folder = `${storeFolder}-${name}`
    t.after(() => rmSync(folder, { recursive: true, force: true }))
    cpSync(storeFolder, folder, { recursive: true, filter: (path) => !isRemoved(path) })
    return folder
  }

  const first = await record('first')
  await control.stop()
  // Attestation, document, first ledger entry and the chain's entry, each once before the store has it and once after.
  for (const put of [1, 2, 3, 4])
    for (const when of ['before', 'after'] as const) {
      const dying = await control.start({ put, when })
      const name = `killed-${when}-put-${put}`
      const recorded = record(name)
      await once(dying, 'exit')
      await control.start()
      await recorded
      await control.stop()
    }

  const sound = await verify(storeFolder)
  assert.equal(sound.status, 0, sound.out)
  assert.doesNotMatch(sound.out, /CHAIN/)
  const head = /control's chain names 9 recorders; .* --chain-head (\d+:[0-9a-f]{64})$/m.exec(sound.out)?.[1]
  assert.ok(head !== undefined, sound.out)
  assert.equal((await verify(storeFolder, '--chain-head', head)).status, 0)

  const removed = await verify(copyWithout('removed', (path) => path.includes(first.recorder) || path.includes(first.session)))
  assert.equal(removed.status, 1)
  assert.match(removed.out, new RegExp(`ATTESTATION_MISSING: entry 1 of the chain names recorder ${first.recorder}`))

  const ledger = join(storeFolder, ledgerPrefix(first.recorder))
  const isCut = (path: string): boolean => path.includes(first.session) || (path.startsWith(ledger) && /\/0*[2-9]\.json$/.test(path))
  const cut = await verify(copyWithout('cut', isCut))
  assert.equal(cut.status, 1)
  assert.match(cut.out, new RegExp(`LEDGER_TAIL_MISSING: the ledger of recorder ${first.recorder} ends at entry 1`))

  // With the chain gone as well nobody knows, but who kept its head.
  const without = copyWithout(
    'without',
    (path) => path.includes(first.recorder) || path.includes(first.session) || path.endsWith(attestationChainPrefix.slice(0, -1)),
  )
  const forgotten = await verify(without)
  assert.equal(forgotten.status, 0)
  assert.match(forgotten.out, /ATTESTED_BEFORE_CHAIN: there is no chain of attestations, and 8 recorders were attested/)
  const remembered = await verify(without, '--chain-head', head)
  assert.equal(remembered.status, 1)
  assert.match(remembered.out, /CHAIN_TAIL_MISSING/)

  // A control that saw the chain does not begin another one.
  await control.start()
  await record('later')
  const known = chainEntries()
  rmSync(join(storeFolder, attestationChainPrefix), { recursive: true })
  await record('last')
  const [next] = chainEntries()
  assert.ok(next! > known.at(-1)!, `${next} behind ${known.at(-1)}`)
  const broken = await verify(storeFolder)
  assert.equal(broken.status, 1)
  assert.match(broken.out, /CHAIN_HOLE: entries 1 to \d+ are missing/)
})
