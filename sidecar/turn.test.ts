// Goal: no peer is given a byte that the spool does not hold, whatever the spool does, and nobody is told that recording works when
// it was not tried. Method: real turns between peers with sockets of this file, over a spool that accepts or refuses on cue and notes
// the order in which things happen.
import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import type net from 'node:net'
import { test, type TestContext } from 'node:test'
import { leftOutMessages, readLeftOut, type LeftOut } from '../session/left-out.ts'
import { decodeRecords, recordFlag, recordType, type RecordType, type SessionRecord } from '../session/records.ts'
import type { Peer } from './peer.ts'
import type { SpoolRefusal, SpoolWriter } from './spool/spool-writer.ts'
import { StreamPeer } from './stream-peer.ts'
import { createTurns, type Channel, type TurnOptions } from './turn.ts'

const refusal: SpoolRefusal = { code: 'ENOSPC', message: 'no space left on device' }
const waitMilliseconds = 1_000

class TestSocket extends EventEmitter {
  readonly writable = true
  writableLength = 0
  readonly written: Buffer[] = []
  paused = false
  isSlow = false
  #happened: (what: string) => void
  readonly name: string
  constructor(name: string, happened: (what: string) => void) {
    super()
    this.name = name
    this.#happened = happened
  }
  write(bytes: Buffer): boolean {
    this.written.push(Buffer.from(bytes))
    this.#happened(`${this.name} gets ${bytes.length}`)
    return !this.isSlow
  }
  pause(): void {
    this.paused = true
  }
  resume(): void {
    this.paused = false
  }
  text(): string {
    return Buffer.concat(this.written).toString('latin1')
  }
}

function createWorld(t: TestContext, options: Partial<Pick<TurnOptions, 'onRecordFailure'>> & { readonly alone?: boolean } = {}) {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] })
  const happened: string[] = []
  const appended: Buffer[] = []
  const refused: string[] = []
  const states: string[] = []
  let unrecorded = 0
  let isFull = false
  let isHeld = false
  const note = (what: string): void => void happened.push(what)
  const agentSocket = new TestSocket('agent', note)
  const databaseSocket = new TestSocket('database', note)
  const agent = new StreamPeer(agentSocket as unknown as net.Socket)
  const database = new StreamPeer(databaseSocket as unknown as net.Socket)
  const keep = (bytes: Buffer): null => {
    appended.push(Buffer.from(bytes))
    note(`spool gets ${bytes.length}`)
    return null
  }
  const spool: SpoolWriter = {
    append: (bytes) => (isFull ? refusal : keep(bytes)),
    appendFromReserve: keep,
    cutTorn: () => note('torn bytes are cut'),
    close: () => undefined,
  }
  const turns = createTurns({
    spool,
    onRecordFailure: options.onRecordFailure ?? 'block',
    recordWaitMilliseconds: waitMilliseconds,
    holdAll(held) {
      isHeld = held
    },
    isAlone: () => options.alone ?? false,
    onStateChange: ({ kind }) => states.push(kind),
  })
  const channel = (type: RecordType, from: Peer, to: Peer): Channel => ({
    session: 1,
    type,
    from,
    to,
    refuse: (bytes) => refused.push(bytes.toString('latin1')),
    passedUnrecorded: (bytes) => void (unrecorded += bytes),
  })
  return {
    ...{ turns, happened, refused, states, agentSocket, databaseSocket },
    frontend: channel(recordType.frontend, agent, database),
    backend: channel(recordType.backend, database, agent),
    records: (): SessionRecord[] => [...decodeRecords(Buffer.concat(appended))],
    get unrecorded(): number {
      return unrecorded
    },
    get isHeld(): boolean {
      return isHeld
    },
    fill(full: boolean): void {
      isFull = full
    },
    /** Lets the retries of `milliseconds` happen. */
    wait(milliseconds: number): void {
      for (let passed = 0; passed < milliseconds; passed += 50) t.mock.timers.tick(50)
    },
  }
}

const payloads = (records: readonly SessionRecord[]): string[] =>
  records.map(({ type, payload }) => `${type}:${payload.toString('latin1')}`)

test('records are dated by the clock on the wall, also when the machine slept or the clock was set', (t) => {
  const { turns, frontend, records } = createWorld(t)
  for (const clock of [Date.UTC(2026, 10, 21), Date.UTC(2026, 10, 24), Date.UTC(2026, 10, 23)]) {
    t.mock.timers.setTime(clock)
    turns.gather(frontend, 0, Buffer.from('ask'))
    turns.commit()
    const { time } = records().at(-1)!
    assert.ok(Math.abs(time - clock) < 1_000, `${time} instead of ${clock}`)
  }
})

