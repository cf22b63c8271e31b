// Goal: a tunnel carries every byte both ways, its ends and its back-pressure, and nobody gets one who may not. Method: the real server over
// real TLS and TCP sockets; the cluster's part (tokens, verdicts, names) is the test's.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type net from 'node:net'
import { test } from 'node:test'
import pg from 'pg'
import { until } from '../cluster/test-support.ts'
import { createAuthority, issueLeaf } from '../tools/certificates.ts'
import { startPostgres } from '../tools/embedded-postgres.ts'
import { addressFormsOf } from './address-forms.ts'
import { nextChunk, startEcho, startTcp, startTestRelay, take, testDatabase } from './test-relay.ts'

test('a tunnel carries bytes both ways, tells the address, and writes one line at its end', async () => {
  await using echo = await startEcho()
  await using relay = await startTestRelay(echo.port)
  const { socket, status, head, rest } = await relay.connect()
  assert.equal(status, 200)
  assert.match(head, /^Steno-Address: 127\.0\.0\.1$/m)
  assert.equal(rest.length, 0)
  const sent = randomBytes(3 * 1024 * 1024)
  socket.write(sent)
  assert.deepEqual(await take(socket, sent.length), sent)
  assert.equal(relay.server.tunnels, 1)
  socket.end()
  assert.equal(await nextChunk(socket), null)
  await until(() => relay.server.tunnels === 0)
  const line = relay.lines.find(({ msg }) => msg === 'tunnel ended')
  assert.deepEqual(
    [
      line?.['pod'],
      line?.['database'],
      line?.['target'],
      line?.['address'],
      line?.['bytesToDatabase'],
      line?.['bytesToPod'],
      line?.['reason'],
    ],
    ['shop/agent', 'orders', `db.test:${echo.port}`, '127.0.0.1', sent.length, sent.length, 'pod_ended'],
  )
  assert.equal(await relay.metric('steno_relay_bytes_total{direction="to_pod"}'), sent.length)
  assert.equal(await relay.metric('steno_relay_tunnels_closed_total{kind="pod_ended"}'), 1)
})

test('what comes right behind the request, in the same packet, is the tunnel’s first', async () => {
  await using echo = await startEcho()
  await using relay = await startTestRelay(echo.port)
  const { socket, rest } = await relay.connect({ behind: 'GET / HTTP/1.1\r\nhost: x\r\n\r\n' })
  assert.equal((await take(socket, 27, rest)).toString(), 'GET / HTTP/1.1\r\nhost: x\r\n\r\n')
})

test('the end of one direction is passed on and the other goes on', async () => {
  // Speaks only once it has heard the end.
  await using server = await startTcp((socket) => {
    let bytes = 0
    socket.on('data', (chunk) => (bytes += chunk.length))
    socket.on('end', () => socket.end(`heard ${bytes} bytes`))
  })
  await using relay = await startTestRelay(server.port)
  const { socket } = await relay.connect()
  socket.end(Buffer.alloc(300_000))
  assert.equal((await take(socket, 1_000)).toString(), 'heard 300000 bytes')
  await until(() => relay.server.tunnels === 0)
})

test('the database’s end is passed on and what the pod still says arrives', async () => {
  let heard = Buffer.alloc(0)
  await using server = await startTcp((socket) => {
    socket.on('data', (chunk) => (heard = Buffer.concat([heard, chunk])))
    socket.end('bye')
  })
  await using relay = await startTestRelay(server.port)
  const { socket, rest } = await relay.connect()
  assert.equal((await take(socket, 100, rest)).toString(), 'bye')
  assert.equal(socket.readableEnded, true)
  socket.end('last words')
  await until(() => heard.toString() === 'last words')
  await until(() => relay.server.tunnels === 0)
  assert.equal(relay.lines.find(({ msg }) => msg === 'tunnel ended')?.['reason'], 'database_ended')
})

for (const side of ['pod', 'database'] as const)
  test(`when the ${side} vanishes the other side is ended and nothing is left`, async () => {
    await using echo = await startEcho()
    await using relay = await startTestRelay(echo.port)
    const { socket } = await relay.connect()
    socket.write('x')
    await take(socket, 1)
    const [database] = echo.sockets
    if (side === 'pod') socket.destroy()
    else database!.resetAndDestroy()
    await until(
      () =>
        relay.server.tunnels === 0 && echo.sockets.size === 0 && (socket.destroyed || socket.readableEnded || socket.readableLength === 0),
    )
    if (side === 'database') assert.equal(await nextChunk(socket), null)
  })

test('a pod that does not read slows its database, and memory does not grow', async () => {
  const chunk = Buffer.alloc(256 * 1024)
  let written = 0
  await using source = await startTcp((socket) => {
    const pour = (): void => {
      do written += chunk.length
      while (socket.write(chunk))
    }
    socket.on('drain', pour)
    pour()
  })
  await using relay = await startTestRelay(source.port)
  const { socket } = await relay.connect()
  socket.pause()
  let before = -1
  await until(() => {
    const isStill = written === before && written > 0
    before = written
    return isStill
  })
  // What kernels, TLS and the two buffers hold; a relay that does not pause takes without end.
  assert.ok(written < 64 * 1024 * 1024, `${written} bytes were taken`)
  const held = written
  assert.ok((await take(socket, 8 * 1024 * 1024)).length >= 8 * 1024 * 1024)
  await until(() => written > held)
})

