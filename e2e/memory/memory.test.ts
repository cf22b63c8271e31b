// Goal: what passes needs no memory, however large it is. Method: a COPY to a reader that is slow, one value of 200 MiB, and one statement
// of 200 MiB go through the proxy; its resident memory is sampled meanwhile, and what arrives is compared with what arrives directly.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import test, { after, before } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { frontend } from '../../postgres/messages/write-for-tests.ts'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { connectRaw, startupMessage } from '../notices-nothing/raw-client.ts'
import { readRecorded } from '../nothing-lost/recorded.ts'
import { startProxyProcess, steno, stopUntilStored } from '../support/proxy.ts'

const mebibyte = 1024 * 1024
const copyMebibytes = 300
const valueMebibytes = 200
const statementMebibytes = 200
/**
 * Idle it has about 80 MiB, its turns' buffers take some 4, and the thread that seals works on segments of a few MiB at a time. Any of the
 * three loads held in memory would be far above.
 */
const residentMebibytesMax = 180
const sampleMilliseconds = 25
/** After each MiB, so that the reader takes about 35 MiB a second: slower than any database here. */
const restMilliseconds = 28

let server: EmbeddedPostgres
before(async () => {
  server = await startPostgres({ authentication: 'trust' })
})
after(() => server.stop())

type Said = { readonly bytes: number; readonly sha256: string }

/** Signs in, says `ask`, and reads to the end without keeping anything. `slowly` rests after every MiB. */
async function stream(
  { host, port }: { readonly host: string; readonly port: number },
  ask: (socket: net.Socket) => Promise<void>,
  { slowly = false } = {},
): Promise<Said> {
  const socket = net.connect({ host, port, noDelay: true })
  await once(socket, 'connect')
  socket.write(startupMessage({ user: 'postgres', database: 'postgres' }))
  // The start-up holds keys that differ; ReadyForQuery is its end.
  const readyForQuery = Buffer.from('Z\0\0\0\x05I', 'latin1')
  let startUp: Buffer = Buffer.alloc(0)
  while (!startUp.includes(readyForQuery)) startUp = Buffer.concat([startUp, ...((await once(socket, 'data')) as Buffer[])])
  const asked = ask(socket)
  const hash = createHash('sha256')
  let bytes = 0
  let rested = 0
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    hash.update(chunk)
    bytes += chunk.length
    if (slowly && bytes - rested > mebibyte) {
      rested = bytes
      await sleep(restMilliseconds)
    }
  }
  await asked
  return { bytes, sha256: hash.digest('hex') }
}

/** Runs `use` and gives the largest resident memory of the process meanwhile, in MiB. */
async function residentDuring<Result>(pid: number, use: () => Promise<Result>): Promise<{ result: Result; mebibytes: number }> {
  let largest = 0
  const timer = setInterval(() => {
    largest = Math.max(largest, Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024)
  }, sampleMilliseconds)
  try {
    return { result: await use(), mebibytes: Math.round(largest) }
  } finally {
    clearInterval(timer)
  }
}

async function write(socket: net.Socket, bytes: Buffer): Promise<void> {
  if (!socket.write(bytes)) await once(socket, 'drain')
}

const query = (sql: string) => async (socket: net.Socket) => write(socket, Buffer.concat([frontend.query(sql), frontend.terminate]))

/** `select length('xxx…')`, made as it is sent. */
async function longStatement(socket: net.Socket): Promise<void> {
  const [head, behind] = [Buffer.from("select length('"), Buffer.from("')\0")]
  const piece = Buffer.alloc(64 * 1024, 'x')
  const pieces = (statementMebibytes * mebibyte) / piece.length
  const header = Buffer.from('Q\0\0\0\0', 'latin1')
  header.writeUInt32BE(4 + head.length + pieces * piece.length + behind.length, 1)
  await write(socket, Buffer.concat([header, head]))
  for (let sent = 0; sent < pieces; sent++) await write(socket, piece)
  await write(socket, Buffer.concat([behind, frontend.terminate]))
}

const loads = [
  {
    name: `a COPY of ${copyMebibytes} MiB to a slow reader`,
    ask: query(`copy (select repeat(chr(97 + n % 26), 1023) from generate_series(1, ${copyMebibytes * 1024}) n) to stdout`),
    slowly: true,
    bytesMin: copyMebibytes * mebibyte,
  },
  {
    name: `one value of ${valueMebibytes} MiB`,
    ask: query(`select repeat('x', ${valueMebibytes * mebibyte})`),
    slowly: false,
    bytesMin: valueMebibytes * mebibyte,
  },
  { name: `one statement of ${statementMebibytes} MiB`, ask: longStatement, slowly: false, bytesMin: 10 },
]

