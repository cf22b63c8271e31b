// Goal: at level `stored`, at any instant, what agents have received is in the store. Method: several clients keep a proxy busy with small
// results, large ones, pipelines and COPY; it is killed at random instants and its spool is deleted, so that the store is all there is.
// STENO_KILLS says how often (25), STENO_SEED repeats the instants of an earlier run as well as timing allows.
import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startPostgres } from '../../tools/embedded-postgres.ts'
import { createRandom, type Random } from '../notices-nothing/random.ts'
import {
  connectRemembering,
  ConnectionEnded,
  execute,
  framesOf,
  query,
  type RememberingClient,
} from '../nothing-lost/remembering-client.ts'
import { startProxyProcess, steno } from '../support/proxy.ts'
import { backendBytesOf } from './stored-bytes.ts'

const kills = Number(process.env['STENO_KILLS'] ?? 25)
const clients = 5
const runMillisecondsMax = 500

type Received = { readonly name: string; readonly bytes: Buffer }

/** Keeps one connection busy until it breaks; then gives what its client received. */
async function load(port: number, name: string, random: Random): Promise<Received> {
  let client: RememberingClient
  try {
    client = await connectRemembering(port, name)
  } catch (error) {
    if (!(error instanceof ConnectionEnded)) throw error
    return { name, bytes: Buffer.alloc(0) }
  }
  try {
    for (let number = 1; ; number++) {
      const text = `${name} ${number}`
      switch (random.below(5)) {
        case 0:
          await client.ask(execute(`select $1 || repeat('p', 100)`, text))
          break
        case 1:
          await client.query(`select '${text}', repeat('l', 500) from generate_series(1, 3000)`)
          break
        case 2:
          await client.ask(...Array.from({ length: 5 }, (_, index) => query(`select '${text}.${index}'`)))
          break
        case 3:
          await client.query(`copy (select '${text}', n from generate_series(1, 5000) n) to stdout`)
          break
        default:
          await client.query(`select '${text}'`)
      }
    }
  } catch (error) {
    if (!(error instanceof ConnectionEnded)) throw error
    return { name, bytes: client.received() }
  }
}

test(`at level stored, at any instant, what agents have received is in the store: SIGKILL at ${kills} random instants, and the spool deleted`, async (t) => {
  const seed = Number(process.env['STENO_SEED'] ?? randomInt(2 ** 31))
  t.diagnostic(`STENO_SEED=${seed}`)
  const random = createRandom(seed)
  const folder = mkdtempSync(join(tmpdir(), 'steno-stored-kills-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  await using database = await startPostgres()
  const received: Received[] = []
  for (let round = 1; round <= kills; round++) {
    const proxy = await startProxyProcess({ upstream: database.url, folder, arguments: ['--level', 'stored'] })
    // A recorder that is killed before its ledger begins reads as one whose ledger was deleted.
    const first = await connectRemembering(proxy.port, `r${round}-first`).catch((error: unknown) => {
      throw new Error(`round ${round}:\n${proxy.log()}`, { cause: error })
    })
    await first.end()
    const loads = Array.from({ length: clients }, (_, index) => load(proxy.port, `r${round}-c${index}`, random))
    await sleep(random.below(runMillisecondsMax))
    await proxy.kill()
    received.push(...(await Promise.all(loads)))
    await rm(proxy.spoolFolder, { recursive: true })
  }
  const storeFolder = join(folder, 'store')
  const verified = await steno(['verify', '--all', '--store', pathToFileURL(storeFolder).href])
  assert.equal(verified.status, 0, verified.stdout + verified.stderr)
  const stored = await backendBytesOf(storeFolder)
  let bytes = 0
  let rows = 0
  for (const { name, bytes: got } of received) {
    if (got.length === 0) continue
    const has = stored.get(name) ?? Buffer.alloc(0)
    assert.ok(
      has.length >= got.length && has.subarray(0, got.length).equals(got),
      `${name} got ${got.length} bytes, the store has ${has.length}`,
    )
    bytes += got.length
    rows += framesOf(got).frames.filter(({ type }) => type === 'D').length
  }
  t.diagnostic(`${received.length} sessions received ${bytes} bytes, ${rows} rows`)
  assert.ok(rows > kills * 100, 'results were flowing')
})
