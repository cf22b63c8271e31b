// Goal: a copy loop that loses or holds back bytes would be a wrong limit, and a client that does not notice would hide it.
// Method: the bulk client, which counts rows, and a real server behind the loop, plain and with TLS; then a loop that drops bytes.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, connect } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { startDatabase, wideRowBytes } from '../database.ts'
import { startContestant } from '../contestants.ts'
import { runBulk } from '../loads.ts'

const bulkBytes = 20e6
let database: EmbeddedPostgres
let folder: string
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steno-bench-test-'))
  database = await startDatabase(bulkBytes)
})
after(async () => {
  await database.stop()
  await rm(folder, { recursive: true, force: true })
})

for (const name of ['direct', 'direct-tls', 'node-copy', 'node-copy-tls'] as const) {
  test(`every row arrives, fast and slow, both ways: ${name}`, async () => {
    const running = await startContestant(name, { database, folder: join(folder, name), freshServerConnections: false })
    try {
      for (const load of ['result', 'copy-out', 'copy-in', 'slow-result'] as const) {
        const passes = load === 'slow-result' ? 2 : 1
        const { bytes, rows } = await runBulk(running.target, load, bulkBytes, { passes })
        assert.ok(bytes >= passes * bulkBytes * 0.99, `${load}: ${bytes} bytes, ${rows} rows`)
      }
    } finally {
      await running.stop()
    }
  })
}

test('a proxy that drops bytes does not pass for a fast one', async () => {
  // All rows are of one length, so without a hundred times that length the stream is still well formed: only a count can tell.
  const [from, to] = [5_000_000, 5_000_000 + 100 * wideRowBytes]
  const dropping = createServer((client) => {
    const server = connect(database.port, '127.0.0.1')
    let passed = 0
    client.pipe(server)
    server.on('data', (bytes: Buffer) => {
      const [start, end] = [from - passed, to - passed].map((offset) => Math.min(bytes.length, Math.max(0, offset)))
      client.write(bytes.subarray(0, start))
      client.write(bytes.subarray(end))
      passed += bytes.length
    })
    for (const socket of [client, server]) {
      socket.on('error', () => socket.destroy())
      socket.on('close', () => (client.destroy(), server.destroy()))
    }
  }).listen(0, '127.0.0.1')
  await once(dropping, 'listening')
  const { port } = dropping.address() as { port: number }
  const target = { port, tls: false, user: database.superuser, password: database.password }
  try {
    await assert.rejects(runBulk(target, 'result', bulkBytes), /rows were asked for/)
  } finally {
    dropping.close()
  }
})

test('a client that is refused says so', async () => {
  const target = { port: database.port, tls: false, user: database.superuser, password: 'another' }
  await assert.rejects(runBulk(target, 'result', bulkBytes), /28P01/)
})
