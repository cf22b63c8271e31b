// Goal: a write to a standard output that nobody reads comes back at once. Method: a process of its own for each kind, nothing read from it.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

const module = new URL('./live-stdout.ts', import.meta.url).href
const script = `
  import { readFileSync } from 'node:fs'
  import { openStandardOutput } from ${JSON.stringify(module)}
  const output = openStandardOutput()
  const piece = Buffer.alloc(16384, 'x')
  let taken = 0
  for (let count = -1; count !== 0 && taken < 64 * 1024 * 1024; taken += count) count = output.write(piece)
  output.close()
  const flags = process.platform === 'linux' ? parseInt(/flags:\\s*(\\d+)/.exec(readFileSync('/proc/self/fdinfo/1', 'utf8'))[1], 8) : 0
  process.stderr.write(JSON.stringify({ taken, isShared: (flags & 0o4000) !== 0 }))`

/** What the process says on standard error; it is killed when it hangs. */
async function run(standardOutput: number | 'pipe'): Promise<{ readonly taken: number; readonly isShared: boolean }> {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', standardOutput, 'pipe'],
    timeout: 120_000,
  })
  let said = ''
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (said += text))
  child.stdout?.pause()
  await once(child, 'exit')
  assert.deepEqual([child.exitCode, child.signalCode], [0, null], `it ended well: ${said}`)
  return JSON.parse(said) as { taken: number; isShared: boolean }
}

test('a pipe that nobody reads takes what fits, and whoever shares it goes on waiting for room', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'steno-stdout-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const path = join(folder, 'pipe')
  assert.equal(spawnSync('mkfifo', [path]).status, 0)
  const reader = openSync(path, constants.O_RDWR)
  const writer = openSync(path, constants.O_WRONLY)
  t.after(() => [reader, writer].forEach(closeSync))
  const { taken, isShared } = await run(writer)
  assert.ok(taken > 0 && taken < 8 * 1024 * 1024, `${taken}`)
  if (process.platform === 'linux') assert.equal(isShared, false)
})

test('a socket that nobody reads takes what fits', async () => {
  const { taken } = await run('pipe')
  assert.ok(taken > 0 && taken < 8 * 1024 * 1024, `${taken}`)
})

test('a file takes everything', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'steno-stdout-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const descriptor = openSync(join(folder, 'file'), 'w')
  t.after(() => closeSync(descriptor))
  assert.equal((await run(descriptor)).taken, 64 * 1024 * 1024)
})
