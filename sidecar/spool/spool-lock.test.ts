import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { once } from 'node:events'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { isSpoolLocked, lockSpool } from './spool-lock.ts'

function folderFor(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'steno-lock-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

test('a second holder is refused while the first lives, and let in when it released', async (t) => {
  const folder = folderFor(t)
  const first = await lockSpool(folder)
  await assert.rejects(lockSpool(folder), { code: 'SPOOL_IN_USE' })
  first.release()
  const second = await lockSpool(folder)
  second.release()
})

test('a lock that a killed process left is taken over', async (t) => {
  const folder = folderFor(t)
  const program = `
    const { lockSpool } = await import(${JSON.stringify(new URL('./spool-lock.ts', import.meta.url).href)})
    await lockSpool(${JSON.stringify(folder)})
    process.stdout.write('locked')
    setInterval(() => {}, 1000)`
  const holder = spawn(process.execPath, ['--input-type=module', '--eval', program], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(holder.stdout, 'data')
  await assert.rejects(lockSpool(folder), { code: 'SPOOL_IN_USE' })
  holder.kill('SIGKILL')
  await once(holder, 'exit')
  const taken = await lockSpool(folder)
  taken.release()
})

test('a folder whose name leaves no room for the lock is refused with what to do', async () => {
  await assert.rejects(lockSpool(`/tmp/${'long/'.repeat(30)}`), { code: 'SPOOL_PATH_TOO_LONG' })
})

const taker = new URL('./test-lock-taker.ts', import.meta.url)
const lockNames = (folder: string): string[] => readdirSync(folder).filter((name) => name.startsWith('lock'))

/** A lock whose holder is gone. */
async function leaveBehind(folder: string): Promise<void> {
  const holder = await lockSpool(folder)
  holder.release()
}

for (const threads of [2, 5]) {
  test(`of ${threads} that start at once behind a holder that is gone, one holds the spool and all others are refused`, async (t) => {
    const shared = new SharedArrayBuffer(4)
    const workers = Array.from({ length: threads }, () => new Worker(taker, { workerData: { shared, threads } }))
    t.after(() => Promise.all(workers.map((worker) => worker.terminate())))
    const askAll = (question: string | null): Promise<unknown[]> =>
      Promise.all(
        workers.map(async (worker) => {
          const answer = once(worker, 'message')
          worker.postMessage(question)
          return ((await answer) as unknown[])[0]
        }),
      )
    for (let round = 0; round < 150; round++) {
      // Few rounds share a folder: what takeovers leave behind is part of what the next meets.
      const folder = folderFor(t)
      if (round % 3 > 0) await leaveBehind(folder)
      for (let takeover = 0; takeover < 3; takeover++) {
        const answers = await askAll(folder)
        assert.equal(answers.filter((each) => each === 'held').length, 1, `round ${round}: ${answers.join()}`)
        assert.equal(answers.filter((each) => each === 'SPOOL_IN_USE').length, threads - 1, `round ${round}: ${answers.join()}`)
        await assert.rejects(lockSpool(folder), { code: 'SPOOL_IN_USE' })
        await askAll(null)
      }
      await leaveBehind(folder)
      assert.ok(lockNames(folder).length <= 1, lockNames(folder).join())
    }
  })
}

/** Until it no longer comes to that call, a process which stops before its `calls`th call of the file system. */
async function* stopping(t: TestContext, folder: string, how: 'die' | 'wait') {
  for (let calls = 0; ; calls++) {
    await leaveBehind(folder)
    const child = spawn(process.execPath, [fileURLToPath(taker), folder, String(calls), how], { stdio: ['pipe', 'pipe', 'inherit'] })
    t.after(() => child.kill('SIGKILL'))
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    const first = (await lines.next()).value
    yield { calls, child, lines, first }
    if (first === 'held') return
  }
}

test('killed anywhere on the way to the lock, and then while it is held, a process leaves a spool that the next start takes', async (t) => {
  const folder = folderFor(t)
  let kills = 0
  for await (const { calls, child } of stopping(t, folder, 'die')) {
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    assert.equal(await isSpoolLocked(folder), false)
    const next = await lockSpool(folder)
    assert.equal(await isSpoolLocked(folder), true)
    next.release()
    assert.ok(lockNames(folder).length <= 1, `after ${calls} calls: ${lockNames(folder).join()}`)
    kills++
  }
  assert.ok(kills > 5)
})

test('however late a process goes on with what it saw, it and another never hold the lock together', async (t) => {
  const folder = folderFor(t)
  let refusals = 0
  for await (const { calls, child, lines, first } of stopping(t, folder, 'wait')) {
    if (first === 'held') continue
    assert.equal(first, 'waiting')
    let own: { release(): void } | null = null
    for (let takeover = 0; takeover < 3; takeover++) {
      own?.release()
      own = await lockSpool(folder).catch(() => null)
    }
    child.stdin.write('.')
    assert.equal((await lines.next()).value, own === null ? 'held' : 'SPOOL_IN_USE', `stopped before call ${calls}`)
    if (own !== null) refusals++
    own?.release()
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  }
  assert.ok(refusals > 1)
})

test('a lock that a holder by its first name has is not taken', async (t) => {
  const folder = folderFor(t)
  const holder = net.createServer()
  holder.listen(join(folder, 'lock'))
  await once(holder, 'listening')
  await assert.rejects(lockSpool(folder), { code: 'SPOOL_IN_USE' })
  holder.close()
  await once(holder, 'close')
  const next = await lockSpool(folder)
  next.release()
})
