// Goal: a thread that fails takes no count along, and what it had stored is not counted again by the next. Method: the real sealing thread over
// a spool of the test's own, ended at once in the middle of its work, and started as it is after a failure.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { loadOrCreateRecorderKey } from '../../session/recorder-key.ts'
import { encodeRecord, recordType, type RecordType } from '../../session/records.ts'
import { payloadOf, queryFrame, testIdentity, testSessionId } from '../../session/test-recording.ts'
import { createSharedCounts } from '../metrics-shared.ts'
import { storeState } from '../metrics-store.ts'
import type { SealingStart, SealingWork } from '../sealing/messages.ts'
import { createSharedSpoolPosition, spoolPosition } from '../spool/spool-position.ts'
import { createSpoolWriter, defaultSpoolLimits } from '../spool/spool-writer.ts'
import { statementCounts } from './counts.ts'

const epoch = Date.UTC(2026, 10, 21)
const answer = Buffer.from('C\0\0\0\rSELECT 1\0Z\0\0\0\x05I', 'latin1')

test('what a failed thread had counted stays, and what it had stored is not counted twice', { timeout: 120_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'steno-counts-'))
  const threads: Worker[] = []
  t.after(async () => {
    for (const thread of threads) await thread.terminate()
    rmSync(folder, { recursive: true, force: true })
  })
  const shared = createSharedSpoolPosition()
  const position = spoolPosition(shared)
  const counts = createSharedCounts({ storeProvenAt: epoch })
  const completed = (): number => statementCounts(counts.statements).ended('query', 'completed')
  const writer = createSpoolWriter({
    ...{ folder, epoch, position, limits: { ...defaultSpoolLimits, reserveBytes: 0 } },
    filePreamble: () => Buffer.alloc(0),
  })
  const append = (type: RecordType, payload: Buffer): void =>
    assert.equal(writer.append(encodeRecord({ type, flags: 0, session: 1, time: Date.now(), payload })), null)
  const say = (sql: string): void => {
    append(recordType.frontend, queryFrame(sql))
    append(recordType.backend, answer)
  }
  const start = (how: SealingStart): Worker => {
    const work: SealingWork = {
      ...{ storeUrl: pathToFileURL(join(folder, 'store')).href, spoolFolder: folder, epoch, position: shared },
      ...{ limits: { bytesMax: 1_000_000, ageMilliseconds: 50 }, stenoVersion: 'test', counts, start: how },
    }
    const thread = new Worker(new URL('../sealing/worker.ts', import.meta.url), { workerData: work })
    threads.push(thread)
    return thread
  }
  const until = async (holds: () => boolean): Promise<void> => {
    while (!holds()) await sleep(10, undefined, { signal: t.signal })
  }

  append(recordType.sessionOpen, payloadOf(testIdentity(testSessionId(epoch, 1), epoch, (await loadOrCreateRecorderKey(folder)).id)))
  for (const sql of ['select 1', 'select 2', 'select 3']) say(sql)
  const first = start({ kind: 'first' })
  await until(() => position.releasedBytes === position.writtenBytes)
  assert.equal(completed(), 3)
  assert.ok(storeState(counts.store).storedBytes() > 0)
  const storedBytes = storeState(counts.store).storedBytes()
  const gone = once(first, 'exit')
  await first.terminate()
  await gone
  assert.equal(completed(), 3, 'the thread took no count along')

  say('select 4')
  start({ kind: 'failed' })
  await until(() => position.releasedBytes === position.writtenBytes)
  assert.equal(completed(), 4)
  assert.ok(storeState(counts.store).storedBytes() > storedBytes)
  writer.close()
})
