// Goal: the thread itself says that it lives, ends what has no end, and says what it cannot mend. Method: the real thread over a spool
// and a store in a folder of the test's own.
import assert from 'node:assert/strict'
import { appendFileSync, chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { segmentKey } from '../../session/object-keys.ts'
import { readSessionManifest } from '../../session/read-session.ts'
import { encodeRecord, recordType } from '../../session/records.ts'
import { openStore } from '../../session/stores/open-store.ts'
import { payloadOf, testIdentity, testSessionId } from '../../session/test-recording.ts'
import { defaultSegmentLimits } from '../settings.ts'
import { listSpoolFiles } from '../spool/spool-files.ts'
import { createSharedSpoolPosition, spoolPosition } from '../spool/spool-position.ts'
import { createSpoolWriter, defaultSpoolLimits } from '../spool/spool-writer.ts'
import type { FromSealer, SealingStart, SealingWork, ToSealer } from './messages.ts'

const epoch = Date.UTC(2026, 10, 21)

function createWorld(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'steno-sealing-thread-'))
  const workers: Worker[] = []
  t.after(async () => {
    for (const worker of workers) await worker.terminate()
    rmSync(folder, { recursive: true, force: true })
  })
  const storeFolder = join(folder, 'store')
  const storeUrl = pathToFileURL(storeFolder).href
  const position = createSharedSpoolPosition()
  return {
    storeUrl,
    written: spoolPosition(position),
    /** What is no record, behind what is spooled. */
    damage(): void {
      const bytes = Buffer.alloc(100, 'no record')
      appendFileSync(listSpoolFiles(folder)[0]!.path, bytes)
      spoolPosition(position).writtenBytes += bytes.length
    },
    /** A session that never ends. */
    openSession(): void {
      const writer = createSpoolWriter({
        folder,
        epoch,
        position: spoolPosition(position),
        limits: { ...defaultSpoolLimits, reserveBytes: 0 },
        filePreamble: () => Buffer.alloc(0),
      })
      const payload = payloadOf(testIdentity(testSessionId(epoch, 1), epoch, 'a'.repeat(32)))
      assert.equal(writer.append(encodeRecord({ type: recordType.sessionOpen, flags: 0, session: 1, time: epoch, payload })), null)
      writer.close()
    },
    /** Starts the thread; `said` waits until it says something of this kind. */
    start(start: SealingStart) {
      const work: SealingWork = {
        ...{ storeUrl, spoolFolder: folder, epoch, position, start },
        limits: defaultSegmentLimits,
        stenoVersion: 'test',
      }
      const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData: work })
      workers.push(worker)
      const said: FromSealer[] = []
      worker.on('message', (message: FromSealer) => void said.push(message))
      return {
        said,
        async until(fits: (message: FromSealer) => boolean): Promise<void> {
          while (!said.some(fits)) await sleep(10, undefined, { signal: t.signal })
        },
        /** What an agent's side does when results begin to wait. */
        store: () => worker.postMessage({ kind: 'store' } satisfies ToSealer),
        async stop(): Promise<void> {
          worker.postMessage({ kind: 'stop' } satisfies ToSealer)
          await this.until(({ kind }) => kind === 'stopped')
        },
      }
    },
    entries(): string[] {
      const root = join(storeFolder, 'ledger')
      if (!existsSync(root)) return []
      const names = readdirSync(root, { recursive: true, encoding: 'utf8' })
      return names
        .filter((name) => name.endsWith('.json'))
        .map((name) => join(root, name))
        .sort()
    },
    /** Leaves a ledger that cannot be gone on with, until what it gives is called. */
    damageLedger(): () => void {
      const last = this.entries().at(-1)!
      const bytes = readFileSync(last)
      chmodSync(last, 0o640)
      writeFileSync(last, 'damaged')
      rmSync(join(folder, 'ledger-head.json'))
      return () => writeFileSync(last, bytes)
    },
  }
}

