// Goal: the store is asked when somebody waits and never otherwise; who waits too long is told, or goes on and it is stated. Method: peers of
// this file, a clock that the test moves, and a store that answers on cue.
import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import type net from 'node:net'
import { setImmediate as afterTurn } from 'node:timers/promises'
import { test, type TestContext } from 'node:test'
import { encodeMessage, encodeReadyForQuery } from '../../postgres/startup-messages.ts'
import type { Peer } from '../peer.ts'
import { createWithholding, type DeliveredUnstored } from './withholding.ts'

const waitMilliseconds = 1_000
const row = encodeMessage('D', Buffer.alloc(20, 'r'))

function createWorld(t: TestContext, { onFailure = 'block' }: { readonly onFailure?: 'block' | 'continue' } = {}) {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] })
  let clock = 0
  t.mock.method(performance, 'now', () => clock)
  let written = 0
  let asked = 0
  const states: string[] = []
  const withholding = createWithholding({
    ...{ waitMilliseconds, onFailure },
    writtenBytes: () => written,
    store: () => void asked++,
    onStateChange: ({ kind }) => states.push(kind),
  })
  return {
    ...{ withholding, states },
    get asked(): number {
      return asked
    },
    get written(): number {
      return written
    },
    pass(milliseconds: number): void {
      for (let passed = 0; passed < milliseconds; passed += 100) {
        clock += 100
        t.mock.timers.tick(100)
      }
    },
    session(number: number) {
      const given: Buffer[] = []
      const told: DeliveredUnstored[] = []
      const refused: { kind: string; bytes: number }[] = []
      const socket = new EventEmitter() as unknown as net.Socket
      const inner: Peer = {
        ...{ socket, closed: false, onDrain: () => undefined, mark: () => null, hasLetGo: () => true },
        ...{ start: () => undefined, pause: () => undefined, resume: () => undefined, end: () => undefined },
        forward: (bytes) => given.push(Buffer.from(bytes)) > 0,
        pass: (bytes) => given.push(Buffer.from(bytes)) > 0,
      }
      const peer = withholding.gate(number, inner, {
        onRefused({ kind }, { bytes, refuse }) {
          refused.push({ kind, bytes })
          refuse(encodeReadyForQuery('I'))
        },
        onDeliveredUnstored: (what) => told.push(what),
      })
      return {
        ...{ peer, told, refused },
        forward(bytes = row): number {
          written += 24 + bytes.length
          peer.forward(bytes)
          return written
        },
        received: (): string => Buffer.concat(given).toString('latin1'),
        leave: () => void socket.emit('close'),
      }
    },
  }
}

const rows = (count: number): string => row.toString('latin1').repeat(count)

test('the store is asked as soon as somebody waits, again while somebody does, and not when nobody does', (t) => {
  const world = createWorld(t)
  const [one, two] = [world.session(1), world.session(2)]
  world.pass(10_000)
  assert.equal(world.asked, 0)
  const first = one.forward()
  assert.equal(world.asked, 1)
  const second = two.forward()
  world.withholding.storedTo(first)
  assert.deepEqual([one.received(), two.received()], [rows(1), ''])
  const before = world.asked
  world.withholding.storedTo(first)
  assert.equal(world.asked, before + 1, 'somebody still waits')
  world.withholding.storedTo(second)
  assert.equal(two.received(), rows(1))
  const last = world.asked
  world.pass(10_000)
  assert.equal(world.asked, last)
  assert.deepEqual([one.refused, two.refused, world.states], [[], [], []])
})

test('block: who waits too long is refused, and who does not is not', (t) => {
  const world = createWorld(t)
  const [one, two] = [world.session(1), world.session(2)]
  one.forward()
  world.pass(600)
  const until = two.forward()
  world.pass(500)
  assert.deepEqual(one.refused, [{ kind: 'overdue', bytes: row.length }])
  assert.deepEqual(two.refused, [])
  world.withholding.storedTo(until)
  assert.equal(one.received(), encodeReadyForQuery('I').toString('latin1'), 'the message that says so, and no row')
  assert.equal(two.received(), rows(1))
  assert.deepEqual(world.states, ['overdue', 'storing'])
  world.pass(10_000)
  assert.deepEqual(two.refused, [])
})

test('continue: results go on until the store answers, and each session is told from when to when', async (t) => {
  const world = createWorld(t, { onFailure: 'continue' })
  const [one, two, three] = [world.session(1), world.session(2), world.session(3)]
  one.forward()
  world.pass(1_100)
  assert.equal(one.received(), rows(1))
  two.forward()
  assert.equal(two.received(), rows(1), 'the wait was over already')
  await afterTurn()
  assert.deepEqual([one.told[0]?.to, two.told[0]?.to, three.told.length], [null, null, 0])
  two.forward()
  world.withholding.storedTo(world.written)
  assert.deepEqual([one.told.length, two.told.length, three.told.length], [2, 2, 0])
  assert.equal(two.told[1]!.bytes, 2 * row.length)
  assert.ok(two.told[1]!.to! >= two.told[1]!.from)
  one.forward()
  assert.equal(one.received(), rows(1), 'withheld again')
})

test('continue: a session that ends while results go on says until when', async (t) => {
  const world = createWorld(t, { onFailure: 'continue' })
  const one = world.session(1)
  one.forward()
  world.pass(1_100)
  await afterTurn()
  one.leave()
  assert.deepEqual(
    one.told.map(({ to }) => to === null),
    [true, false],
  )
})

test('block: a session that can never be stored is refused at once, whatever position is named afterwards', (t) => {
  const world = createWorld(t)
  const [one, two] = [world.session(1), world.session(2)]
  one.forward()
  const until = two.forward()
  world.withholding.neverStored(1)
  world.withholding.storedTo(until)
  assert.deepEqual(one.refused, [{ kind: 'unstorable', bytes: row.length }])
  assert.ok(!one.received().includes(row.toString('latin1')))
  assert.equal(two.received(), rows(1))
})

test('continue: a session that can never be stored goes on, and says so to its end', async (t) => {
  const world = createWorld(t, { onFailure: 'continue' })
  const one = world.session(1)
  one.forward()
  world.withholding.neverStored(1)
  assert.equal(one.received(), rows(1))
  world.withholding.storedTo(one.forward())
  await afterTurn()
  assert.equal(one.received(), rows(2))
  one.leave()
  assert.equal(one.told.at(-1)!.bytes, 2 * row.length)
})

test('when records of the spool are lost and nobody knows whose, everybody who waits is refused, and nobody else', (t) => {
  const world = createWorld(t)
  const [one, two] = [world.session(1), world.session(2)]
  world.withholding.storedTo(one.forward())
  two.forward()
  world.withholding.neverStored(null)
  assert.deepEqual([one.refused, two.refused], [[], [{ kind: 'unstorable', bytes: row.length }]])
})
