// Goal: what an agent sent reaches the database as it was sent, whatever happens to the spool meanwhile. Method: a session over real
// sockets whose spool refuses on cue.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { test, type TestContext } from 'node:test'
import { pino } from 'pino'
import { encodeMessage, encodeReadyForQuery } from '../postgres/startup-messages.ts'
import type { PolicyChange, RecordingLevel } from '../session/identity.ts'
import { leftOutMessages, readLeftOut } from '../session/left-out.ts'
import { decodeRecords, recordType, type SessionRecord } from '../session/records.ts'
import { testIdentity, testSessionId } from '../session/test-recording.ts'
import { createMeter } from './meter.ts'
import { StreamPeer } from './stream-peer.ts'
import { createHeldStatements } from './held-statements.ts'
import { startRecordedSession, type RecordedSession } from './recorded-session.ts'
import type { SpoolRefusal, SpoolWriter } from './spool/spool-writer.ts'
import { createTurns } from './turn.ts'

const refusal: SpoolRefusal = { code: 'ENOSPC', message: 'no space left on device' }
const opened = Date.UTC(2026, 10, 21)

/** Two ends of one TCP connection; the first is the proxy's. */
async function socketPair(t: TestContext): Promise<[Socket, Socket]> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const far = connect((server.address() as AddressInfo).port, '127.0.0.1').on('error', () => undefined)
  const [near] = (await once(server, 'connection')) as [Socket]
  server.close()
  t.after(() => far.destroy())
  return [near, far]
}

async function createWorld(t: TestContext, recordWaitMilliseconds: number, level: RecordingLevel = 'results') {
  let isFull = false
  let session: RecordedSession | null = null
  const states: string[] = []
  const records: SessionRecord[] = []
  const answer = (bytes: Buffer): SpoolRefusal | null => {
    if (isFull) return refusal
    records.push(...decodeRecords(Buffer.from(bytes)))
    return null
  }
  const spool: SpoolWriter = { append: answer, appendFromReserve: answer, cutTorn: () => undefined, close: () => undefined }
  const turns = createTurns({
    spool,
    onRecordFailure: 'continue',
    recordWaitMilliseconds,
    holdAll: (held) => session?.hold(held),
    isAlone: () => true,
    onStateChange: ({ kind }) => states.push(kind),
  })
  const [agentNear, agent] = await socketPair(t)
  const [databaseNear, database] = await socketPair(t)
  const nothing = Buffer.alloc(0)
  startRecordedSession({
    identity: { ...testIdentity(testSessionId(opened, 1), opened, 'a'.repeat(32)), level },
    number: 1,
    turns,
    heldStatements: createHeldStatements(),
    withholding: null,
    meter: createMeter({ log: pino({ level: 'silent' }) }),
    agent: { socket: agentNear, leftover: nothing },
    upstream: { socket: databaseNear, leftover: nothing },
    greeting: encodeReadyForQuery('I'),
    onOpen: (made) => (session = made),
    onClosed: () => undefined,
  })
  await once(agent, 'data')
  t.after(() => {
    isFull = false
    session?.cut()
  })
  return {
    ...{ agent, database, states, records },
    judgeBy: (hash: string) => session!.judgeBy({ policy: { name: 'shop/orders', hash }, generation: '1' }),
    end: () => session!.end('shutdown', { code: '57P01', message: 'stopping', hint: '' }),
    empty(): void {
      isFull = false
    },
    /** Makes the spool refuse, and lets somebody else's traffic meet that. */
    fill(): void {
      isFull = true
      const nobody = new StreamPeer(new PassThrough() as unknown as Socket)
      const channel = {
        session: 2,
        type: recordType.frontend,
        from: nobody,
        to: nobody,
        refuse: () => undefined,
        passedUnrecorded: () => undefined,
      }
      turns.gather(channel, 0, Buffer.from('x'))
      turns.commit()
    },
  }
}

test('a gap that begins amid a long statement does not let what follows overtake the rest of it', async (t) => {
  const { agent, database, states, fill } = await createWorld(t, 60)
  fill()
  while (states.at(-1) !== 'failing') await new Promise((resolve) => setTimeout(resolve, 10))
  const sent = Buffer.concat([
    encodeMessage('P', Buffer.from(`\0select '${'x'.repeat(300_000)}'\0\0\0`)),
    encodeMessage('B', Buffer.alloc(8)),
    encodeMessage('E', Buffer.alloc(5)),
    encodeMessage('S'),
  ])
  agent.write(sent)
  const arrived: Buffer[] = []
  for (let bytes = 0; bytes < sent.length; bytes += arrived.at(-1)!.length) arrived.push((await once(database, 'data'))[0] as Buffer)
  assert.ok(Buffer.concat(arrived).equals(sent))
})

test('while traffic waits for the spool, a database is not read although its agent is gone', async (t) => {
  const { agent, database, fill } = await createWorld(t, 60_000)
  agent.pause()
  const row = encodeMessage('D', Buffer.alloc(1_000_000))
  for (let count = 0; count < 64; count++) database.write(row)
  // Until the agent's side is full and the database is held back.
  for (
    let before = -1;
    before !== database.bytesWritten - database.writableLength;
    await new Promise((resolve) => setTimeout(resolve, 100))
  )
    before = database.bytesWritten - database.writableLength
  fill()
  const waiting = database.writableLength
  agent.resetAndDestroy()
  await new Promise((resolve) => setTimeout(resolve, 300))
  assert.ok(waiting > 10_000_000)
  assert.ok(database.writableLength > waiting - 10_000_000, `${waiting - database.writableLength} bytes were read`)
})

