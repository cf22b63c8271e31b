/**
 * Goal: every command explains itself the same way: help with examples, exit codes, suggestions, errors as JSON, a manual page, a config file.
 * Method: asks `bin/steno` for all of its commands, and looks at what each says.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { steno, type StenoResult } from '../support/proxy.ts'
import { recordSessions, type Recording } from './recording.ts'

let recording: Recording
let folder: string
let names: string[]

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'steno-commands-'))
  recording = await recordSessions({ sessions: 3, statements: 1 })
  const { stdout } = await steno(['--help'])
  names = [...(stdout.split('\nCommands:\n')[1] ?? '').matchAll(/^ {2}([a-z]+) {2,}\S/gm)].map(([, name = '']) => name)
  assert.ok(names.length >= 7, stdout)
})
after(() => {
  recording[Symbol.dispose]()
  rmSync(folder, { recursive: true, force: true })
})

function withConfig(content: unknown, given: readonly string[]): Promise<StenoResult> {
  const file = join(folder, 'config.json')
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content))
  return steno(given, { environment: { STENO_CONFIG: file } })
}

test('every command has help with examples and exit codes, by --help and by help', async () => {
  const lacking: string[] = []
  for (const name of names) {
    const { status, stdout, stderr } = await steno([name, '--help'])
    assert.deepEqual([status, stderr], [0, ''], name)
    if (!/^Examples:$/m.test(stdout)) lacking.push(`${name} has no examples`)
    if (!/\bexit codes?\b/i.test(stdout)) lacking.push(`${name} does not say its exit codes`)
    if (!/--config <file>/.test(stdout) || !/--color <when>/.test(stdout)) lacking.push(`${name} lacks common options`)
    assert.equal((await steno(['help', name])).stdout, stdout)
  }
  assert.deepEqual(lacking, [])
})

test('asking for help loads no command, so that it is quick', () => {
  const program = new URL('../../cli/main.ts', import.meta.url)
  const watch = `
import { registerHooks } from 'node:module'
registerHooks({ load(url, context, next) { if (/\\/(cli|sidecar|session|postgres)\\//.test(url)) console.error(url.replace(/.*\\/main\\//, '').replace(/^.*\\/(cli|sidecar|session|postgres)\\//, '$1/')); return next(url, context) } })`
  const run = (...args: string[]): string[] =>
    spawnSync(process.execPath, ['--import', `data:text/javascript,${encodeURIComponent(watch)}`, program.pathname, ...args], {
      encoding: 'utf8',
    })
      .stderr.split('\n')
      .filter(
        (line) => line.startsWith('cli/') || line.startsWith('sidecar/') || line.startsWith('session/') || line.startsWith('postgres/'),
      )
  const forHelp = [
    'cli/arguments.ts',
    'cli/colour.ts',
    'cli/common-options.ts',
    'cli/failure-report.ts',
    'cli/main.ts',
    'cli/program-name.ts',
    'cli/usage-hints.ts',
  ]
  assert.deepEqual(run('--help').toSorted(), forHelp)
  assert.deepEqual(run('--version').toSorted(), forHelp)
  assert.deepEqual(
    run('man', '--help')
      .toSorted()
      .filter((file) => /^(sidecar|session|postgres)/.test(file)),
    [],
  )
})

test('a mistyped command or option is answered with what was probably meant', async () => {
  for (const [given, meant] of [
    [['shwo'], /Did you mean show\?/],
    [['sesions'], /Did you mean sessions\?/],
    [['show', 'last', '--statment', '1'], /Did you mean --statement\?/],
    [['verify', '--al'], /Did you mean --all\?/],
    [['--vesion'], /Did you mean --version\?/],
    [['man', 'shwo'], /did you mean "show"\?/],
  ] as const) {
    const { status, stdout, stderr } = await steno(given)
    assert.equal(stdout, '')
    assert.equal(status, 2)
    assert.match(stderr, meant)
  }
})

test('whoever asks for JSON gets errors as JSON too: of use, of the command, of the config file', async () => {
  const error = ({ stderr }: StenoResult): { code: string; message: string; remedy: string } =>
    (JSON.parse(stderr) as { error: { code: string; message: string; remedy: string } }).error
  const usage = await steno(['sessions', '--json', '--limmit', '1'])
  assert.deepEqual([usage.status, usage.stdout, error(usage).code], [2, '', 'BAD_USAGE'])
  assert.match(error(usage).message, /^unknown option '--limmit'/)
  assert.equal(error(await steno(['show', '--json'])).code, 'BAD_USAGE')
  assert.equal(error(await steno(['--json'])).message, "unknown option '--json'")
  assert.equal(error(await steno(['verify', '--json'])).code, 'BAD_USAGE')
  const missing = await steno(['show', '--json', 'ffffffff', '--store', recording.storeUrl])
  assert.deepEqual([missing.status, error(missing).code], [1, 'SESSION_NOT_FOUND'])
  const config = await withConfig({ json: true, stoer: 'x' }, ['sessions'])
  assert.equal(config.status, 1)
  assert.match(config.stderr, /no command has an option "stoer"; did you mean "store"\?/)
  const asked = await withConfig({ json: true }, ['show', 'ffffffff', '--store', recording.storeUrl])
  assert.equal(error(asked).code, 'SESSION_NOT_FOUND')
})

test('a config file gives what nobody typed, to the commands that it means', async () => {
  const content = { store: recording.storeUrl, sessions: { limit: 2 }, proxy: { listen: '127.0.0.1:7000' } }
  const listed = await withConfig(content, ['sessions', '--json'])
  assert.deepEqual([listed.status, listed.stdout.trimEnd().split('\n').length], [0, 2])
  assert.equal((await withConfig(content, ['sessions', '--json', '--limit', '3'])).stdout.trimEnd().split('\n').length, 3)
  const elsewhere = await withConfig(content, ['sessions', '--json', '--store', pathToFileURL(join(folder, 'none')).href])
  assert.equal(elsewhere.stdout, '')
  const byOption = await steno(['sessions', '--json', '--config', join(folder, 'config.json')])
  assert.equal(byOption.stdout.trimEnd().split('\n').length, 2)
  const inFront = await steno(['--config', join(folder, 'config.json'), 'sessions', '--json'])
  assert.equal(inFront.stdout.trimEnd().split('\n').length, 2)
})

test('a config file that is wrong for another command is told by doctor, and does not stand in the way of this one', async () => {
  const content = { store: recording.storeUrl, proxy: { 'metric-listen': 'x' } }
  assert.equal((await withConfig(content, ['sessions'])).status, 0)
  const { stdout } = await withConfig(content, ['doctor', '--json', '--spool', join(folder, 'spool'), '--listen', '127.0.0.1:0'])
  const check = stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as { check?: string; status: string; message: string })
    .find((line) => line.check === 'config file')
  assert.equal(check?.status, 'failed')
  assert.match(check?.message ?? '', /proxy has no option "metric-listen"; did you mean "metrics-listen"\?/)
})

test('a password in a config file is refused and not repeated', async () => {
  const { status, stderr } = await withConfig({ proxy: { upstream: 'postgresql://a:hunter2@b/c' } }, ['sessions'])
  assert.equal(status, 1)
  assert.match(stderr, /PASSWORD_IN_CONFIG_FILE/)
  assert.match(stderr, /upstream-file/)
  assert.doesNotMatch(stderr, /hunter2/)
})

test('the manual page has every command with its options, and groff and man read it', async (t) => {
  const { status, stdout } = await steno(['man'])
  assert.equal(status, 0)
  for (const name of names) assert.ok(stdout.includes(`.SH "STENO ${name.toUpperCase()}"`), name)
  if (spawnSync('groff', ['--version']).error !== undefined) return t.skip('there is no groff on this machine')
  // The whole page has all commands in it; two of them stand for those that ask for one.
  for (const name of [null, 'show', 'verify']) {
    const page = await steno(['man', ...(name === null ? [] : [name])])
    const { stderr, stdout: shown } = spawnSync('groff', ['-man', '-ww', '-Tutf8', '-P-cbou', '-rLL=200n'], {
      input: page.stdout,
      encoding: 'utf8',
    })
    assert.equal(stderr, '', `${name}`)
    if (name !== null) assert.match(shown, /^EXAMPLES$/m, name)
  }
  if (spawnSync('man', ['--version']).error !== undefined) return
  const file = join(folder, 'steno.1')
  writeFileSync(file, stdout)
  const read = spawnSync('man', ['--warnings', '-l', file], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], LANG: 'C.UTF-8', MANWIDTH: '120', MAN_KEEP_FORMATTING: '' },
  })
  assert.deepEqual([read.status, read.stderr], [0, ''])
  assert.match(read.stdout, /^STENO\(1\)/)
})
