// Goal: no instant between two writes loses anything. Method: one scripted conversation, over and over, against a proxy that kills
// itself at the n-th write to its spool, before, in the middle of and after it; each next proxy recovers what the one before left,
// and is killed in turn. In the end the database's log and what the clients remember are compared with the recordings.
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { startPostgres } from '../../tools/embedded-postgres.ts'
import { assertNothingLost, executedStatements, loggingSettings, mark, type Remembered } from './proof.ts'
import type { WritePoint } from './proxy-that-dies.ts'
import { assertVerified, readRecorded } from './recorded.ts'
import { connectRemembering, ConnectionEnded, execute, query, type RememberingClient } from './remembering-client.ts'

const program = new URL('./proxy-that-dies.ts', import.meta.url).pathname

type DyingProxy = { readonly child: ChildProcess; readonly port: number }

async function startDyingProxy(upstream: string, folder: string, dieAt: number, point: WritePoint): Promise<DyingProxy> {
  const child = spawn(process.execPath, [program, String(dieAt), point, folder], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, STENO_UPSTREAM: upstream },
  })
  let log = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (log += text))
  const lines = createInterface({ input: child.stdout })
  const [first] = (await Promise.race([once(lines, 'line'), once(child, 'exit').then(() => [''])])) as [string]
  assert.match(first, /^\d+$/, `the proxy listens:\n${log}`)
  return { child, port: Number(first) }
}

/** Statements of every kind that matters here: ones that change something, ones with rows, a result of several reads, a pipeline. */
async function converse(client: RememberingClient, name: string): Promise<void> {
  await client.query(`insert into proof values ('${mark} ${name} 1')`)
  await client.query(`select '${mark} ${name} 2', repeat('r', 300) from generate_series(1, 5)`)
  await client.ask(execute(`insert into proof values ($1) returning '${mark} ${name} 3'`, name))
  await client.query(`select '${mark} ${name} 4', repeat('w', 1000) from generate_series(1, 400)`)
  await client.ask(query(`insert into proof values ('${mark} ${name} 5')`), query(`select '${mark} ${name} 6'`))
  await client.end()
}

test('Nothing unrecorded, nothing lost: SIGKILL at every write point', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'steno-write-points-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  await using database = await startPostgres({ settings: loggingSettings })
  await database.query('create table proof (text text)')
  const remembered: Remembered[] = []
  let kills = 0
  const points: readonly WritePoint[] = ['before', 'middle', 'after']
  let isThrough = false
  for (let write = 1; !isThrough; write++) {
    for (const point of points) {
      const { child, port } = await startDyingProxy(database.url, folder, write, point)
      const exited = once(child, 'exit')
      const name = `${point}-${write}`
      const client = await connectRemembering(port, name).catch((error: unknown) => {
        assert.ok(error instanceof ConnectionEnded, String(error))
        return null // Killed at the write that opens the session.
      })
      if (client !== null) {
        await converse(client, name).catch((error: unknown) => assert.ok(error instanceof ConnectionEnded, String(error)))
        await client.ended
        remembered.push({ applicationName: name, received: client.received() })
      }
      child.kill('SIGTERM') // Where the conversation had fewer writes than that.
      const [, signal] = (await exited) as [number | null, string | null]
      if (signal === 'SIGKILL') kills++
      else isThrough = true
    }
  }
  const last = await startDyingProxy(database.url, folder, 0, 'after')
  const exited = once(last.child, 'exit')
  last.child.kill('SIGTERM')
  assert.deepEqual(await exited, [0, null])

  await assertVerified(join(folder, 'store'), join(folder, 'spool'))
  const counts = assertNothingLost(await executedStatements(database.logFile), remembered, await readRecorded(join(folder, 'store')))
  t.diagnostic(`${kills} kills, ${counts.statements} statements, ${counts.rows} rows, ${counts.bytes} bytes`)
  assert.ok(kills >= 24, `the conversation has write points: ${kills} kills`)
  assert.ok(counts.statements > 40 && counts.rows > 400, 'the conversation got through in part')
})