test('a clock that is set while traffic waits does not end the wait', (t) => {
  const world = createWorld(t)
  world.fill(true)
  world.turns.gather(world.frontend, 0, Buffer.from('ask'))
  world.turns.commit()
  t.mock.timers.setTime(3_600_000)
  world.wait(100)
  assert.ok(world.isHeld)
  assert.deepEqual(world.refused, [])
  world.fill(false)
  world.wait(100)
  assert.equal(world.databaseSocket.text(), 'ask')
})

test('of a frame that is recorded in pieces only the first says that it starts on a boundary', (t) => {
  const { turns, frontend, backend, records } = createWorld(t)
  const long = Buffer.alloc(150_000, 'x')
  turns.gather(frontend, recordFlag.resynchronised, long)
  turns.gatherAltered(backend, recordFlag.resynchronised | recordFlag.redacted, long, long)
  turns.commit()
  assert.deepEqual(
    records().map(({ type, flags }) => [type, flags]),
    [
      [recordType.frontend, recordFlag.resynchronised],
      [recordType.frontend, 0],
      [recordType.frontend, 0],
      [recordType.backend, recordFlag.resynchronised | recordFlag.redacted],
      [recordType.backend, recordFlag.redacted],
      [recordType.backend, recordFlag.redacted],
    ],
  )
})

test('what one turn gathered is in the spool, in one write, before any peer is given a byte of it', (t) => {
  const { turns, frontend, backend, happened, records, agentSocket, databaseSocket } = createWorld(t)
  turns.gather(frontend, 0, Buffer.from('ask'))
  turns.gather(backend, 0, Buffer.from('answer'))
  assert.deepEqual(happened, [])
  turns.commit()
  assert.match(happened[0]!, /^spool gets/)
  assert.deepEqual(happened.slice(1), ['database gets 3', 'agent gets 6'])
  assert.deepEqual(payloads(records()), ['2:ask', '3:answer'])
  assert.deepEqual([databaseSocket.text(), agentSocket.text()], ['ask', 'answer'])
})

test('a refused turn reaches nobody, whichever side it came from', (t) => {
  for (const side of ['frontend', 'backend'] as const) {
    const world = createWorld(t)
    world.fill(true)
    world.turns.gather(world[side], 0, Buffer.from('held'))
    world.turns.commit()
    assert.deepEqual(world.happened, [], side)
    assert.equal(world.isHeld, true)
    t.mock.timers.reset()
  }
})

test('a turn that was refused is written and passed on once there is room within the wait, and nothing is refused', (t) => {
  const world = createWorld(t)
  world.fill(true)
  world.turns.gather(world.frontend, 0, Buffer.from('one'))
  world.turns.commit()
  world.turns.gather(world.backend, 0, Buffer.from('two'))
  world.wait(500)
  world.fill(false)
  world.wait(50)
  assert.deepEqual(payloads(world.records()), ['2:one', '3:two'])
  assert.deepEqual([world.databaseSocket.text(), world.agentSocket.text()], ['one', 'two'])
  assert.deepEqual([world.refused, world.states, world.isHeld], [[], [], false])
})

test('block: when the wait is over what was held back is refused and reaches nobody, later too', (t) => {
  const world = createWorld(t)
  world.fill(true)
  world.turns.gather(world.frontend, 0, Buffer.from('insert'))
  world.turns.commit()
  world.wait(waitMilliseconds + 100)
  assert.deepEqual(world.refused, ['insert'])
  world.fill(false)
  world.turns.gather(world.frontend, 0, Buffer.from('select'))
  world.turns.commit()
  assert.deepEqual(payloads(world.records()), ['2:select'])
  assert.equal(world.databaseSocket.text(), 'select')
  assert.deepEqual(world.states, ['waiting', 'failing', 'recording'])
})

test('block: once the wait was in vain the next statement is refused at once', (t) => {
  const world = createWorld(t)
  world.fill(true)
  world.turns.gather(world.frontend, 0, Buffer.from('first'))
  world.turns.commit()
  world.wait(waitMilliseconds + 100)
  world.turns.commit() // A connection that ends commits too, with nothing gathered: that tries nothing and proves nothing.
  assert.equal(world.turns.failing(), refusal)
  world.turns.gather(world.frontend, 0, Buffer.from('second'))
  world.turns.commit()
  assert.deepEqual(world.refused, ['first', 'second'])
  assert.deepEqual(world.states, ['waiting', 'failing'])
})

test('continue: when the wait is over what was held back passes, counted, and what comes while the spool refuses does so at once', (t) => {
  const world = createWorld(t, { onRecordFailure: 'continue' })
  world.fill(true)
  world.turns.gather(world.frontend, 0, Buffer.from('insert'))
  world.turns.commit()
  assert.equal(world.databaseSocket.text(), '')
  world.wait(waitMilliseconds + 100)
  assert.equal(world.databaseSocket.text(), 'insert')
  assert.deepEqual([world.unrecorded, world.refused], [6, []])
  assert.equal(world.turns.recordNow(Buffer.from('gap')), false)
  assert.equal(world.turns.failing(), refusal, 'a gap that cannot be ended is no sign that recording works')
  world.fill(false)
  assert.equal(world.turns.recordNow(Buffer.from('gap')), true)
  assert.deepEqual(world.states, ['waiting', 'failing', 'recording'])
})

