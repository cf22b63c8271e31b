// Goal: probes and scrapers are answered, and no peer, however slow, can hold the port. Method: real sockets, with bounds of a fraction of
// a second; each test ends when the server has ended the connection, and hangs if it does not.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { test, type TestContext } from 'node:test'
import { startMetricsServer, type MetricsServerLimits } from './metrics-server.ts'

const patient: MetricsServerLimits = {
  connectionsMax: 3,
  requestMillisecondsMax: 60_000,
  idleMillisecondsMax: 60_000,
  checkMilliseconds: 20,
}
const soon = { requestMillisecondsMax: 150, idleMillisecondsMax: 150 } as const

async function serve(
  t: TestContext,
  {
    limits = {},
    reasons = [],
    text = async () => 'a_metric 1\n',
  }: { limits?: Partial<MetricsServerLimits>; reasons?: readonly string[]; text?: () => Promise<string> } = {},
) {
  const server = await startMetricsServer({
    listen: { host: '127.0.0.1', port: 0 },
    metrics: { contentType: 'text/plain; version=0.0.4; charset=utf-8', text },
    reasonsNotReady: () => reasons,
    limits: { ...patient, ...limits },
  })
  t.after(() => server.close())
  return {
    server,
    get: (path: string, method = 'GET') => fetch(`http://127.0.0.1:${server.port}${path}`, { method }),
    async connect(): Promise<net.Socket> {
      const socket = net.connect({ host: '127.0.0.1', port: server.port })
      t.after(() => void socket.destroy())
      socket.on('error', () => undefined)
      await once(socket, 'connect')
      return socket
    },
  }
}

/** What comes until the other side closes. */
async function received(socket: net.Socket): Promise<string> {
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
  await closed(socket)
  return text
}

/** Unlike `once`, not thrown off by the error that may come before. */
async function closed(socket: net.Socket): Promise<void> {
  if (!socket.closed) await new Promise<void>((resolve) => void socket.once('close', () => resolve()))
}

test('metrics, health and readiness answer GET and HEAD, with or without a query', async (t) => {
  const { get } = await serve(t)
  for (const [path, body] of [
    ['/metrics', 'a_metric 1\n'],
    ['/healthz', 'ok\n'],
    ['/readyz?verbose', 'ok\n'],
  ] as const) {
    const answer = await get(path)
    assert.deepEqual([answer.status, await answer.text()], [200, body])
    const head = await get(path, 'HEAD')
    assert.deepEqual([head.status, head.headers.get('content-length'), await head.text()], [200, String(body.length), ''])
  }
  assert.equal((await get('/metrics')).headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8')
})

test('readiness says each reason on a line of its own, and health is not asked for any', async (t) => {
  const { get } = await serve(t, { reasons: ['stopping', 'not storing'] })
  const answer = await get('/readyz')
  assert.deepEqual([answer.status, await answer.text()], [503, 'stopping\nnot storing\n'])
  assert.equal((await get('/healthz')).status, 200)
})

test('anything else is refused, and says what is served', async (t) => {
  const { get } = await serve(t)
  const post = await get('/metrics', 'POST')
  assert.deepEqual([post.status, post.headers.get('allow')], [405, 'GET, HEAD'])
  assert.equal((await get('/')).status, 404)
  assert.equal((await get('/metrics/')).status, 404)
})

test('metrics that cannot be collected are an error of the server, without its reason', async (t) => {
  const { get } = await serve(t, { text: () => Promise.reject(new Error('a secret')) })
  const answer = await get('/metrics')
  assert.deepEqual([answer.status, await answer.text()], [500, 'the metrics could not be collected\n'])
})

for (const [what, said] of [
  ['says nothing', ''],
  ['never ends its header', 'GET /metrics HTTP/1.1\r\nhost: steno\r\n'],
  ['never ends its body', 'GET /metrics HTTP/1.1\r\nhost: steno\r\ncontent-length: 10\r\n\r\n12345'],
  ['asks once and stays', 'GET /healthz HTTP/1.1\r\nhost: steno\r\n\r\n'],
] as const) {
  test(`a peer that ${what} is closed`, { timeout: 120_000 }, async (t) => {
    const { connect } = await serve(t, { limits: soon })
    const socket = await connect()
    socket.write(said)
    await received(socket)
  })
}

test('a peer that sends a header byte by byte is closed', { timeout: 120_000 }, async (t) => {
  const { connect } = await serve(t, { limits: soon })
  const socket = await connect()
  socket.write('GET /metrics HTTP/1.1\r\nx: ')
  const dripping = setInterval(() => socket.write('a'), 10)
  t.after(() => clearInterval(dripping))
  assert.match(await received(socket), /^(HTTP\/1\.1 408|$)/)
})

test('a peer that asks and asks and reads nothing is closed', { timeout: 120_000 }, async (t) => {
  const large = 'x'.repeat(16 * 1024 * 1024)
  const { connect } = await serve(t, { limits: soon, text: async () => large })
  const socket = await connect()
  socket.pause()
  const request = 'GET /metrics HTTP/1.1\r\nhost: steno\r\n\r\n'
  const writing = setInterval(() => socket.write(request), 20) // A write to a closed socket is what shows the end to one that does not read.
  t.after(() => clearInterval(writing))
  await closed(socket)
})

test('a header that is too long is refused', async (t) => {
  const { connect } = await serve(t)
  const socket = await connect()
  socket.write(`GET /metrics HTTP/1.1\r\nx: ${'a'.repeat(20_000)}\r\n\r\n`)
  assert.match(await received(socket), /^HTTP\/1\.1 431/)
})

test('only so many connections are held at a time, and there is room again when they are gone', { timeout: 120_000 }, async (t) => {
  const { connect, get } = await serve(t)
  const held = await Promise.all([connect(), connect(), connect()])
  await received(await connect())
  for (const socket of held) socket.destroy()
  for (;;) {
    const answer = await get('/healthz').catch(() => null)
    if (answer?.status === 200) break
  }
})

test('closing ends the connections that are open', { timeout: 120_000 }, async (t) => {
  const { server, connect } = await serve(t)
  const socket = await connect()
  socket.write('GET /metrics HTTP/1.1\r\n')
  server.close()
  await received(socket)
})
