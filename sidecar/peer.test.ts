// Goal: both kinds of peer keep one contract over real sockets: every byte arrives once and in order, nothing is let go of early, and
// whoever does not read is felt. Method: each kind between a real client and a real server on loopback, plain and with TLS.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import tls from 'node:tls'
import { collect, until } from '../base/test-sockets.ts'
import { writeCertificates, type CertificateFiles } from '../tools/certificates.ts'
import { handleOf } from '../base/stream-handle.ts'
import { HandlePeer } from './handle-peer.ts'
import { openPeer, type OnBytes, type Peer } from './peer.ts'
import { StreamPeer } from './stream-peer.ts'

const kinds = {
  handle: (socket: net.Socket, onBytes: OnBytes) => HandlePeer.open(socket, handleOf(socket)!, onBytes),
  stream: (socket: net.Socket, onBytes: OnBytes) => StreamPeer.open(socket, onBytes),
} as const
/** How many layers of TLS; two are a database's own within a tunnel's. */
const transports = { plain: 0, tls: 1, 'TLS within TLS': 2 } as const
const largeBytes = 8 * 1024 * 1024

let folder: string
let certificates: CertificateFiles
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'steno-peer-'))
  certificates = await writeCertificates(folder, { user: 'nobody' })
})
after(() => rm(folder, { recursive: true, force: true }))

/** A peer over one end of a connection, and the socket at the other end. */
async function connected(t: TestContext, kind: keyof typeof kinds, transport: keyof typeof transports) {
  const context = { cert: readFileSync(certificates.server), key: readFileSync(certificates.serverKey) }
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  const accepting = once(server, 'connection') as Promise<[net.Socket]>
  const raw = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  const [accepted] = await accepting
  let near: net.Socket = accepted
  let far: net.Socket = raw
  const layers: net.Socket[] = []
  for (let layer = 0; layer < transports[transport]; layer++) {
    near = new tls.TLSSocket(near, { isServer: true, ...context })
    far = tls.connect({ socket: far, rejectUnauthorized: false })
    layers.push(near, far)
    await Promise.all([once(near, 'secure'), once(far, 'secureConnect')])
  }
  t.after(() => {
    for (const socket of [...layers.toReversed(), accepted, raw]) socket.destroy()
    server.close()
  })
  for (const socket of [near, far, ...layers]) socket.on('error', () => undefined)
  const received: Buffer[] = []
  const { peer, leftover } = kinds[kind](near, (bytes) => received.push(Buffer.from(bytes)))
  return { peer, near, far, received, leftover, text: () => Buffer.concat(received).toString('latin1') }
}

/** Forwards all of `bytes` in pieces as a turn does: out of buffers that are used again once they are let go of. */
async function forwardReusing(peer: Peer, bytes: Buffer, pieceBytes: number): Promise<void> {
  let goOn: () => void = () => undefined
  peer.onDrain = () => goOn()
  const buffers: { readonly memory: Buffer; mark: number | null }[] = []
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    const piece = bytes.subarray(at, at + pieceBytes)
    let buffer = buffers.find(({ mark }) => mark === null || peer.hasLetGo(mark))
    if (buffer === undefined) buffers.push((buffer = { memory: Buffer.alloc(pieceBytes), mark: null }))
    piece.copy(buffer.memory)
    const drained = new Promise<void>((resolve) => (goOn = resolve))
    const mayGoOn = peer.forward(new Uint8Array(buffer.memory.buffer, buffer.memory.byteOffset, piece.length))
    buffer.mark = peer.mark()
    if (!mayGoOn) await drained
  }
}