test('a record that ends a session reaches the spool by its reserve when nothing else does', (t) => {
  const world = createWorld(t)
  world.fill(true)
  world.turns.gather(world.frontend, 0, Buffer.from('insert'))
  world.turns.gatherNote(1, recordType.sessionClose, Buffer.from('{}'), null)
  world.turns.commit()
  world.wait(waitMilliseconds + 100)
  assert.deepEqual(payloads(world.records()), ['5:{}'])
  assert.deepEqual(world.refused, ['insert'])
  assert.ok(world.happened.indexOf('torn bytes are cut') < world.happened.findIndex((what) => what.startsWith('spool gets')))
})

test('bytes that go out once a note of steno’s own is in the spool wait for it', (t) => {
  const world = createWorld(t)
  world.fill(true)
  world.turns.gatherNote(1, recordType.sessionOpen, Buffer.from('{}'), { channel: world.backend, bytes: Buffer.from('greeting') })
  world.turns.commit()
  assert.equal(world.agentSocket.text(), '')
  world.fill(false)
  world.wait(50)
  assert.equal(world.agentSocket.text(), 'greeting')
  assert.deepEqual(payloads(world.records()), ['1:{}'])
})

test('of altered bytes the one form is recorded and the other passed on, in order with the rest', (t) => {
  const world = createWorld(t)
  world.turns.gather(world.frontend, 0, Buffer.from('a'))
  world.turns.gatherAltered(world.frontend, 1, Buffer.from("password '***'"), Buffer.from("password 'abc'"))
  world.turns.gather(world.frontend, 0, Buffer.from('b'))
  world.turns.commit()
  assert.deepEqual(payloads(world.records()), ['2:a', "2:password '***'", '2:b'])
  assert.equal(world.databaseSocket.text(), "apassword 'abc'b")
})

test('any amount read in one turn is recorded and passed on whole and in order', (t) => {
  const world = createWorld(t)
  const pieces = Array.from({ length: 40 }, (_, index) => Buffer.alloc(1 + ((index * 7919) % 100_000), index))
  for (const [index, piece] of pieces.entries()) world.turns.gather(index % 3 === 0 ? world.backend : world.frontend, 0, piece)
  world.turns.commit()
  for (const [type, socket, wanted] of [
    [recordType.frontend, world.databaseSocket, pieces.filter((_, index) => index % 3 !== 0)],
    [recordType.backend, world.agentSocket, pieces.filter((_, index) => index % 3 === 0)],
  ] as const) {
    const recorded = Buffer.concat(
      world
        .records()
        .filter((record) => record.type === type)
        .map(({ payload }) => payload),
    )
    assert.ok(recorded.equals(Buffer.concat(wanted)))
    assert.ok(Buffer.concat(socket.written).equals(recorded))
  }
})

test('what waits behind a refused turn keeps its order when it goes on', (t) => {
  const world = createWorld(t)
  world.fill(true)
  const pieces = Array.from({ length: 20 }, (_, index) => Buffer.alloc(50_000, index))
  for (const piece of pieces) {
    world.turns.gather(world.frontend, 0, piece)
    world.turns.readEnded()
  }
  world.turns.commit()
  assert.deepEqual(world.happened, [])
  world.fill(false)
  world.wait(100)
  assert.ok(Buffer.concat(world.databaseSocket.written).equals(Buffer.concat(pieces)))
})

test('a peer that does not drain pauses the one that fills it, and its bytes are not written over meanwhile', (t) => {
  const world = createWorld(t)
  world.agentSocket.isSlow = true
  const given: Buffer[] = []
  world.agentSocket.write = (bytes: Buffer): boolean => {
    given.push(bytes) // As a socket does that keeps what it is given until the kernel takes it.
    world.agentSocket.writableLength += bytes.length
    return false
  }
  for (let index = 0; index < 20; index++) {
    world.turns.gather(world.backend, 0, Buffer.alloc(1_000, index))
    world.turns.commit()
  }
  assert.equal(world.databaseSocket.paused, true)
  assert.deepEqual(
    given.map((bytes) => [bytes[0], bytes.at(-1)]),
    Array.from({ length: 20 }, (_, index) => [index, index]),
  )
})

