// Goal: the tally says of each session exactly what its segments will say, and forgets it only when the store has all of it. Method: records as
// the turns write them, through a spool that takes or refuses them; random interleavings against a plain count.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { encodeRecord, recordHeaderBytes, recordType } from '../session/records.ts'
import { testEpoch, testSessionId } from '../session/test-recording.ts'
import { createRecordTally } from './record-tally.ts'

function world() {
  const position = { writtenBytes: 0, releasedBytes: 0 }
  const disk = { isFull: false }
  const take = (bytes: Buffer): { code: string; message: string } | null => {
    if (disk.isFull) return { code: 'ENOSPC', message: 'full' }
    position.writtenBytes += bytes.length
    return null
  }
  const tally = createRecordTally({ position })
  const spool = tally.over({ append: take, appendFromReserve: take, cutTorn: () => {}, close: () => {} })
  const open = (number: number, statements = 0) => {
    const session = { identity: { session: testSessionId(testEpoch, number), opened: testEpoch + number }, statements }
    tally.opened(number, session)
    return session
  }
  return { position, disk, tally, spool, open }
}

const record = (session: number, type: number, bytes: number): Buffer =>
  encodeRecord({ type, flags: 0, session, time: testEpoch + 7, payload: Buffer.alloc(bytes) })

test('each session is counted by its own records, however they share a write', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.array(fc.record({ session: fc.integer({ min: 1, max: 3 }), type: fc.constantFrom(2, 3, 4), bytes: fc.nat(300) }), {
          minLength: 1,
        }),
        { maxLength: 20 },
      ),
      (writes) => {
        const { tally, spool, open } = world()
        for (const number of [1, 2, 3]) open(number)
        for (const write of writes) spool.append(Buffer.concat(write.map(({ session, type, bytes }) => record(session, type, bytes))))
        const all = writes.flat()
        for (const marked of tally.read(10).sessions) {
          const own = all.filter(({ session }) => testSessionId(testEpoch, session) === marked.session)
          const sum = (type: number | null): number =>
            own.reduce((bytes, each) => bytes + (type === null ? recordHeaderBytes + each.bytes : each.type === type ? each.bytes : 0), 0)
          const { records, bytes, frontendBytes, backendBytes } = marked
          assert.deepEqual([records, bytes, frontendBytes, backendBytes], [own.length, sum(null), sum(2), sum(3)])
        }
        assert.equal(tally.read(10).sessions.length, new Set(all.map(({ session }) => session)).size)
        assert.equal(tally.appends, writes.length)
      },
    ),
  )
})

test('what the spool refused is not claimed', () => {
  const { disk, tally, spool, open } = world()
  open(1)
  spool.append(record(1, recordType.sessionOpen, 10))
  disk.isFull = true
  spool.append(record(1, recordType.frontend, 10))
  spool.appendFromReserve(record(1, recordType.sessionClose, 10))
  assert.deepEqual(
    tally.read(10).sessions.map(({ records, closed }) => [records, closed]),
    [[1, false]],
  )
  assert.equal(tally.appends, 1)
})

test('an ended session is claimed until the store has all of it, an open one always', () => {
  const { position, tally, spool, open } = world()
  const ending = open(1, 5)
  open(2)
  spool.append(Buffer.concat([record(1, recordType.sessionOpen, 10), record(2, recordType.sessionOpen, 10)]))
  spool.append(record(1, recordType.sessionClose, 10))
  tally.ended(1)
  const claimed = (): [string, number, boolean][] => tally.read(10).sessions.map((each) => [each.session, each.statements, each.closed])
  assert.deepEqual(claimed(), [
    [testSessionId(testEpoch, 2), 0, false],
    [ending.identity.session, 5, true],
  ])
  position.releasedBytes = position.writtenBytes - 1
  assert.equal(claimed().length, 2)
  position.releasedBytes = position.writtenBytes
  assert.deepEqual(claimed(), [[testSessionId(testEpoch, 2), 0, false]])
})

test('what is too much to name is one sum, and what is not stored is named first', () => {
  const { position, tally, spool, open } = world()
  for (let number = 1; number <= 6; number++) {
    open(number)
    spool.append(record(number, recordType.sessionOpen, 10))
  }
  position.releasedBytes = position.writtenBytes
  spool.append(record(2, recordType.frontend, 10))
  spool.append(record(5, recordType.frontend, 10))
  const { sessions, rest } = tally.read(2)
  assert.deepEqual(
    sessions.map(({ session }) => session).sort(),
    [2, 5].map((number) => testSessionId(testEpoch, number)),
  )
  assert.deepEqual([rest.sessions, rest.records], [4, 4])
})

test('any number of ended sessions takes bounded memory, and none is left out of the sum', () => {
  const { position, tally, spool, open } = world()
  const count = 20_000
  for (let number = 1; number <= count; number++) {
    open(number)
    spool.append(record(number, recordType.sessionOpen, 10))
    tally.ended(number)
  }
  const { sessions, rest } = tally.read(512)
  assert.deepEqual([sessions.length, rest.sessions, rest.records], [512, count - 512, count - 512])
  position.releasedBytes = position.writtenBytes
  assert.deepEqual([tally.read(512).sessions.length, tally.read(512).rest.sessions], [0, 0])
})
