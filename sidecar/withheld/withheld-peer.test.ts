// Goal: an agent is given what the store has, all of it, in order, and nothing else; and what is kept for it is bounded. Method: random
// messages in random pieces and random progress of the store, before a peer of this file that notes what it is given and fills up at times.
import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import type net from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { encodeErrorResponse, encodeMessage } from '../../postgres/startup-messages.ts'
import type { Peer } from '../peer.ts'
import { WithheldPeer, withheldBytesMax, type Withheld } from './withheld-peer.ts'

const error = encodeErrorResponse({ severity: 'FATAL', code: '58030', message: 'withheld' })

function createWorld({ bytesMax = Infinity }: { readonly bytesMax?: number } = {}) {
  const given: Buffer[] = []
  let written = 0
  let ended = false
  let closed = false
  let isSlow = false
  let drains = 0
  let passedBytes = 0
  const waits = new Set<WithheldPeer>()
  const socket = new EventEmitter() as unknown as net.Socket
  const inner: Peer = {
    socket,
    get closed() {
      return closed
    },
    onDrain: () => undefined,
    forward(bytes) {
      given.push(Buffer.from(bytes))
      return !isSlow
    },
    pass: () => assert.fail('nothing goes past what is withheld'),
    mark: () => null,
    hasLetGo: () => true,
    start: () => undefined,
    pause: () => undefined,
    resume: () => undefined,
    end: () => void (ended = true),
  }
  const shared: Withheld = {
    ...{ bytes: 0, bytesMax, isPassing: false },
    writtenBytes: () => written,
    waits: (one) => void waits.add(one),
    passed: (_one, bytes) => void (passedBytes += bytes),
    gone: (one) => void waits.delete(one),
  }
  const peer = new WithheldPeer(inner, shared)
  peer.onDrain = () => void drains++
  return {
    ...{ peer, shared, inner, waits },
    /** Another connection to the same recorder. */
    another: () => new WithheldPeer({ ...inner, socket: new EventEmitter() as unknown as net.Socket }, shared),
    /** Writes `bytes` to the spool with a header, as a turn does, and hands them over; gives the position behind them. */
    forward(bytes: Buffer, to = peer): { readonly until: number; readonly hasRoom: boolean } {
      written += 24 + bytes.length
      return { until: written, hasRoom: to.forward(bytes) }
    },
    given: (): Buffer => Buffer.concat(given),
    slow(slow: boolean): void {
      isSlow = slow
      if (!slow) inner.onDrain()
    },
    close(): void {
      closed = true
      socket.emit('close')
    },
    get ended(): boolean {
      return ended
    },
    get drains(): number {
      return drains
    },
    get passedBytes(): number {
      return passedBytes
    },
  }
}

/** The lengths of the whole messages at the front, together. */
function wholeBytes(bytes: Buffer): number {
  let at = 0
  while (bytes.length - at >= 5 && at + 1 + bytes.readUInt32BE(at + 1) <= bytes.length) at += 1 + bytes.readUInt32BE(at + 1)
  return at
}

const row = (bytes: number): Buffer => encodeMessage('D', Buffer.alloc(bytes, 'r'))

test('an agent is given exactly the whole messages that the store has, whatever the pieces and the progress', () => {
  const step = fc.record({ cut: fc.double({ min: 0, max: 1, noNaN: true }), stores: fc.double({ min: 0, max: 1, noNaN: true }) })
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 3_000 }), { minLength: 1 }), fc.array(step), (lengths, steps) => {
      const world = createWorld()
      const all = Buffer.concat(lengths.map(row))
      const ends: { readonly until: number; readonly bytes: number }[] = []
      let sent = 0
      let stored = 0
      const send = (bytes: number): void => {
        if (bytes === 0) return
        const { until } = world.forward(all.subarray(sent, sent + bytes))
        sent += bytes
        ends.push({ until, bytes: sent })
      }
      for (const { cut, stores } of steps) {
        send(Math.floor((all.length - sent) * cut))
        stored = Math.max(stored, Math.floor((ends.at(-1)?.until ?? 0) * stores))
        world.peer.storedTo(stored)
        const storedBytes = ends.findLast(({ until }) => until <= stored)?.bytes ?? 0
        assert.equal(world.given().length, wholeBytes(all.subarray(0, storedBytes)))
      }
      send(all.length - sent)
      world.peer.storedTo(Infinity)
      assert.ok(world.given().equals(all))
      assert.equal(world.shared.bytes, 0)
    }),
  )
})

test('a byte that the store lacks holds back the whole piece', () => {
  const world = createWorld()
  const { until } = world.forward(row(10))
  world.peer.storedTo(until - 1)
  assert.equal(world.given().length, 0)
  world.peer.storedTo(until)
  assert.ok(world.given().equals(row(10)))
})