test('alone, a read is committed at once; otherwise at the end of the turn of the event loop', async (t) => {
  const alone = createWorld(t, { alone: true })
  alone.turns.gather(alone.frontend, 0, Buffer.from('x'))
  alone.turns.readEnded()
  assert.equal(alone.databaseSocket.text(), 'x')
  t.mock.timers.reset()
  const among = createWorld(t)
  among.turns.gather(among.frontend, 0, Buffer.from('x'))
  among.turns.readEnded()
  assert.equal(among.databaseSocket.text(), '')
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(among.databaseSocket.text(), 'x')
})

test('who waits for a note hears of it once it is in the spool, not before, and also when there was no bringing it there', (t) => {
  const world = createWorld(t)
  const told: string[] = []
  world.fill(true)
  world.turns.gatherNote(1, recordType.sessionClose, Buffer.from('{}'), null, () => told.push(`after ${world.records().length} records`))
  world.turns.commit()
  assert.equal(told.length, 0)
  world.fill(false)
  world.wait(50)
  assert.deepEqual(told.slice(), ['after 1 records'])
  world.fill(true)
  world.turns.gatherNote(2, recordType.sessionClose, Buffer.from('{}'), null, () => told.push('given up'))
  world.turns.commit()
  world.wait(waitMilliseconds + 100)
  assert.deepEqual(told, ['after 1 records', 'given up'])
})

const { DataRow } = leftOutMessages
const leftOutIn = (records: readonly SessionRecord[]): LeftOut[] =>
  records.filter(({ type }) => type === recordType.leftOut).map(({ payload }) => readLeftOut(payload))

test('what is left out goes on in its place when the spool has its size, and never reaches the spool', (t) => {
  const { turns, happened, backend, agentSocket, records } = createWorld(t)
  turns.gather(backend, 0, Buffer.from('head '))
  turns.gatherLeftOut(backend, DataRow, 1, Buffer.from('row one '))
  turns.gatherLeftOut(backend, DataRow, 0, Buffer.from('row '))
  turns.gatherLeftOut(backend, DataRow, 1, Buffer.from('two '))
  turns.gather(backend, 0, Buffer.from('tail'))
  assert.deepEqual(happened, [])
  turns.commit()
  assert.match(happened.at(0) ?? '', /^spool gets/)
  assert.equal(agentSocket.text(), 'head row one row two tail')
  assert.deepEqual(leftOutIn(records()), [{ type: DataRow, messages: 2, bytes: 16 }])
  assert.deepEqual(
    records().map(({ type, payload }) => (type === recordType.leftOut ? 'left out' : payload.toString())),
    ['head ', 'left out', 'tail'],
  )
})

test('content larger than a turn goes on in order, each part behind a record of it', (t) => {
  const { turns, happened, backend, agentSocket, records } = createWorld(t)
  const content = Buffer.alloc(3_000_000)
  for (let at = 0; at < content.length; at += 4) content.writeUInt32LE(at, at)
  turns.gatherLeftOut(backend, DataRow, 1, content)
  turns.commit()
  assert.ok(Buffer.concat(agentSocket.written).equals(content))
  assert.ok(happened[0]!.startsWith('spool gets'))
  const parts = leftOutIn(records())
  assert.equal(
    parts.reduce((sum, { bytes }) => sum + bytes, 0),
    content.length,
  )
  assert.deepEqual(
    parts.map(({ messages }) => messages).filter((messages) => messages > 0),
    [1],
  )
})

test('a peer that does not drain keeps its left-out bytes as they were while others are gathered', (t) => {
  const { turns, backend, agentSocket } = createWorld(t)
  agentSocket.isSlow = true
  const lent: Uint8Array[] = []
  agentSocket.write = (bytes: Buffer): boolean => {
    lent.push(bytes)
    agentSocket.writableLength += bytes.length
    return false
  }
  for (const letter of 'abc') {
    turns.gatherLeftOut(backend, DataRow, 1, Buffer.from(letter.repeat(1_000)))
    turns.commit()
  }
  assert.equal(
    Buffer.concat(lent).toString('latin1'),
    'abc'.replace(/./g, (letter) => letter.repeat(1_000)),
  )
})

for (const onRecordFailure of ['block', 'continue'] as const) {
  test(`what is left out is ${onRecordFailure === 'block' ? 'not forwarded' : 'counted as passed'} when the spool stays full (${onRecordFailure})`, (t) => {
    const world = createWorld(t, { onRecordFailure })
    world.fill(true)
    world.turns.gatherLeftOut(world.backend, DataRow, 1, Buffer.from('a row'))
    world.turns.commit()
    assert.equal(world.agentSocket.text(), '')
    world.wait(waitMilliseconds)
    assert.equal(world.agentSocket.text(), onRecordFailure === 'block' ? '' : 'a row')
    assert.deepEqual(world.refused, onRecordFailure === 'block' ? ['a row'] : [])
    assert.equal(world.unrecorded, onRecordFailure === 'block' ? 0 : 5)
  })
}
