// Goal: `append` tells the truth, whatever the file system does. Method: a real file behind a write that fails, falls short or
// takes nothing, at every write; afterwards the file holds exactly what was said to be written.
import assert from 'node:assert/strict'
import { fstatSync, mkdtempSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { listSpoolFiles } from './spool-files.ts'
import { createSharedSpoolPosition, spoolPosition } from './spool-position.ts'
import { createSpoolWriter, defaultSpoolLimits, LiveSpoolLimits, type SpoolLimits } from './spool-writer.ts'

type Disk = (descriptor: number, bytes: Buffer, offset: number, length: number, position: number) => number

function createWorld(t: TestContext, limits: Partial<SpoolLimits> | LiveSpoolLimits = {}, disk: Disk = writeSync) {
  const folder = mkdtempSync(join(tmpdir(), 'steno-spool-writer-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const position = spoolPosition(createSharedSpoolPosition())
  const writer = createSpoolWriter({
    folder,
    epoch: 1_000,
    position,
    limits: limits instanceof LiveSpoolLimits ? limits : { ...defaultSpoolLimits, reserveBytes: 0, ...limits },
    filePreamble: () => Buffer.from('<'),
    write: disk as typeof writeSync,
  })
  return {
    folder,
    position,
    writer,
    /** What the spool holds as far as it is said to be written. */
    held(): string {
      const files = listSpoolFiles(folder)
      const bytes = Buffer.concat(files.map((file) => readFileSync(file.path)))
      return bytes.toString('latin1', 0, position.writtenBytes)
    },
  }
}

const full = (): never => {
  throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
}

test('what append accepts is in the file, behind what its file begins with', (t) => {
  const { writer, held } = createWorld(t)
  assert.equal(writer.append(Buffer.from('one')), null)
  assert.equal(writer.append(Buffer.from('two')), null)
  assert.equal(held(), '<onetwo')
})

test('a disk that takes less than it is given is asked again for the rest', (t) => {
  const { writer, held } = createWorld(t, {}, (descriptor, bytes, offset, length, at) =>
    writeSync(descriptor, bytes, offset, Math.min(2, length), at),
  )
  assert.equal(writer.append(Buffer.from('short writes')), null)
  assert.equal(held(), '<short writes')
})

for (const [name, partly] of [
  ['before anything of it arrived', 0],
  ['when part of it had arrived', 3],
] as const) {
  test(`an append that fails changes nothing and can be repeated: ${name}`, (t) => {
    for (let failing = 1; failing <= 3; failing++) {
      let writes = 0
      const { writer, held, position } = createWorld(t, {}, (descriptor, bytes, offset, length, at) => {
        if (++writes !== failing) return writeSync(descriptor, bytes, offset, length, at)
        if (partly > 0) writeSync(descriptor, bytes, offset, partly, at)
        return full()
      })
      const accepted: string[] = []
      for (const text of ['first;', 'second;', 'third;']) {
        const before = position.writtenBytes
        const refusal = writer.append(Buffer.from(text))
        if (refusal === null) accepted.push(text)
        else {
          assert.equal(refusal.code, 'ENOSPC')
          assert.equal(position.writtenBytes, before, 'nothing was written as far as anybody is told')
          assert.equal(writer.append(Buffer.from(text)), null)
          accepted.push(text)
        }
      }
      assert.equal(held().replaceAll('<', ''), accepted.join(''))
    }
  })
}

test('a disk that takes no bytes at all is a full disk, not an endless loop', (t) => {
  const { writer } = createWorld(t, { reserveBytes: 1_000 }, () => 0)
  assert.equal(writer.append(Buffer.from('x'))?.code, 'ENOSPC')
})

test('what a failed append left behind is cut off when it is given up', (t) => {
  let fails = false
  const { writer, folder } = createWorld(t, {}, (descriptor, bytes, offset, length, at) => {
    if (!fails) return writeSync(descriptor, bytes, offset, length, at)
    writeSync(descriptor, bytes, offset, 3, at)
    return full()
  })
  writer.append(Buffer.from('kept'))
  fails = true
  assert.equal(writer.append(Buffer.from('refused'))?.code, 'ENOSPC')
  writer.cutTorn()
  assert.equal(readFileSync(listSpoolFiles(folder)[0]!.path, 'latin1'), '<kept')
})

test('a file is followed by another at its size, each begun with what it needs to be understood alone', (t) => {
  const { writer, held, folder } = createWorld(t, { fileBytesMax: 4 })
  for (const text of ['aaaa', 'bbbb', 'cccc']) assert.equal(writer.append(Buffer.from(text)), null)
  assert.equal(held(), '<aaaa<bbbb<cccc')
  assert.deepEqual(
    listSpoolFiles(folder).map(({ start }) => start),
    [0, 5, 10],
  )
})

test('more than may wait for the store is refused until the store has taken some', (t) => {
  const { writer, position } = createWorld(t, { unshippedBytesMax: 10 })
  assert.equal(writer.append(Buffer.alloc(20)), null)
  assert.equal(writer.append(Buffer.from('x'))?.code, 'SPOOL_FULL')
  position.releasedBytes = 15
  assert.equal(writer.append(Buffer.from('x')), null)
})

test('limits that change while the spool is open hold from the next append on', (t) => {
  let live = { unshippedBytesMax: 1_000, unshippedMillisecondsMax: 60_000 }
  const limits = new LiveSpoolLimits({ ...defaultSpoolLimits, fileBytesMax: 500, reserveBytes: 0 }, () => live)
  assert.deepEqual([limits.fileBytesMax, limits.reserveBytes], [500, 0])
  const { writer, position } = createWorld(t, limits)
  assert.equal(writer.append(Buffer.alloc(100)), null)
  live = { ...live, unshippedBytesMax: 50 }
  assert.equal(writer.append(Buffer.alloc(100))?.code, 'SPOOL_FULL')
  live = { unshippedBytesMax: 1_000, unshippedMillisecondsMax: 60_000 }
  position.oldestTime = Date.now() - 30_000
  assert.equal(writer.append(Buffer.alloc(100)), null)
  live = { ...live, unshippedMillisecondsMax: 20_000 }
  assert.equal(writer.append(Buffer.alloc(100))?.code, 'SPOOL_OLD')
})

test('what has waited too long for the store is refused until the store has taken it', (t) => {
  const { writer, position } = createWorld(t, { unshippedMillisecondsMax: 1_000 })
  position.oldestTime = Date.now() - 60_000
  assert.equal(writer.append(Buffer.from('x'))?.code, 'SPOOL_OLD')
  position.oldestTime = 0
  assert.equal(writer.append(Buffer.from('x')), null)
})

test('what waits is as old as it is also while nobody reads the spool', async (t) => {
  const { writer, position } = createWorld(t, { unshippedMillisecondsMax: 20 })
  assert.equal(writer.append(Buffer.from('x')), null)
  assert.ok(Date.now() - writer.oldestTime() < 60_000)
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.equal(writer.append(Buffer.from('x'))?.code, 'SPOOL_OLD')
  position.releasedBytes = position.writtenBytes
  assert.equal(writer.oldestTime(), 0)
  assert.equal(writer.append(Buffer.from('x')), null)
})

test('what an earlier process left counts against both caps until it is recovered', (t) => {
  const { writer, position } = createWorld(t, { unshippedBytesMax: 100, unshippedMillisecondsMax: 10_000 })
  position.setEarlier([
    { bytes: 60, changedAt: Date.now() },
    { bytes: 41, changedAt: Date.now() },
  ])
  assert.equal(writer.append(Buffer.from('x'))?.code, 'SPOOL_FULL')
  position.setEarlier([{ bytes: 60, changedAt: Date.now() - 20_000 }])
  assert.equal(writer.append(Buffer.from('x'))?.code, 'SPOOL_OLD')
  position.setEarlier([])
  assert.equal(writer.append(Buffer.from('x')), null)
})

test('that the folder takes bytes is proven by the reserve', (t) => {
  let isFull = true
  const { writer } = createWorld(t, { reserveBytes: 4_000 }, (...call) => (isFull ? full() : writeSync(...call)))
  assert.equal(writer.provesRoom(), false)
  isFull = false
  assert.equal(createWorld(t, { reserveBytes: 4_000 }).writer.provesRoom(), true)
})

test('the reserve makes room for the records that end sessions on a full disk, and is held again when there is room', (t) => {
  let room = 10_000
  const { writer, folder } = createWorld(t, { reserveBytes: 4_000 }, (descriptor, bytes, offset, length, at) => {
    const grown = Math.max(0, at + length - fstatSync(descriptor).size)
    if (grown > room) full()
    room -= grown
    return writeSync(descriptor, bytes, offset, length, at)
  })
  assert.equal(statSync(join(folder, 'reserve')).size, 4_000)
  assert.equal(writer.append(Buffer.alloc(5_900)), null)
  assert.equal(writer.append(Buffer.alloc(500))?.code, 'ENOSPC')
  room += 4_000 // What unlinking the reserve gives back.
  assert.equal(writer.appendFromReserve(Buffer.alloc(500)), null)
  room += 10_000
  assert.equal(writer.append(Buffer.from('works')), null)
  assert.equal(statSync(join(folder, 'reserve')).size, 4_000)
})

test('the records that end sessions are not held by the caps', (t) => {
  const { writer } = createWorld(t, { unshippedBytesMax: 10 })
  writer.append(Buffer.alloc(20))
  assert.equal(writer.appendFromReserve(Buffer.from('end')), null)
})

test('a file that the disk has no more room for is left behind, so that it can be deleted once it is stored', (t) => {
  let isFull = false
  const { writer, folder, position, held } = createWorld(t, {}, (descriptor, bytes, offset, length, at) => {
    if (!isFull) return writeSync(descriptor, bytes, offset, length, at)
    writeSync(descriptor, bytes, offset, 3, at)
    return full()
  })
  writer.append(Buffer.from('kept'))
  isFull = true
  assert.equal(writer.append(Buffer.from('refused'))?.code, 'ENOSPC')
  assert.equal(writer.append(Buffer.from('refused'))?.code, 'ENOSPC')
  isFull = false
  assert.deepEqual(
    listSpoolFiles(folder).map(({ start }) => start),
    [0, position.writtenBytes],
    'one file more, however often it is tried',
  )
  assert.equal(writer.append(Buffer.from('again')), null)
  assert.equal(held(), '<kept<again')
})
