import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { lockSpool } from './spool-lock.ts'

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
