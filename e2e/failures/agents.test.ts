// What agents may send, or fail to send. Titles are the first column of docs/failures.md.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import tls from 'node:tls'
import { frontend } from '../../postgres/messages/write-for-tests.ts'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { connectRemembering, ConnectionEnded, message, query, startup } from '../nothing-lost/remembering-client.ts'
import { startupMessage } from '../notices-nothing/raw-client.ts'
import { startFailureWorld, untilReceived, sendRaw } from './world.ts'

let database: EmbeddedPostgres
before(async () => {
  database = await startPostgres()
})
after(() => database.stop())

test('an agent sends bytes that are no start-up', async () => {
  await using world = await startFailureWorld(database.url)
  for (const garbage of [
    Buffer.from('not a start-up at all'),
    Buffer.alloc(16),
    Buffer.from([0, 0, 0, 4, 1, 2, 3, 4]),
    ...Array.from({ length: 20 }, () => randomBytes(64)),
  ]) {
    garbage[0] = garbage[0] === 0x16 ? 0 : garbage[0]! // 0x16 begins TLS, which is another conversation.
    assert.equal((await sendRaw(world.port, garbage))?.get('C'), '08P01', garbage.toString('hex'))
  }
  await world.assertOthersGoOn()
  assert.deepEqual([...(await world.recorded()).keys()], ['bystander', 'fresh-1'])
})

test('an agent sends an HTTP request', async () => {
  await using world = await startFailureWorld(database.url)
  const fields = await sendRaw(world.port, Buffer.from('GET / HTTP/1.1\r\nHost: steno\r\n\r\n'))
  assert.equal(fields?.get('C'), '08P01')
  assert.ok(fields.get('H') !== undefined, 'it says what to do')
  await world.assertOthersGoOn()
  assert.deepEqual([...(await world.recorded()).keys()], ['bystander', 'fresh-1'])
})

for (const [title, frame] of [
  ['an agent sends a message that claims 4 GiB', Buffer.from([0x51, 0xff, 0xff, 0xff, 0xff, 0x73])],
  ['an agent sends a message of an unknown type', message('!')],
] as const) {
  test(title, async () => {
    await using world = await startFailureWorld(database.url)
    const client = await connectRemembering(world.port, 'strange')
    await client.query("select 'fine'")
    client.send(frame)
    const { fields } = await client.ended
    assert.deepEqual([fields?.get('S'), fields?.get('C')], ['FATAL', '08P01'])
    await world.assertOthersGoOn()
    const conversation = (await world.recorded()).get('strange')!
    assert.equal(conversation.closeReason, 'protocol-error')
    assert.ok(conversation.backend.equals(client.received()), 'what it was told is recorded, the error too')
    assert.deepEqual(
      conversation.statements.map(({ sql }) => sql),
      ["select 'fine'"],
    )
  })
}

test('an agent connects and sends nothing', async () => {
  await using world = await startFailureWorld(database.url, ['--startup-milliseconds-max', '3000'])
  const socket = connect(world.port, '127.0.0.1')
  socket.on('error', () => undefined)
  await new Promise((resolve) => socket.resume().once('close', resolve))
  await world.assertOthersGoOn()
  assert.deepEqual([...(await world.recorded()).keys()], ['bystander', 'fresh-1'])
})

test('an agent leaves in the middle of its TLS handshake', async () => {
  // Room for one whose end the proxy hears of a moment later than its agent, and not for all three.
  await using world = await startFailureWorld(database.url, ['--startup-milliseconds-max', '2000', '--connections-max', '3'])
  for (let count = 0; count < 3; count++) {
    const socket = connect(world.port, '127.0.0.1')
    socket.on('error', () => undefined)
    socket.write(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]))
    assert.equal(String((await once(socket, 'data'))[0]), 'S')
    socket.end()
    await once(socket, 'close')
  }
  await world.assertOthersGoOn()
  assert.deepEqual([...(await world.recorded()).keys()], ['bystander', 'fresh-1'])
})

test('an agent renegotiates TLS in the middle of a result', async () => {
  await using world = await startFailureWorld(database.url)
  const socket = connect(world.port, '127.0.0.1')
  socket.write(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]))
  assert.equal(String((await once(socket, 'data'))[0]), 'S')
  const secured = tls.connect({ socket, maxVersion: 'TLSv1.2', rejectUnauthorized: false })
  await once(secured, 'secureConnect')
  secured.write(startupMessage({ user: 'agent', database: 'postgres', application_name: 'renegotiates' }))
  await once(secured, 'data')
  secured.write(frontend.query("select repeat('x', 200000) from generate_series(1, 60)"))
  await once(secured, 'data')
  const refusal = await new Promise<Error | null>((resolve) => {
    secured.on('error', resolve)
    secured.resume().renegotiate({ rejectUnauthorized: false }, resolve)
  })
  assert.ok(refusal instanceof Error, 'the renegotiation is refused')
  socket.destroy()
  await world.assertOthersGoOn()
  assert.ok((await world.recorded()).has('renegotiates'))
})