test('a database that does not read slows the pod', async () => {
  let database: net.Socket | undefined
  await using server = await startTcp((socket) => {
    socket.pause()
    database = socket
  })
  await using relay = await startTestRelay(server.port)
  const { socket } = await relay.connect()
  const sent = randomBytes(64 * 1024 * 1024)
  socket.write(sent)
  await until(() => socket.writableLength > 0 && database !== undefined)
  const counted = async (): Promise<number> => relay.metric('steno_relay_bytes_total{direction="to_database"}')
  let before = -1
  for (let now = await counted(); now !== before; now = await counted()) {
    before = now
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  assert.ok(before < 32 * 1024 * 1024, `${before} bytes were taken`)
  assert.deepEqual(await take(database!, sent.length), sent)
})

test('PostgreSQL itself is spoken to through a tunnel', async () => {
  await using postgres = await startPostgres()
  await using relay = await startTestRelay(postgres.port)
  const { socket } = await relay.connect()
  const { superuser: user, password } = postgres
  const client = new pg.Client({
    user,
    password,
    database: 'postgres',
    stream: () => Object.assign(socket, { connect: () => queueMicrotask(() => socket.emit('connect')) }),
  })
  await client.connect()
  const { rows } = await client.query<{ n: string }>("select count(*) as n, max(repeat('x', 100000)) from generate_series(1, 1000)")
  assert.equal(rows[0]?.n, '1000')
  await client.end()
  await until(() => relay.server.tunnels === 0)
})

test('TARGET_UNREACHABLE: a database that nobody serves', async () => {
  const echo = await startEcho()
  await using relay = await startTestRelay(echo.port)
  await echo[Symbol.asyncDispose]()
  assert.equal((await relay.connect()).code, 'TARGET_UNREACHABLE')
})

test('without the check of the source address another address is taken', async () => {
  await using echo = await startEcho()
  await using relay = await startTestRelay(echo.port, { checkSourceAddress: false })
  relay.verdicts.set('other', { kind: 'fit', podIPs: ['10.1.2.3'], databases: [testDatabase({ port: echo.port })], ceilings: [] })
  assert.equal((await relay.connect({ pod: 'other' })).status, 200)
})

test('of a name with allowed and forbidden addresses only the allowed ones are tried', async () => {
  await using echo = await startEcho()
  await using relay = await startTestRelay(echo.port)
  relay.names.set('db.test', ['169.254.169.254', '127.0.0.2', '127.0.0.1'])
  relay.forbidden.set('127.0.0.2', 'a node')
  assert.match((await relay.connect()).head, /Steno-Address: 127\.0\.0\.1/)
  const { rest } = await relay.probe({ database: 'orders', host: 'db.test', port: echo.port })
  assert.deepEqual(JSON.parse(rest.toString()), { addresses: [{ address: '127.0.0.1', isReachable: true }] })
})

test('the address is asked for once: a name that changes between check and connection changes nothing', async () => {
  await using echo = await startEcho()
  let asked = 0
  await using relay = await startTestRelay(echo.port, {
    resolveName(host) {
      if (host === 'db.test') asked++
      return Promise.resolve([addressFormsOf(asked === 1 ? '127.0.0.1' : '169.254.169.254')!])
    },
  })
  const { socket, status } = await relay.connect()
  assert.equal(status, 200)
  assert.equal(asked, 1)
  relay.server.changed(null)
  socket.write('still')
  assert.equal((await take(socket, 5)).toString(), 'still')
})

test('the wanted one of several addresses is the one', async () => {
  await using server = await startTcp((socket) => void socket.end(socket.localAddress ?? ''))
  await using relay = await startTestRelay(server.port)
  relay.names.set('db.test', ['127.0.0.9', '127.0.0.1'])
  const { head, rest, socket } = await relay.connect({ headers: { 'steno-address': '127.0.0.1' } })
  assert.match(head, /Steno-Address: 127\.0\.0\.1/)
  assert.equal((await take(socket, 100, rest)).toString(), '127.0.0.1')
})

test('the next address is tried when the first fails', async () => {
  await using echo = await startEcho()
  await using relay = await startTestRelay(echo.port)
  relay.names.set('db.test', ['127.0.0.9', '127.0.0.1'])
  assert.match((await relay.connect()).head, /Steno-Address: 127\.0\.0\.1/)
})

test('a certificate that was replaced is served without a restart', async () => {
  await using echo = await startEcho()
  await using relay = await startTestRelay(echo.port)
  const authority = await createAuthority('another')
  relay.useCertificate(await issueLeaf(authority, { kind: 'server', commonName: 'steno-relay', names: ['127.0.0.1'] }))
  const socket = await relay.connection({ ca: authority.certificatePem })
  assert.equal(socket.getProtocol(), 'TLSv1.3')
  assert.equal((await relay.connect({ socket })).status, 200)
})

test('nothing below TLS 1.3 is spoken', async () => {
  await using echo = await startEcho()
  await using relay = await startTestRelay(echo.port)
  await assert.rejects(relay.connection({ maxVersion: 'TLSv1.2' }))
})

test('stopping: no new tunnels, the open ones go on until they end', async () => {
  await using echo = await startEcho()
  await using relay = await startTestRelay(echo.port, { drainMilliseconds: 60_000 })
  const idle = await relay.connection()
  const { socket } = await relay.connect()
  const stopped = relay.server.stop()
  assert.deepEqual(relay.server.reasonsNotReady(), ['it is stopping'])
  assert.equal((await relay.connect({ socket: idle })).status, 0)
  await assert.rejects(relay.connection())
  socket.write('on')
  assert.equal((await take(socket, 2)).toString(), 'on')
  socket.end()
  await stopped
})

test('stopping: when the drain time is over the rest is ended', async () => {
  await using echo = await startEcho()
  await using relay = await startTestRelay(echo.port, { drainMilliseconds: 0 })
  const { socket } = await relay.connect()
  await relay.server.stop()
  assert.equal(await nextChunk(socket), null)
  assert.equal(relay.lines.find(({ msg }) => msg === 'tunnel ended')?.['reason'], 'stopping')
})
