/** Goal: `search` keeps what its help promises: exit codes, limits, what is said on standard error, and a quiet end in a pipe. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { statementIndexKey } from '../../session/object-keys.ts'
import { testEpoch } from '../../session/test-recording.ts'
import { steno, type StenoResult } from '../support/proxy.ts'
import { addSession, generateStore } from '../../cli/search/test-store.ts'

const program = fileURLToPath(new URL('../../bin/steno', import.meta.url))
let folder = ''
let damaged = ''
let damagedSession = ''

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'steno-search-'))
  generateStore(folder, { sessions: 300, statements: 20 })
  damaged = mkdtempSync(join(tmpdir(), 'steno-search-damaged-'))
  addSession(damaged, 1, { opened: testEpoch, statements: [{ sql: 'select whole' }] })
  damagedSession = addSession(damaged, 2, { opened: testEpoch + 1, statements: [{ sql: 'select broken' }] })
  const index = join(damaged, statementIndexKey(damagedSession, 1))
  chmodSync(index, 0o600)
  writeFileSync(index, '\x1b[31m')
})
after(() => {
  rmSync(folder, { recursive: true, force: true })
  rmSync(damaged, { recursive: true, force: true })
})

const run = (command: string, ...args: string[]): Promise<StenoResult> => steno([command, ...args, '--store', pathToFileURL(folder).href])

test('the exit code says whether anything was found', async () => {
  const found = await run('search', '--table', 'rare')
  assert.deepEqual([found.status, found.stdout.split('\n').length - 1, found.stderr], [0, 3, ''])
  assert.deepEqual(await run('search', '--text', 'nowhere'), { status: 1, stdout: '', stderr: '' })
  for (const wrong of [
    ['--sqlstate', '2350'],
    ['--regex', '(a'],
    ['--regex', '(a)\\1'],
    ['--table', 'a b'],
    ['--min-duration', '5'],
    ['--since', 'monday'],
    ['--trace', 'abc'],
    ['--fingerprint', 'x'],
    ['--text', ''],
    ['--limit', '0'],
  ]) {
    const { status, stdout, stderr } = await run('search', ...wrong)
    assert.deepEqual([status, stdout], [2, ''], wrong.join(' '))
    assert.match(stderr, new RegExp(`^error: option '${wrong[0]} .* is invalid`))
  }
})

test('what cannot be read is named, the rest is shown, and the exit code says so', async () => {
  const store = pathToFileURL(damaged).href
  for (const args of [
    ['search'],
    ['search', '--json'],
    ['export'],
    ['export', '--rows', '--failed'],
    ['query', 'select sql from statements'],
  ]) {
    const { status, stdout, stderr } = await steno([...args, '--store', store])
    assert.equal(status, 3, args.join(' '))
    if (!args.includes('--failed')) assert.match(stdout, /select whole/)
    assert.match(stderr, new RegExp(`steno: session ${damagedSession} cannot be read to its end: .*RECORDING_DAMAGED`))
    assert.doesNotMatch(stderr, /\x1b/)
  }
  const nowhere = join(damaged, 'nowhere')
  assert.equal((await steno(['search', '--store', pathToFileURL(nowhere).href])).status, 3, 'a store that is not there may hold anything')
  mkdirSync(nowhere)
  assert.equal((await steno(['search', '--store', pathToFileURL(nowhere).href])).status, 1, 'an empty store holds nothing that fits')
})

test('--limit stops, and a reader that goes away ends it quietly', async () => {
  const limited = await run('search', '--limit', '7', '--json')
  assert.deepEqual([limited.status, limited.stdout.trimEnd().split('\n').length], [0, 7])
  for (const command of ['search', 'export']) {
    const child = spawn(program, [command, '--store', pathToFileURL(folder).href], { stdio: ['ignore', 'pipe', 'pipe'] })
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    await once(child.stdout, 'data')
    child.stdout.destroy()
    await once(child, 'close')
    assert.deepEqual([child.exitCode, stderr], [0, ''], command)
  }
})

test('the two ends of a regular expression that takes others exponential time are close together', async () => {
  const file = mkdtempSync(join(tmpdir(), 'steno-search-regex-'))
  try {
    addSession(file, 1, { opened: testEpoch, statements: [{ sql: 'a'.repeat(60_000) }] })
    const { status } = await steno(['search', '--regex', '(a+)+b', '--store', pathToFileURL(file).href])
    assert.equal(status, 1)
  } finally {
    rmSync(file, { recursive: true, force: true })
  }
})
