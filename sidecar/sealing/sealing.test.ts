// Goal: the end never says that all is stored when it is not, and takes nobody along. Method: a sealing thread that fails before it has begun, since the
// recorder's key cannot be used, and one whose store is none.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { createLog } from '../../base/log.ts'
import { createMeter } from '../meter.ts'
import { defaultSegmentLimits } from '../settings.ts'
import { createSharedSpoolPosition, spoolPosition } from '../spool/spool-position.ts'
import { createSealing } from './sealing.ts'

/** A recorder's sealing whose thread fails whenever it is started, or cannot store anything. */
function failing(t: TestContext, what: 'thread' | 'store' = 'thread') {
  const folder = mkdtempSync(join(tmpdir(), 'steno-sealing-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  if (what === 'thread') writeFileSync(join(folder, 'recorder-key.pem'), 'no key', { mode: 0o600 })
  else writeFileSync(join(folder, 'store'), 'no folder')
  const shared = createSharedSpoolPosition()
  const position = spoolPosition(shared)
  position.writtenBytes = 1
  let failures = 0
  const failed = (): void => void failures++
  const log = Object.assign(createLog({ level: 'silent' }), { error: failed, warn: failed })
  const sealing = createSealing({
    work: {
      storeUrl: pathToFileURL(join(folder, 'store')).href,
      spoolFolder: folder,
      epoch: Date.now(),
      position: shared,
      limits: defaultSegmentLimits,
      stenoVersion: 'test',
    },
    position,
    openSessions: () => 0,
    log,
    meter: createMeter({ log }),
  })
  return {
    sealing,
    async failed(): Promise<void> {
      while (failures === 0) await sleep(5, undefined, { signal: t.signal })
    },
  }
}

test('a recorder whose sealing thread never came to work has not stored everything', { timeout: 120_000 }, async (t) => {
  const { sealing, failed } = failing(t)
  sealing.wake()
  await failed()
  await sleep(50, undefined, { signal: t.signal }) // The thread is gone then, and the next is not there yet; either way it must not say yes.
  assert.equal(await sealing.stop({ waitMilliseconds: 10 }), false)
})

test('a thread that waits for traffic to pause is started all the same', { timeout: 120_000 }, async (t) => {
  const { sealing, failed } = failing(t)
  sealing.follow()
  await failed()
  await sealing.stop({ waitMilliseconds: 10 })
})

test('the end does not wait for a thread that waits for traffic: it starts one', { timeout: 120_000 }, async (t) => {
  const { sealing, failed } = failing(t)
  sealing.follow()
  assert.equal(await sealing.stop({ waitMilliseconds: 600_000, hurried: failed() }), false)
})

test(
  'a thread that is given up ends itself: ended from outside inside a call of zlib it takes the process along',
  { timeout: 120_000 },
  async (t) => {
    const { sealing, failed } = failing(t, 'store')
    const threads: number[] = []
    t.mock.method(Worker.prototype, 'terminate', function (this: Worker) {
      threads.push(this.threadId)
      return Promise.resolve(0)
    })
    sealing.wake()
    await failed()
    assert.equal(await sealing.stop({ waitMilliseconds: 10 }), false)
    assert.deepEqual(threads, [-1], 'it has exited')
  },
)
