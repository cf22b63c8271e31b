// Goal: a SIGKILL at any instant loses nothing, under load and with results on their way. Method: several clients keep a proxy busy
// with changes, small results and large ones; it is killed at random instants and started again with the same spool and store, so
// that recovery is under load and killed too. STENO_KILLS says how often (20; `make kills` 200), STENO_SEED repeats
// the instants of an earlier run as well as timing allows.
import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startProxyProcess, stopUntilStored } from '../support/proxy.ts'
import { listSpoolFiles } from '../../sidecar/spool/spool-files.ts'
import { startPostgres } from '../../tools/embedded-postgres.ts'
import { assertNothingLost, executedStatements, loggingSettings, mark, type Remembered } from './proof.ts'
import { assertVerified, readRecorded } from './recorded.ts'
import { connectRemembering, ConnectionEnded, execute, query } from './remembering-client.ts'

const kills = Number(process.env['STENO_KILLS'] ?? 20)
const clients = 4
const runMillisecondsMax = 400

/** A small generator with a seed (mulberry32), so that a failure can be looked at again. */
function createRandom(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

/** Keeps one connection busy until it breaks; then gives what its client remembers. */
async function load(port: number, name: string, random: (below: number) => number): Promise<Remembered> {
  let client
  try {
    client = await connectRemembering(port, name)
  } catch (error) {
    if (!(error instanceof ConnectionEnded)) throw error
    return { applicationName: name, received: Buffer.alloc(0) }
  }
  try {
    for (let number = 1; ; number++) {
      await sleep(random(4)) // What is passed has to be stored and read again; this test is about instants, not throughput.
      const text = `${mark} ${name} ${number}`
      switch (random(5)) {
        case 0:
          await client.query(`insert into proof values ('${text}')`)
          break
        case 1:
          await client.ask(execute(`insert into proof values ($1) returning text, '${text}'`, text))
          break
        case 2:
          await client.query(`select '${text}', repeat('l', 500) from generate_series(1, 300)`)
          break
        case 3:
          await client.ask(...Array.from({ length: 5 }, (_, index) => query(`select '${text}.${index}'`)))
          break
        default:
          await client.query(`select '${text}', repeat('s', 50) from generate_series(1, 3)`)
      }
    }
  } catch (error) {
    if (!(error instanceof ConnectionEnded)) throw error
    return { applicationName: name, received: client.received() }
  }
}

test(`Nothing unrecorded, nothing lost: SIGKILL at ${kills} random instants under load`, async (t) => {
  const seed = Number(process.env['STENO_SEED'] ?? randomInt(2 ** 31))
  t.diagnostic(`STENO_SEED=${seed}`)
  const random = createRandom(seed)
  const folder = mkdtempSync(join(tmpdir(), 'steno-random-kills-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  await using database = await startPostgres({ settings: loggingSettings })
  await database.query('create table proof (text text)')
  const remembered: Remembered[] = []
  for (let round = 1; round <= kills; round++) {
    const proxy = await startProxyProcess({ upstream: database.url, folder })
    const loads = Array.from({ length: clients }, (_, index) => load(proxy.port, `r${round}-c${index}`, random))
    await sleep(random(runMillisecondsMax))
    await proxy.kill()
    remembered.push(...(await Promise.all(loads)))
  }
  const last = await startProxyProcess({ upstream: database.url, folder })
  await stopUntilStored(last, database.url)
  assert.deepEqual(listSpoolFiles(last.spoolFolder), [], 'an exit code of 0 says that everything is stored')
  await assertVerified(last.storeFolder, last.spoolFolder)
  const recorded = await readRecorded(last.storeFolder)
  const counts = assertNothingLost(await executedStatements(database.logFile), remembered, recorded)
  const recovered = [...recorded.values()].filter((conversation) => conversation.recovered).length
  t.diagnostic(
    `${kills} kills, ${recovered} recovered sessions, ${counts.statements} statements, ${counts.rows} rows, ${counts.bytes} bytes`,
  )
  assert.ok(recovered > kills, 'most kills hit sessions')
  assert.ok(counts.statements > kills * 10 && counts.rows > counts.statements, 'results were flowing')
})