test('what was gathered while the spool refuses goes out before its session ends', async (t) => {
  const { agent, database, states, fill, empty, end } = await createWorld(t, 60_000)
  const arrived: Buffer[] = []
  agent.on('data', (bytes: Buffer) => arrived.push(bytes))
  fill()
  end()
  const ended = once(agent, 'end')
  empty()
  await ended
  assert.match(Buffer.concat(arrived).toString('latin1'), /57P01/, 'the agent is told why')
  assert.deepEqual(states, [])
  database.destroy()
})

const changesIn = (records: readonly SessionRecord[]): (readonly [string | undefined, string])[] =>
  records
    .filter(({ type }) => type === recordType.policyChange)
    .map(({ payload }) => JSON.parse(payload.toString()) as PolicyChange)
    .map(({ before, policy }) => [before?.hash, policy.hash] as const)

test('a change of policy stands in the recording where it came, once', async (t) => {
  const { agent, database, records, judgeBy } = await createWorld(t, 60)
  const say = async (sql: string): Promise<void> => {
    agent.write(encodeMessage('Q', Buffer.from(`${sql}\0`)))
    await once(database, 'data')
    database.write(encodeReadyForQuery('I'))
    await once(agent, 'data')
  }
  await say('select 1')
  judgeBy('a')
  judgeBy('a')
  await say('select 2')
  judgeBy('b')
  await say('select 3')
  assert.deepEqual(changesIn(records), [
    [undefined, 'a'],
    ['a', 'b'],
  ])
  const { sessionOpen, frontend, backend, policyChange } = recordType
  assert.deepEqual(
    records.map(({ type }) => type),
    [sessionOpen, frontend, backend, policyChange, frontend, backend, policyChange, frontend, backend],
  )
})

test('changes that come while a gap is open stand behind it as one', async (t) => {
  const { agent, database, records, states, judgeBy, fill, empty } = await createWorld(t, 60)
  fill()
  while (states.at(-1) !== 'failing') await new Promise((resolve) => setTimeout(resolve, 10))
  agent.write(encodeMessage('Q', Buffer.from('select 1\0')))
  await once(database, 'data')
  judgeBy('a')
  judgeBy('b')
  assert.deepEqual(changesIn(records), [])
  database.write(encodeReadyForQuery('I'))
  await once(agent, 'data')
  empty()
  agent.write(encodeMessage('Q', Buffer.from('select 2\0')))
  await once(database, 'data')
  const { sessionOpen, gap, policyChange, frontend } = recordType
  assert.deepEqual(
    records.filter(({ session }) => session === 1).map(({ type }) => type),
    [sessionOpen, gap, policyChange, frontend],
  )
  assert.deepEqual(changesIn(records), [[undefined, 'b']])
})

test('at level statements the agent gets its rows whole, and the spool has their number and not one byte of them', async (t) => {
  const { agent, database, records } = await createWorld(t, 60_000, 'statements')
  const secret = 'sesame'
  const row = encodeMessage('D', Buffer.from(secret.repeat(1_000)))
  const head = encodeMessage('T', Buffer.alloc(2))
  const tail = Buffer.concat([encodeMessage('C', Buffer.from('SELECT 500\0')), encodeReadyForQuery('I')])
  const answer = Buffer.concat([head, ...Array.from({ length: 500 }, () => row), tail])
  const arrived: Buffer[] = []
  agent.on('data', (bytes: Buffer) => arrived.push(bytes))
  for (let at = 0; at < answer.length; at += 70_001) {
    database.write(answer.subarray(at, at + 70_001))
    await once(agent, 'data')
  }
  while (Buffer.concat(arrived).length < answer.length) await once(agent, 'data')
  assert.ok(Buffer.concat(arrived).equals(answer))
  const backend = records.filter(({ type }) => type === recordType.backend).map(({ payload }) => payload)
  assert.ok(Buffer.concat(backend).equals(Buffer.concat([head, tail])))
  const leftOut = records.filter(({ type }) => type === recordType.leftOut).map(({ payload }) => readLeftOut(payload))
  assert.ok(leftOut.every(({ type }) => type === leftOutMessages.DataRow))
  assert.equal(
    leftOut.reduce((sum, { messages }) => sum + messages, 0),
    500,
  )
  assert.equal(
    leftOut.reduce((sum, { bytes }) => sum + bytes, 0),
    500 * row.length,
  )
  assert.equal(Buffer.concat(records.map(({ payload }) => payload)).includes(secret), false)
})

test('a gap at level statements counts the bytes of rows that passed in it', async (t) => {
  const { agent, database, records, states, fill, empty } = await createWorld(t, 60, 'statements')
  const row = encodeMessage('D', Buffer.from('sesame'.repeat(50)))
  fill()
  while (states.at(-1) !== 'failing') await new Promise((resolve) => setTimeout(resolve, 10))
  const arrived: Buffer[] = []
  agent.on('data', (bytes: Buffer) => arrived.push(bytes))
  database.write(Buffer.concat([row, row, encodeReadyForQuery('I')]))
  while (Buffer.concat(arrived).length < 2 * row.length + 6) await once(agent, 'data')
  empty()
  database.write(Buffer.concat([row, encodeReadyForQuery('I')]))
  while (Buffer.concat(arrived).length < 3 * row.length + 12) await once(agent, 'data')
  const gap = records.find(({ type }) => type === recordType.gap)
  assert.equal((JSON.parse(gap!.payload.toString()) as { backendBytes: number }).backendBytes, 2 * row.length + 6)
  const behind = records.slice(records.indexOf(gap!) + 1)
  assert.deepEqual(
    behind.map(({ type }) => type),
    [recordType.leftOut, recordType.backend],
  )
  assert.equal(readLeftOut(behind[0]!.payload).bytes, row.length)
})