test('a session whose end could not be written is closed when the process ends in good order', { timeout: 120_000 }, async (t) => {
  const world = createWorld(t)
  world.openSession()
  await world.start({ kind: 'first' }).stop()
  const manifest = await readSessionManifest(await openStore(world.storeUrl), testSessionId(epoch, 1))
  assert.equal(manifest?.close.reason, 'killed')
})

test('a thread that is woken long after its last ledger entry says that the recorder lives', { timeout: 120_000 }, async (t) => {
  const world = createWorld(t)
  const woken = world.start({ kind: 'woken', position: 0, lastEntryTime: Date.now() - 240_000 })
  while (world.entries().length === 0) await sleep(10, undefined, { signal: t.signal })
  await woken.stop()
  assert.match(readFileSync(world.entries()[0]!, 'utf8'), /"kind":"heartbeat","openSessions":0/)
  const soon = world.start({ kind: 'woken', position: 0, lastEntryTime: Date.now() })
  await soon.until(({ kind }) => kind === 'idle')
  assert.equal(world.entries().length, 2, 'only the heartbeat and the stop of the one before')
})

test('a ledger that cannot be gone on with is an error in the log, tried again until it can', { timeout: 120_000 }, async (t) => {
  const world = createWorld(t)
  await world.start({ kind: 'first' }).stop()
  const mend = world.damageLedger()
  const thread = world.start({ kind: 'first' })
  await thread.until((message) => message.kind === 'log' && message.level === 'error' && message.fields['code'] === 'LEDGER_HEAD_DAMAGED')
  mend()
  await thread.until(({ kind }) => kind === 'recovered')
  await thread.stop()
  assert.equal(world.entries().length, 4)
})

test('asked by those who wait, everything is stored at once and the answer says up to where', { timeout: 120_000 }, async (t) => {
  const world = createWorld(t)
  const thread = world.start({ kind: 'woken', position: 0, lastEntryTime: Date.now() })
  world.openSession()
  thread.store()
  await thread.until(({ kind }) => kind === 'stored-to')
  assert.deepEqual(
    thread.said.find(({ kind }) => kind === 'stored-to'),
    { kind: 'stored-to', position: world.written.writtenBytes },
  )
  assert.ok((await (await openStore(world.storeUrl)).head(segmentKey(testSessionId(epoch, 1), 1))) !== null)
  await thread.stop()
})

test('where records are lost those who wait are told so before a position behind them is named', { timeout: 120_000 }, async (t) => {
  const world = createWorld(t)
  world.openSession()
  world.damage()
  const thread = world.start({ kind: 'woken', position: 0, lastEntryTime: Date.now() })
  thread.store()
  await thread.until((message) => message.kind === 'stored-to' && message.position === world.written.writtenBytes)
  const kinds = thread.said.map(({ kind }) => kind)
  assert.ok(kinds.includes('unstorable') && kinds.indexOf('unstorable') < kinds.indexOf('stored-to'), kinds.join(' '))
  await thread.stop()
})

const mayRaisePriority = process.platform === 'linux' && process.getuid?.() === 0

test('a thread that is told to stop no longer waits behind everything else', { timeout: 120_000, skip: !mayRaisePriority }, async (t) => {
  const world = createWorld(t)
  await world.start({ kind: 'first' }).stop()
  const mend = world.damageLedger()
  const thread = world.start({ kind: 'first' })
  await thread.until((message) => message.kind === 'log' && message.level === 'error' && message.fields['code'] === 'LEDGER_HEAD_DAMAGED')
  // Threads of the engine's pool are the child of whichever thread wanted one first, and keep what it had then.
  const lowThreads = (): number => nicenessOfThreads().filter((value) => value === 19).length
  const before = lowThreads()
  assert.ok(before > 0)
  const stopped = thread.stop()
  while (lowThreads() >= before) await sleep(10, undefined, { signal: t.signal })
  mend()
  await stopped
})

/** Of this process's threads: field 19 of their stat, counted behind the name, which may hold anything (proc_pid_stat(5)). */
function nicenessOfThreads(): number[] {
  return readdirSync('/proc/self/task').map((thread) => {
    const stat = readFileSync(`/proc/self/task/${thread}/stat`, 'latin1')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16])
  })
}
