/** Goal: a second run has every file in which something failed, and no other. Method: files that fail in each way, under `node --test`. */
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Readable } from 'node:stream'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import failedTestFiles from './failed-test-files.ts'
import { runToEnd } from './run-to-end.ts'

const reporter = fileURLToPath(new URL('./failed-test-files.ts', import.meta.url))
const folder = await mkdtemp(path.join(tmpdir(), 'steno-failed-test-files-'))
after(() => rm(folder, { recursive: true }))

const files = {
  'passes.test.mjs': "import { test } from 'node:test'\ntest('passes', () => {})",
  'fails-twice.test.mjs':
    "import { test } from 'node:test'\nfor (const name of ['one', 'two']) test(name, () => { throw new Error(name) })",
  'does-not-load.test.mjs': "throw new Error('not loaded')",
  'shared.mjs': "import { test } from 'node:test'\nexport const shared = () => test('shared', () => { throw new Error('shared') })",
  'shares.test.mjs': "import { shared } from './shared.mjs'\nshared()",
  'is-killed.test.mjs': "import { test } from 'node:test'\ntest('killed', () => process.kill(process.pid, 'SIGKILL'))",
  'is-to-do.test.mjs': "import { test } from 'node:test'\ntest('later', { todo: true }, () => { throw new Error('not yet') })",
}

const isTest = (name: string): boolean => name.includes('.test.')

test('each file in which something failed is named once, and no other', async () => {
  for (const [name, text] of Object.entries(files)) await writeFile(path.join(folder, name), text)
  const environment = { ...process.env }
  delete environment['NODE_TEST_CONTEXT'] // Else it reports to this test's own runner.
  const { code, stdout } = await runToEnd(
    process.execPath,
    ['--test', `--test-reporter=${reporter}`, ...Object.keys(files).filter(isTest)],
    {
      cwd: folder,
      env: environment,
    },
  )
  assert.equal(code, 1)
  assert.deepEqual(stdout.split('\n').toSorted(), [
    '',
    'does-not-load.test.mjs',
    'fails-twice.test.mjs',
    'is-killed.test.mjs',
    'shares.test.mjs',
  ])
})

test('a run that was broken off names none: what had not run yet might have failed', async () => {
  const run = async (...types: string[]): Promise<string[]> =>
    Array.fromAsync(
      failedTestFiles(Readable.from(types.map((type) => ({ type, data: { name: 'one', file: path.resolve('one.test.ts') } })))),
    )
  assert.deepEqual(await run('test:pass', 'test:fail'), ['one.test.ts\n'])
  assert.deepEqual(await run('test:fail', 'test:interrupted'), [])
})