test('an agent asks to cancel something and never closes the connection', async () => {
  await using world = await startFailureWorld(database.url)
  const socket = connect({ port: world.port, host: '127.0.0.1', allowHalfOpen: true })
  socket.resume().write(Buffer.from([0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 0, 1, 0, 0, 0, 1]))
  const cutOff = once(socket, 'error', { signal: AbortSignal.timeout(120_000) })
  const talk = setInterval(() => socket.write('x'), 100)
  await cutOff.finally(() => clearInterval(talk))
  socket.destroy()
  await world.assertOthersGoOn()
})

test('connections come without number and say nothing', async () => {
  await using world = await startFailureWorld(database.url, ['--connections-max', '2'])
  const sockets = Array.from({ length: 150 }, () => connect(world.port, '127.0.0.1').on('error', () => undefined))
  const closed = new Set<Socket>()
  for (const socket of sockets) socket.resume().once('close', () => closed.add(socket))
  while (closed.size < 49) await new Promise((resolve) => setTimeout(resolve, 20))
  for (const socket of sockets) socket.destroy()
  while (closed.size < sockets.length) await new Promise((resolve) => setTimeout(resolve, 20))
  await world.assertOthersGoOn()
})

test('an agent does not read while the proxy stops', async () => {
  await using world = await startFailureWorld(database.url, ['--drain-milliseconds', '100'])
  const client = await connectRemembering(world.port, 'deaf')
  client.send(query("select repeat('r', 100000) from generate_series(1, 1000)"))
  await untilReceived(client, 250_000)
  client.socket.pause()
  const recorded = await world.recorded()
  client.socket.destroy()
  assert.equal(recorded.get('deaf')!.closeReason, 'shutdown')
})

test('an agent disappears in mid-row', async () => {
  await using world = await startFailureWorld(database.url)
  const client = await connectRemembering(world.port, 'vanishing')
  client.send(query("select repeat('r', 100000) from generate_series(1, 300)"))
  await untilReceived(client, 250_000)
  client.socket.destroy()
  await client.ended
  await world.assertOthersGoOn()
  const conversation = (await world.recorded()).get('vanishing')!
  const received = client.received()
  assert.ok(conversation.backend.subarray(0, received.length).equals(received), 'every byte that it got is recorded')
  assert.equal(conversation.closeReason, 'client-gone')
  assert.equal(conversation.statements.length, 1)
})

test('more agents connect than --connections-max allows', async () => {
  await using world = await startFailureWorld(database.url, ['--connections-max', '2'])
  const second = await connectRemembering(world.port, 'second')
  await assert.rejects(connectRemembering(world.port, 'third'), (error: unknown) => {
    assert.ok(error instanceof ConnectionEnded)
    assert.deepEqual([error.fields?.get('S'), error.fields?.get('C')], ['FATAL', '53300'])
    return true
  })
  await second.end()
  await world.assertOthersGoOn()
  assert.deepEqual([...(await world.recorded()).keys()].sort(), ['bystander', 'fresh-1', 'second'])
})

test('an agent gives a wrong token', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'steno-token-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  await writeFile(join(folder, 'token'), 'the right token')
  const { startProxyProcess } = await import('../support/proxy.ts')
  const { default: pg } = await import('pg')
  await using proxy = await startProxyProcess({ upstream: database.url, arguments: ['--agent-token-file', join(folder, 'token')] })
  const wrong = new pg.Client({ connectionString: proxy.url({ password: 'another token' }) })
  await assert.rejects(wrong.connect(), { code: '28P01' })
  const right = new pg.Client({ connectionString: proxy.url({ password: 'the right token' }) })
  await right.connect()
  assert.deepEqual((await right.query('select 1 as one')).rows, [{ one: 1 }])
  await right.end()
})

test('an agent asks for a database that is not open to it', async () => {
  await using world = await startFailureWorld(database.url)
  const fields = await sendRaw(world.port, startup({ user: 'agent', database: 'template1' }))
  assert.equal(fields?.get('C'), '3D000')
  assert.match(fields.get('H')!, /--databases/)
  await world.assertOthersGoOn()
  assert.deepEqual([...(await world.recorded()).keys()], ['bystander', 'fresh-1'])
})
