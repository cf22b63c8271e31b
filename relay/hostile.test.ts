// Goal: bytes of whoever connects neither end the relay, nor grow it, nor reach a database. Method: what an agent could send instead of a request.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import net from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { until } from '../cluster/test-support.ts'
import type { PodVerdict } from './pod-verdict.ts'
import { answerOn, nextChunk, startEcho, startTcp, startTestRelay, take, testDatabase } from './test-relay.ts'

const hostile: readonly (readonly [string, string | Buffer])[] = [
  ['garbage', randomBytes(20_000)],
  ['PostgreSQL’s start-up packet', Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])],
  ['a header of 100 KiB', `CONNECT db.test:5432 HTTP/1.1\r\nhost: x\r\nproxy-authorization: Bearer ${'a'.repeat(100_000)}\r\n\r\n`],
  ['ten thousand headers', `CONNECT db.test:5432 HTTP/1.1\r\n${'x: y\r\n'.repeat(10_000)}\r\n`],
  ['a target of 100 KiB', `CONNECT ${'a'.repeat(100_000)}:5432 HTTP/1.1\r\nhost: x\r\n\r\n`],
  ['a bare carriage return in a header', 'CONNECT db.test:5432 HTTP/1.1\r\nhost: x\rsteno-database: orders\r\n\r\n'],
  ['a space before the colon', 'CONNECT db.test:5432 HTTP/1.1\r\nhost : x\r\n\r\n'],
  [
    'both content-length and chunks',
    'POST /v1/probe HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
  ],
  ['two content-lengths', 'POST /v1/probe HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello'],
  ['no host', 'CONNECT db.test:5432 HTTP/1.1\r\n\r\n'],
  ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
]
for (const [what, bytes] of hostile)
  test(`${what}: BAD_REQUEST, and the relay goes on`, async () => {
    let connections = 0
    await using server = await startTcp(() => void connections++)
    await using relay = await startTestRelay(server.port)
    const socket = await relay.connection()
    socket.write(bytes)
    const answer = await answerOn(socket)
    assert.ok(answer.status === 400 || answer.status === 0, String(answer.status))
    assert.equal(await nextChunk(socket), null)
    assert.equal(connections, 0)
    assert.equal((await relay.connect()).status, 200)
  })

test('HTTP/1.0 gets no tunnel', async () => {
  await using echo = await startEcho()
  await using relay = await startTestRelay(echo.port)
  const socket = await relay.connection()
  socket.write(`CONNECT db.test:${echo.port} HTTP/1.0\r\nproxy-authorization: Bearer token-of-agent\r\nsteno-database: orders\r\n\r\n`)
  assert.equal((await answerOn(socket)).code, 'BAD_REQUEST')
})

test('a connection carries one request: what hides behind one that is not answered yet is never served', async () => {
  let connections = 0
  await using server = await startTcp(() => void connections++)
  const fit: PodVerdict = { kind: 'fit', podIPs: ['127.0.0.1'], databases: [testDatabase({ port: server.port })], ceilings: [] }
  await using relay = await startTestRelay(server.port, {
    judgePod: ({ podName }) => (podName === 'slow' ? new Promise(() => undefined) : Promise.resolve(fit)),
  })
  const socket = await relay.connection()
  const headersOf = (pod: string): string => `host: x\r\nproxy-authorization: Bearer token-of-${pod}\r\nsteno-database: orders\r\n\r\n`
  socket.write(`POST /v1/probe HTTP/1.1\r\ncontent-length: 0\r\n${headersOf('slow')}`)
  socket.write(`CONNECT db.test:${server.port} HTTP/1.1\r\n${headersOf('agent')}`)
  assert.equal((await take(socket, 1)).toString(), '')
  assert.equal(connections, 0)
  assert.equal(relay.server.tunnels, 0)
})