for (const { name, ask, slowly, bytesMin } of loads) {
  test(`${name} passes unchanged, and the proxy stays below ${residentMebibytesMax} MiB`, async (t) => {
    const upstream = `host=${server.host} port=${server.port} user=postgres dbname=postgres sslmode=disable`
    await using proxy = await startProxyProcess({ upstream })
    const expected = await stream(server, ask)
    const { result, mebibytes } = await residentDuring(proxy.pid, () => stream(proxy, ask, { slowly }))
    assert(expected.bytes >= bytesMin)
    assert.deepEqual(result, expected)
    t.diagnostic(`resident at most: ${mebibytes} MiB`)
    assert(mebibytes > 20 && mebibytes < residentMebibytesMax, `${mebibytes} MiB`)
    await stopUntilStored(proxy, upstream)
    const verified = await steno(['verify', '--all', '--store', proxy.storeUrl])
    assert.equal(verified.status, 0, verified.stdout + verified.stderr)
  })
}

const connections = 60
const statementsEach = 3

// All that can wait does: the database is busy, each connection has sent it some statements of a MiB, and has not ended one more.
test(`${connections} connections with long statements that wait share one bound, and each statement is run and recorded`, async (t) => {
  const upstream = `host=${server.host} port=${server.port} user=postgres dbname=postgres sslmode=disable`
  await using proxy = await startProxyProcess({ upstream })
  const connect = async ({ host, port }: { readonly host: string; readonly port: number }, name: string) => {
    const client = connectRaw({ host, port, parameters: { user: 'postgres', database: 'postgres', application_name: name } })
    await client.start()
    return client
  }
  const busy = await connect(server, 'busy')
  busy.send(frontend.query('select pg_advisory_lock(1)'))
  await busy.until(() => busy.countOf('Z') === 2)
  const sent = (index: number, count: number): Buffer =>
    frontend.query(`select length('${'x'.repeat(mebibyte - 1_000 + index)}') as of_${count}`)
  const clients = await Promise.all(Array.from({ length: connections }, (_, index) => connect(proxy, `client-${index}`)))
  const { mebibytes } = await residentDuring(proxy.pid, async () => {
    for (const [index, client] of clients.entries()) {
      client.send(frontend.query('select pg_advisory_lock_shared(1)'))
      for (let count = 0; count < statementsEach; count++) client.send(sent(index, count))
      client.send(sent(index, statementsEach).subarray(0, -1))
    }
    const untaken = (): number => clients.reduce((sum, { socket }) => sum + socket.writableLength, 0)
    for (let last = -1, same = 0; same < 20; same = untaken() === last ? same + 1 : 0) {
      last = untaken()
      await sleep(100)
    }
  })
  t.diagnostic(`resident at most: ${mebibytes} MiB`)
  assert(mebibytes < residentMebibytesMax, `${mebibytes} MiB`)
  busy.send(frontend.query('select pg_advisory_unlock(1)'))
  for (const [index, client] of clients.entries()) {
    client.send(sent(index, statementsEach).subarray(-1))
    await client.until(() => client.countOf('Z') === statementsEach + 3)
    const lengths = client.frames().filter(({ type }) => type === 'D')
    assert.deepEqual(
      lengths.slice(1).map(({ body }) => body.toString('latin1', 6)),
      Array.from({ length: statementsEach + 1 }, () => String(mebibyte - 1_000 + index)),
    )
  }
  for (const { socket } of [busy, ...clients]) socket.end(frontend.terminate)
  await stopUntilStored(proxy, upstream)
  const verified = await steno(['verify', '--all', '--store', proxy.storeUrl])
  assert.equal(verified.status, 0, verified.stdout + verified.stderr)
  const recorded = await readRecorded(proxy.storeFolder)
  for (let index = 0; index < connections; index++) {
    const wanted = Array.from({ length: statementsEach + 1 }, (_, count) => sent(index, count))
    const { frontend: bytes } = recorded.get(`client-${index}`)!
    assert(bytes.includes(Buffer.concat(wanted)), `client ${index}`)
  }
})
