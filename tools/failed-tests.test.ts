/** Goal: every test that failed is told with its file, so that a second run has these and no others, and with why. Method: files that fail in each way, under
 * `node --test`. */
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Readable } from 'node:stream'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import failedTests from './failed-tests.ts'
import { runToEnd } from './run-to-end.ts'

const reporter = fileURLToPath(new URL('./failed-tests.ts', import.meta.url))
const folder = await mkdtemp(path.join(tmpdir(), 'steno-failed-tests-'))
after(() => rm(folder, { recursive: true }))

const files = {
  'passes.test.mjs': "import { test } from 'node:test'\ntest('passes', () => {})",
  'fails-twice.test.mjs':
    "import { test } from 'node:test'\nfor (const name of ['one', 'two']) test(name, () => { throw new Error(name, { cause: new Error(`in\\n${'x'.repeat(900)}`) }) })",
  'does-not-load.test.mjs': "throw new Error('not loaded')",
  'shared.mjs': "import { test } from 'node:test'\nexport const shared = () => test('shared', () => { throw new Error('shared') })",
  'shares.test.mjs': "import { shared } from './shared.mjs'\nshared()",
  'is-killed.test.mjs': "import { test } from 'node:test'\ntest('killed', () => process.kill(process.pid, 'SIGKILL'))",
  'is-to-do.test.mjs': "import { test } from 'node:test'\ntest('later', { todo: true }, () => { throw new Error('not yet') })",
}

const isTest = (name: string): boolean => name.includes('.test.')

test('each test that failed is a line with its file and its causes, and no other is', async () => {
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
  const lines = stdout
    .replaceAll(/\d+\.\d s/g, 'N s')
    .split('\n')
    .toSorted()
  assert.ok(
    lines.every((line) => line.length < 500),
    stdout,
  )
  assert.deepEqual(
    lines.map((line) => line.slice(0, 60)),
    [
      '',
      'does-not-load.test.mjs: does-not-load.test.mjs (N s): test failed',
      `fails-twice.test.mjs: one (N s): one <- in ${'x'.repeat(17)}`,
      `fails-twice.test.mjs: two (N s): two <- in ${'x'.repeat(17)}`,
      'is-killed.test.mjs: is-killed.test.mjs (N s): test failed',
      'shares.test.mjs: shared (N s): shared',
    ].map((line) => line.slice(0, 60)),
  )
})

test('a run that was broken off tells none: what had not run yet might have failed', async () => {
  const details = { duration_ms: 1, error: new Error('no') }
  const run = async (...types: string[]): Promise<string[]> =>
    Array.fromAsync(
      failedTests(Readable.from(types.map((type) => ({ type, data: { name: 'one', file: path.resolve('one.test.ts'), details } })))),
    )
  assert.deepEqual(await run('test:pass', 'test:fail'), ['one.test.ts: one (0.0 s): no\n'])
  assert.deepEqual(await run('test:fail', 'test:interrupted'), [])
})
