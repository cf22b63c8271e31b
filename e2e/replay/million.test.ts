/**
 * Goal: a session of a million statements opens quickly and in bounded memory, and is moved through.
 * Method: one is written to disk in the recorder's own format; `bin/steno replay` opens it in a pseudo-terminal. Memory is asserted;
 * times, which hang on the machine, are printed.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { writeTestSession } from '../../cli/replay/test-session.ts'
import { openStore } from '../../session/stores/open-store.ts'
import { startInTerminal } from './terminal.ts'

const statements = 1_000_000
const residentKibibytesMax = 200_000_000 / 1024

test('a million statements take less than 200 MB, and any of them is shown', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'steno-million-'))
  try {
    const store = await openStore(pathToFileURL(folder).href)
    await writeTestSession(store, { statements, failsEvery: 400_000 })
    let started = performance.now()
    await using player = startInTerminal({
      command: fileURLToPath(new URL('../../bin/steno', import.meta.url)),
      arguments: ['replay', 'last', '--store', store.url],
      columns: 80,
      rows: 24,
    })
    const notes: string[] = []
    const step = async (what: string, typed: string, shows: string): Promise<void> => {
      started = typed === '' ? started : performance.now()
      player.type(typed)
      await player.until(shows)
      const resident = mostResident(player.pid)
      notes.push(`${what}: ${(performance.now() - started).toFixed(0)} ms, at most ${(resident / 1024).toFixed(0)} MiB so far`)
      assert.ok(resident < residentKibibytesMax, notes.at(-1))
    }
    await step('opened', '', `1/${statements}`)
    await step('first row', '', '| note 1')
    await step('last row', '\x1b[F', `| note ${statements}`)
    await step('failure', ':1\rf', '#400000, ')
    await step('time', 'g6000\r', '#600000, ')
    await step('text', '/id = 999999 \r', '#999999, ')
    await step('table', ':1\rtaudit\r', '#10, ')
    t.diagnostic(notes.join('; '))
    player.type('q')
    assert.equal((await player.ended()).exitCode, 0)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

/** The process's peak resident memory so far, in KiB, as Linux counts it; pages of the binary that it shares included. */
function mostResident(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
}