test('other paths and methods are NOT_FOUND, and leave nothing open', async () => {
  await using echo = await startEcho()
  await using relay = await startTestRelay(echo.port)
  for (const line of ['GET / HTTP/1.1', 'GET http://db.test/ HTTP/1.1', 'OPTIONS * HTTP/1.1', 'GET /v1/probe HTTP/1.1']) {
    const socket = await relay.connection()
    socket.write(`${line}\r\nhost: x\r\nproxy-authorization: Bearer token-of-agent\r\n\r\n`)
    assert.equal((await answerOn(socket)).code, 'NOT_FOUND', line)
    assert.equal(await nextChunk(socket), null)
  }
})

test('a probe says what is wrong with it', async () => {
  await using echo = await startEcho()
  await using relay = await startTestRelay(echo.port)
  for (const body of ['', 'no JSON', '[]', '{"database":"orders","host":"db.test","port":"5432"}', `{"database":"${'a'.repeat(5_000)}"}`])
    assert.equal((await relay.probe(body)).code, 'BAD_REQUEST', body.slice(0, 50))
  assert.equal((await relay.probe({ database: 'orders', host: 'other.test', port: echo.port })).code, 'TARGET_NOT_ALLOWED')
  assert.equal(
    (await relay.probe({ database: 'orders', host: 'db.test', port: echo.port }, { 'proxy-authorization': 'x' })).code,
    'TOKEN_UNFIT',
  )
})

test('whatever bytes come, the relay goes on', async () => {
  await using echo = await startEcho()
  await using relay = await startTestRelay(echo.port)
  const line = fc.constantFrom(
    'CONNECT db.test:1 HTTP/1.1\r\n',
    'POST /v1/probe HTTP/1.1\r\n',
    'host: x\r\n',
    'content-length: 3\r\n',
    '\r\n',
    '\r\n\r\n',
    '\0',
    'é',
  )
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(line, fc.string()), { maxLength: 12 }), async (parts) => {
      const socket = await relay.connection()
      socket.end(parts.join(''))
      while ((await nextChunk(socket)) !== null);
    }),
    { numRuns: 60 },
  )
  assert.equal((await relay.connect()).status, 200)
})

test('who says nothing, or a header letter by letter, is cut off', async () => {
  await using echo = await startEcho()
  await using relay = await startTestRelay(echo.port, { headersMillisecondsMax: 2_000 })
  const silent = await relay.connection()
  const slow = await relay.connection()
  slow.write('CONNECT db')
  for (const socket of [silent, slow]) while ((await nextChunk(socket)) !== null);
  assert.equal((await relay.connect()).status, 200)
})

test('a tunnel outlives the time that a request may take', async () => {
  await using echo = await startEcho()
  await using relay = await startTestRelay(echo.port, { headersMillisecondsMax: 2_000 })
  const { socket } = await relay.connect()
  // The clean-up of slow requests has come round when it has cut a silent connection.
  const silent = await relay.connection()
  while ((await nextChunk(silent)) !== null);
  socket.write('still')
  assert.equal((await take(socket, 5)).toString(), 'still')
})

test('one address cannot hold more connections than a pod may have tunnels, and a few', async () => {
  await using echo = await startEcho()
  await using relay = await startTestRelay(echo.port, { limits: { tunnelsPerPodMax: 2 } })
  const sockets = Array.from({ length: 100 }, () =>
    net.connect({ host: '127.0.0.1', port: relay.server.port }).on('error', () => undefined),
  )
  for (const socket of sockets) socket.resume()
  await until(() => sockets.filter(({ destroyed }) => destroyed).length === 34)
  assert.equal(await relay.metric('steno_relay_connections_cut_total'), 34)
  for (const socket of sockets) socket.destroy()
})

test('refusals of one pod are a few lines of the log, however many they are', async () => {
  await using echo = await startEcho()
  await using relay = await startTestRelay(echo.port)
  for (let index = 0; index < 50; index++) await relay.connect({ database: 'other' })
  assert.equal(await relay.metric('steno_relay_refusals_total{code="TARGET_NOT_ALLOWED"}'), 50)
  assert.ok(relay.lines.filter(({ msg }) => msg.startsWith('refused')).length < 20)
})