for (const kind of Object.keys(kinds) as (keyof typeof kinds)[]) {
  for (const transport of Object.keys(transports) as (keyof typeof transports)[]) {
    suite(`a ${kind} peer, ${transport}`, { timeout: 120_000 }, () => {
      test('reads nothing before it is started, and then everything in order', async (t) => {
        const { peer, far, received, text } = await connected(t, kind, transport)
        far.write('first ')
        await sleep(30)
        assert.equal(received.length, 0)
        peer.start()
        far.write('second')
        await until(() => text().length === 12)
        assert.equal(text(), 'first second')
      })

      test('passes any amount both ways, out of buffers that are used again as soon as they are let go of', async (t) => {
        const { peer, far, received } = await connected(t, kind, transport)
        const [out, back] = [randomBytes(largeBytes), randomBytes(largeBytes)]
        const arrived = collect(far)
        peer.start()
        const writing = forwardReusing(peer, out, 50_000)
        far.write(back)
        await writing
        await until(() => arrived.bytes().length === out.length && received.reduce((sum, { length }) => sum + length, 0) === back.length)
        assert.ok(arrived.bytes().equals(out))
        assert.ok(Buffer.concat(received).equals(back))
      })

      test('says no when the other end does not read, holds its buffers meanwhile, and calls when they have gone', async (t) => {
        const { peer, far } = await connected(t, kind, transport)
        let drains = 0
        peer.onDrain = () => drains++
        const piece = Buffer.alloc(64 * 1024, 'x')
        let sent = 0
        far.pause()
        do sent++
        while (peer.forward(piece) && sent < 1_000)
        // A TLS socket takes one piece at a time even when the kernel has room: only what stays is felt.
        for (let quiet = 0; quiet < 5;) {
          await sleep(20)
          if (drains === 0) {
            quiet++
            continue
          }
          drains = 0
          quiet = 0
          do sent++
          while (peer.forward(piece) && sent < 1_000)
        }
        assert.ok(sent < 1_000, 'the other end does not read, and still everything was taken')
        peer.forward(piece)
        const mark = peer.mark()
        assert.notEqual(mark, null)
        assert.equal(peer.hasLetGo(mark!), false)
        const arrived = collect(far)
        far.resume()
        await until(() => drains > 0 && arrived.bytes().length === (sent + 1) * piece.length)
        assert.equal(peer.hasLetGo(mark!), true)
        assert.equal(peer.mark(), null)
      })

      test('is held back by any of several reasons until all are gone', async (t) => {
        const { peer, far, text } = await connected(t, kind, transport)
        peer.pause('spool')
        peer.start()
        peer.pause('backlog')
        far.write('held')
        await sleep(30)
        peer.resume('spool')
        await sleep(30)
        assert.equal(text(), '')
        peer.resume('backlog')
        await until(() => text() === 'held')
        peer.pause('backlog')
        await sleep(10)
        far.write(' again')
        await sleep(30)
        assert.equal(text(), 'held')
        peer.resume('backlog')
        await until(() => text() === 'held again')
      })

      test('ends behind everything that was handed over, and goes on reading', async (t) => {
        const { peer, far, text, near } = await connected(t, kind, transport)
        const arrived = collect(far)
        const ended = once(far, 'end')
        peer.start()
        const bytes = randomBytes(3 * 1024 * 1024)
        for (let at = 0; at < bytes.length; at += 100_000) peer.forward(bytes.subarray(at, at + 100_000))
        peer.end()
        peer.forward(Buffer.from('too late'))
        await ended
        assert.ok(arrived.bytes().equals(bytes))
        if (transport === 'tls') return // A TLS connection is over once one side has said so.
        far.end('answer')
        await until(() => text() === 'answer')
        if (!near.readableEnded) await once(near, 'end')
      })

      test('tells of an end and of a reset by the events of its socket, and takes what comes after without a word', async (t) => {
        for (const how of ['end', 'reset'] as const) {
          const { peer, far, near } = await connected(t, kind, transport)
          peer.start()
          const told = new Promise<void>((resolve) => near.once('end', resolve).once('close', resolve))
          const closed = new Promise<void>((resolve) => near.once('close', () => resolve()))
          if (how === 'end') far.end()
          else if (far instanceof tls.TLSSocket) far.destroy()
          else far.resetAndDestroy()
          await told
          far.destroy()
          near.destroy()
          assert.equal(peer.forward(Buffer.from('nobody')), true)
          await closed
          assert.equal(peer.closed, true)
          assert.equal(peer.forward(Buffer.from('nobody')), true)
          assert.equal(peer.mark(), null)
          peer.pause('spool')
          peer.resume('spool')
          peer.end()
        }
      })
    })
  }
}

test('what a socket had read before is given first', async (t) => {
  for (const kind of Object.keys(kinds) as (keyof typeof kinds)[]) {
    const server = net.createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const client = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1')
    const [accepted] = (await once(server, 'connection')) as [net.Socket]
    t.after(() => {
      client.destroy()
      accepted.destroy()
      server.close()
    })
    client.write('start-up rest')
    await once(accepted, 'readable')
    assert.equal((accepted.read(9) as Buffer).toString(), 'start-up ')
    accepted.removeAllListeners('readable')
    const received: Buffer[] = []
    const { peer, leftover } = kinds[kind](accepted, (bytes) => received.push(Buffer.from(bytes)))
    assert.equal(leftover.toString(), 'rest', kind)
    peer.start()
    client.write('more')
    await until(() => Buffer.concat(received).toString() === 'more')
  }
})

test('a write of the start-up that is still under way goes first', async (t) => {
  const { peer, far, near } = await connected(t, 'stream', 'tls')
  const arrived = collect(far)
  void peer
  near.write('greeting ')
  assert.ok(near.writableLength > 0, 'a TLS socket completes a write later')
  const { peer: second } = openPeer(near, () => undefined)
  second.forward(Buffer.from('answer'))
  second.end()
  await until(() => arrived.bytes().length === 15)
  assert.equal(arrived.bytes().toString(), 'greeting answer')
})

test('under this Node sockets are read and written by their handle', async (t) => {
  for (const transport of Object.keys(transports) as (keyof typeof transports)[]) {
    const { near } = await connected(t, 'stream', transport)
    assert.ok(openPeer(near, () => undefined).peer instanceof HandlePeer, transport)
  }
})