test('of a message that is too long to be held its stored parts go out', () => {
  const world = createWorld()
  const long = row(300_000)
  const { until } = world.forward(long.subarray(0, 100_000))
  world.forward(long.subarray(100_000))
  world.peer.storedTo(until)
  assert.equal(world.given().length, 100_000)
  world.peer.refuse(error)
  assert.equal(world.given().length, 100_000, 'amid a message no error can stand')
  world.peer.end()
  assert.ok(world.ended)
})

test('what is refused never goes out; the error stands behind the last whole message that is stored', () => {
  const world = createWorld()
  const { until } = world.forward(Buffer.concat([row(10), row(20).subarray(0, 7)]))
  world.forward(row(20).subarray(7))
  world.peer.storedTo(until)
  world.peer.refuse(error)
  world.peer.storedTo(Infinity)
  world.forward(row(30))
  assert.ok(world.given().equals(Buffer.concat([row(10), error])))
  assert.equal(world.shared.bytes, 0)
  assert.ok(!world.ended)
  world.peer.end()
  assert.ok(world.ended)
})

test('a connection that ends does so behind what is withheld, an unfinished message included', () => {
  const world = createWorld()
  const { until } = world.forward(Buffer.concat([row(10), row(20).subarray(0, 7)]))
  world.peer.end()
  assert.ok(!world.ended)
  world.peer.storedTo(until)
  assert.equal(world.given().length, row(10).length + 7)
  assert.ok(world.ended)
})

test('an ending that is refused ends', () => {
  const world = createWorld()
  world.forward(row(10))
  world.peer.end()
  world.peer.refuse(error)
  assert.ok(world.given().equals(error))
  assert.ok(world.ended)
})

test('what is in no recording waits for what is before it and for nothing else', () => {
  const world = createWorld()
  world.peer.pass(row(1))
  assert.ok(world.given().equals(row(1)))
  const { until } = world.forward(row(2))
  world.peer.pass(row(3))
  world.forward(row(4))
  world.peer.storedTo(until)
  assert.ok(world.given().equals(Buffer.concat([row(1), row(2), row(3)])))
})

test('at most 1 MiB is held for a connection, and there is room again when half of it is stored', () => {
  const world = createWorld()
  const piece = row(64 * 1024 - 5)
  const ends: number[] = []
  for (let count = 1; ; count++) {
    const { until, hasRoom } = world.forward(piece)
    ends.push(until)
    assert.equal(hasRoom, count * piece.length < withheldBytesMax)
    if (!hasRoom) break
  }
  assert.ok(world.shared.bytes <= withheldBytesMax + piece.length)
  world.peer.storedTo(ends[0]!)
  assert.equal(world.drains, 0)
  world.peer.storedTo(ends[Math.ceil(ends.length / 2)]!)
  assert.equal(world.drains, 1)
})

test('an agent that does not take what is stored is not given more, and nothing more is read for it', () => {
  const world = createWorld()
  world.slow(true)
  const ends = Array.from({ length: 8 }, () => world.forward(row(100_000)).until)
  world.peer.storedTo(ends.at(-1)!)
  const given = world.given().length
  assert.ok(given > 0 && given < 200_000, `${given}`)
  assert.ok(!world.forward(row(1)).hasRoom)
  assert.equal(world.drains, 0)
  world.peer.storedTo(Infinity)
  world.slow(false)
  assert.equal(world.given().length, 8 * row(100_000).length + row(1).length)
  assert.equal(world.drains, 1)
})

test('beyond what all may hold together each waits for its own, and goes on when that is stored', () => {
  const world = createWorld({ bytesMax: 100_000 })
  const other = world.another()
  world.forward(row(200_000), other)
  const { until, hasRoom } = world.forward(row(10))
  assert.ok(!hasRoom)
  world.peer.storedTo(until)
  assert.equal(world.drains, 1, 'though the other still holds too much')
})

test('nothing is kept for an agent that has gone', () => {
  const world = createWorld()
  world.forward(row(1_000))
  assert.deepEqual([...world.waits], [world.peer])
  world.close()
  assert.equal(world.shared.bytes, 0)
  assert.equal(world.waits.size, 0)
  assert.ok(world.forward(row(1_000)).hasRoom)
  assert.equal(world.shared.bytes, 0)
})

test('what goes on unstored is counted, and keeps its place', () => {
  const world = createWorld()
  world.forward(row(10))
  world.peer.letGo()
  world.shared.isPassing = true
  world.forward(row(20))
  assert.ok(world.given().equals(Buffer.concat([row(10), row(20)])))
  assert.equal(world.passedBytes, row(10).length + row(20).length)
})
