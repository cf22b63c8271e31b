// Goal: a reader of any speed gets whole lines in order, or is told how many are missing; nothing grows and nothing waits for good.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { assertOnceWithin } from '../../base/test-durations.ts'
import { createLiveOutput, type LiveNotice } from './live-output.ts'

/** A reader that takes at most `accepts` bytes until it is told otherwise. */
function createReader(accepts: number) {
  let taken = ''
  return {
    accepts,
    lines: (): string[] => taken.split('\n').slice(0, -1),
    text: () => taken,
    write(bytes: Buffer): number {
      const count = Math.min(bytes.length, this.accepts)
      this.accepts -= count
      taken += bytes.toString('latin1', 0, count)
      return count
    },
  }
}

function createWorld({ accepts, heldBytesMax = 1_000 }: { accepts: number; heldBytesMax?: number }) {
  const reader = createReader(accepts)
  const notices: LiveNotice[] = []
  const output = createLiveOutput({
    write: (bytes) => reader.write(bytes),
    heldBytesMax,
    droppedLine: (lines) => `dropped ${lines}`,
    onNotice: (notice) => notices.push(notice),
  })
  return { reader, notices, output }
}

test('what is read in time is there whole, once and in order', async () => {
  const { reader, notices, output } = createWorld({ accepts: Infinity, heldBytesMax: 1_000_000 })
  const lines = Array.from({ length: 5_000 }, (_, number) => `line ${number}`)
  for (const line of lines) output.line(line)
  await output.end()
  assert.deepEqual(reader.lines(), lines)
  assert.deepEqual(notices, [])
})

test('an output that takes nothing costs no more than the cap, and end does not wait for it for good', async () => {
  let notices: readonly LiveNotice[] = []
  await assertOnceWithin(5_000, async () => {
    const world = createWorld({ accepts: 0 })
    notices = world.notices
    for (let number = 0; number < 100_000; number++) world.output.line('a line of some length')
    const began = performance.now()
    await world.output.room()
    await world.output.end()
    return performance.now() - began
  })
  const lost = notices.find((notice) => notice.kind === 'lost')
  // 45 lines of 22 bytes fit into the cap.
  assert.deepEqual(
    notices.map(({ kind }) => kind),
    ['dropping', 'lost'],
  )
  assert.ok(lost?.kind === 'lost' && lost.lines >= 100_000 - 1_000 / 22 - 1)
})

test('lines that were left out are counted where they would stand, and those behind them follow', async () => {
  const { reader, output } = createWorld({ accepts: 10 })
  for (let number = 0; number < 200; number++) output.line(`line ${String(number).padStart(4, '0')}`)
  reader.accepts = Infinity
  output.line('is dropped as well, since the drops are not said yet')
  await output.room()
  output.line('behind')
  await output.end()
  const shown = reader.lines()
  const marker = shown.findIndex((line) => line.startsWith('dropped '))
  assert.deepEqual(
    shown.slice(0, marker),
    Array.from({ length: marker }, (_, number) => `line ${String(number).padStart(4, '0')}`),
  )
  assert.deepEqual(shown.slice(marker), [`dropped ${201 - marker}`, 'behind'])
})

test('whatever the reader takes at a time, lines are whole, and shown and dropped add up', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(300), { maxLength: 40 }), fc.array(fc.nat(400), { maxLength: 60 }), async (accepts, lengths) => {
      const { reader, output } = createWorld({ accepts: 0 })
      for (const [index, length] of lengths.entries()) {
        output.line(`${index}:${'x'.repeat(length)}`)
        reader.accepts += accepts[index % Math.max(1, accepts.length)] ?? 0
        if (index % 3 === 0) await turn()
      }
      reader.accepts = Infinity
      await output.end()
      let next = 0
      for (const line of reader.lines()) {
        if (line.startsWith('dropped ')) next += Number(line.slice(8))
        else {
          assert.equal(line, `${next}:${'x'.repeat(lengths[next]!)}`)
          next++
        }
      }
      assert.equal(next, lengths.length)
    }),
    { numRuns: 50 },
  )
})

test('a slow reader is waited for, so that it misses nothing', async () => {
  const { reader, notices, output } = createWorld({ accepts: 0, heldBytesMax: 10_000 })
  const reading = setInterval(() => (reader.accepts = 1_000), 1)
  for (let number = 0; number < 3_000; number++) {
    output.line(`line ${number}`)
    if (number % 200 === 0) await output.room()
  }
  await output.end()
  clearInterval(reading)
  assert.equal(reader.lines().length, 3_000)
  assert.deepEqual(notices, [])
})

test('a reader that is gone is told of once, and nothing is held for it', async () => {
  const notices: LiveNotice[] = []
  const output = createLiveOutput({
    write() {
      throw new Error('EPIPE')
    },
    heldBytesMax: 1_000,
    droppedLine: String,
    onNotice: (notice) => notices.push(notice),
  })
  for (let number = 0; number < 100; number++) {
    output.line('a line')
    await turn()
  }
  assert.equal(output.isHolding, false)
  await output.end()
  assert.deepEqual(notices, [{ kind: 'gone', why: 'EPIPE' }])
})
