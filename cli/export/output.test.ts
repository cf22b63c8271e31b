import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { writeOutput, type Piece } from './output.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'steno-output-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

async function* pieces(...given: readonly Piece[]): AsyncGenerator<Piece> {
  for (const piece of given) yield await Promise.resolve(piece)
}

test('a file is replaced only by a whole one, which its user alone may read', async () => {
  const file = join(folder, 'out')
  writeFileSync(file, 'before', { mode: 0o644 })
  async function* watching(): AsyncGenerator<Piece> {
    yield 'ä'.repeat(100_000)
    assert.equal(readFileSync(file, 'utf8'), 'before')
    yield await Promise.resolve(Buffer.from('end'))
  }
  await writeOutput(watching(), file)
  assert.equal(readFileSync(file, 'utf8'), `${'ä'.repeat(100_000)}end`)
  assert.equal(statSync(file).mode & 0o777, 0o600)
  assert.deepEqual(readdirSync(folder), ['out'])
})

test('a failure leaves what was there and nothing else', async () => {
  const file = join(folder, 'out')
  writeFileSync(file, 'before')
  async function* failing(): AsyncGenerator<Piece> {
    yield await Promise.resolve('x'.repeat(200_000))
    throw new Error('the store went away')
  }
  await assert.rejects(writeOutput(failing(), file), /went away/)
  assert.deepEqual([readFileSync(file, 'utf8'), readdirSync(folder)], ['before', ['out']])
})

test('a link goes on being one, and a device is written, not replaced', async () => {
  const file = join(folder, 'out')
  const link = join(folder, 'link')
  writeFileSync(file, 'before')
  symlinkSync(file, link)
  await writeOutput(pieces('after'), link)
  assert.ok(lstatSync(link).isSymbolicLink())
  assert.equal(readFileSync(file, 'utf8'), 'after')
  await writeOutput(pieces('gone'), '/dev/null')
  assert.ok(lstatSync('/dev/null').isCharacterDevice())
})

test('what cannot be written is said with its remedy', async () => {
  const cases = [folder, join(folder, 'no', 'out'), join(folder, 'file', 'out')]
  writeFileSync(join(folder, 'file'), '')
  if (process.getuid?.() !== 0) {
    chmodSync(folder, 0o500)
    cases.push(join(folder, 'out'))
  }
  for (const file of cases) await assert.rejects(writeOutput(pieces('x'), file), { code: 'OUTPUT_UNUSABLE' }, file)
})

test('a signal removes what was begun', async () => {
  const script = `
    import { writeOutput } from ${JSON.stringify(new URL('./output.ts', import.meta.url).href)}
    async function* endless() { for (;;) { yield 'x'.repeat(70_000); process.stdout.write('.'); await new Promise((resolve) => setImmediate(resolve)) } }
    await writeOutput(endless(), ${JSON.stringify(join(folder, 'out'))})`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  assert.equal(readdirSync(folder).length, 1)
  assert.ok(!existsSync(join(folder, 'out')))
  child.stdout.resume()
  child.kill('SIGTERM')
  await once(child, 'close')
  assert.equal(child.signalCode, 'SIGTERM')
  assert.deepEqual(readdirSync(folder), [])
})
