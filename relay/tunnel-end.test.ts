// Goal: both kinds of tunnel end keep one contract over real sockets, so that a tunnel may have any two of them: every byte arrives once and in
// order, and whoever does not read is felt. Method: each kind between a real client and a real server on loopback, plain and with TLS.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { before, suite, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import tls from 'node:tls'
import { collect, until } from '../base/test-sockets.ts'
import { handleOf } from '../base/stream-handle.ts'
import { createAuthority, issueLeaf, type Issued } from '../tools/certificates.ts'
import { HandleEnd } from './handle-end.ts'
import { splice, type EndReason } from './splice.ts'
import { StreamEnd } from './stream-end.ts'
import { openTunnelEnd, type OnBytes, type TunnelEnd } from './tunnel-end.ts'

const kinds = {
  handle: (socket: net.Socket, onBytes: OnBytes) => HandleEnd.open(socket, handleOf(socket)!, onBytes),
  stream: (socket: net.Socket, onBytes: OnBytes) => StreamEnd.open(socket, onBytes),
} as const
type Kind = keyof typeof kinds
const transports = ['plain', 'tls'] as const
type Transport = (typeof transports)[number]
const largeBytes = 8 * 1024 * 1024

let leaf: Issued
before(async () => {
  leaf = await issueLeaf(await createAuthority('test'), { kind: 'server', commonName: 'relay', names: ['127.0.0.1'] })
})

/** Both ends of one connection; `near` is the relay's. */
async function connected(t: TestContext, transport: Transport): Promise<{ readonly near: net.Socket; readonly far: net.Socket }> {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const accepting = once(server, 'connection') as Promise<[net.Socket]>
  const raw = net.connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true })
  const [accepted] = await accepting
  let near: net.Socket = accepted
  let far: net.Socket = raw
  if (transport === 'tls') {
    near = new tls.TLSSocket(accepted, { isServer: true, cert: leaf.certificatePem, key: leaf.keyPem })
    far = tls.connect({ socket: raw, rejectUnauthorized: false })
    await Promise.all([once(near, 'secure'), once(far, 'secureConnect')])
  }
  near.allowHalfOpen = true
  for (const socket of [near, far]) socket.on('error', () => undefined)
  t.after(() => {
    for (const socket of [near, far, accepted, raw]) socket.destroy()
    server.close()
  })
  return { near, far }
}

/** Writes all of `bytes` out of one buffer that is used again as soon as `write` returns, as what all tunnels read into is. */
async function writeReusing(end: TunnelEnd, bytes: Buffer, pieceBytes: number): Promise<void> {
  let goOn: () => void = () => undefined
  end.onDrain = () => goOn()
  const shared = Buffer.alloc(pieceBytes)
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    const length = bytes.copy(shared, 0, at, at + pieceBytes)
    const drained = new Promise<void>((resolve) => (goOn = resolve))
    const mayGoOn = end.write(shared.subarray(0, length))
    shared.fill('!')
    if (!mayGoOn) await drained
  }
}

for (const kind of Object.keys(kinds) as Kind[])
  for (const transport of transports)
    suite(`a ${kind} end, ${transport}`, { timeout: 120_000 }, () => {
      test('reads nothing before it is resumed, and then everything in order, what was read before first', async (t) => {
        const { near, far } = await connected(t, transport)
        far.write('first ')
        near.read(0)
        await until(() => near.readableLength > 0)
        const received: Buffer[] = []
        const { end, leftover } = kinds[kind](near, (bytes) => received.push(Buffer.from(bytes)))
        const text = (): string => Buffer.concat([leftover, ...received]).toString('latin1')
        far.write('second ')
        await sleep(30)
        assert.equal(received.length, 0)
        end.resume()
        await until(() => text() === 'first second ')
        end.pause()
        await sleep(10)
        far.write('third')
        await sleep(30)
        assert.equal(text(), 'first second ')
        end.resume()
        await until(() => text() === 'first second third')
      })

      for (const pieceBytes of [100, 5_000, 64 * 1024])
        test(`has taken the bytes when a write of ${pieceBytes} returns, and passes any amount`, async (t) => {
          const { near, far } = await connected(t, transport)
          const arrived = collect(far)
          const { end } = kinds[kind](near, () => undefined)
          const bytes = randomBytes(pieceBytes < 1_000 ? 1024 * 1024 : largeBytes)
          await writeReusing(end, bytes, pieceBytes)
          end.end()
          await once(far, 'end')
          assert.ok(arrived.bytes().equals(bytes))
        })

      test('says no while the peer does not read, and calls when it may go on', async (t) => {
        const { near, far } = await connected(t, transport)
        far.pause()
        const { end } = kinds[kind](near, () => undefined)
        const sent = randomBytes(32 * 1024 * 1024)
        let isDone = false
        const writing = writeReusing(end, sent, 64 * 1024).then(() => (isDone = true))
        await sleep(200)
        assert.equal(isDone, false, 'the peer does not read, and still everything was taken')
        const arrived = collect(far)
        far.resume()
        await writing
        await until(() => arrived.bytes().length === sent.length)
        assert.ok(arrived.bytes().equals(sent))
      })

      test('what the socket was given before goes first', async (t) => {
        const { near, far } = await connected(t, transport)
        const arrived = collect(far)
        near.write('answer ')
        const { end } = kinds[kind](near, () => undefined)
        end.write(Buffer.from('and more'))
        end.end()
        end.write(Buffer.from('too late'))
        await once(far, 'end')
        assert.equal(arrived.bytes().toString(), 'answer and more')
      })

      test('takes what comes after its socket has closed without a word', async (t) => {
        const { near } = await connected(t, transport)
        const { end } = kinds[kind](near, () => undefined)
        end.resume()
        near.destroy()
        await once(near, 'close')
        assert.equal(end.write(Buffer.from('nobody')), true)
        end.pause()
        end.resume()
        end.end()
      })
    })

test('a tunnel whose two ends are of different kinds passes every byte as it was', async (t) => {
  const pod = await connected(t, 'tls')
  const database = await connected(t, 'plain')
  // A Node that lacks something of one kind of handle alone.
  const { _handle: handle } = database.near as unknown as { _handle: object }
  Object.defineProperty(handle, 'useUserBuffer', { value: undefined })
  assert.equal(handleOf(database.near), null)
  const ended = new Promise<EndReason>((resolve) => {
    splice({ pod: pod.near, database: database.near, head: Buffer.alloc(0), onEnd: resolve })
  })
  const [out, back] = [randomBytes(largeBytes), randomBytes(largeBytes)]
  const [atDatabase, atPod] = [collect(database.far), collect(pod.far)]
  pod.far.write(out)
  database.far.write(back)
  await until(() => atDatabase.bytes().length === out.length && atPod.bytes().length === back.length)
  assert.ok(atDatabase.bytes().equals(out))
  assert.ok(atPod.bytes().equals(back))
  pod.far.destroy()
  database.far.destroy()
  assert.match((await ended).kind, /_(ended|failed)$/)
})

test('under this Node tunnels are read and written by their handles', async (t) => {
  for (const transport of transports) {
    const { near } = await connected(t, transport)
    assert.ok(openTunnelEnd(near, () => undefined).end instanceof HandleEnd, transport)
  }
})
