/**
 * Goal: a shell completes commands, options, choices, files and session ids. Method: the real shells source what `steno completion` prints; a bash
 * in a pseudo-terminal presses the key. A shell that this machine does not have is skipped, and says so.
 */
import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { startInTerminal } from '../replay/terminal.ts'
import { steno } from '../support/proxy.ts'
import { recordSessions, type Recording } from './recording.ts'

const program = fileURLToPath(new URL('../../bin/steno', import.meta.url))
let recording: Recording
let environment: Record<string, string>

const hasShell = (name: string): boolean => spawnSync(name, ['-c', 'exit 0']).status === 0
const without = (name: string): string | false => (hasShell(name) ? false : `there is no ${name} on this machine`)

before(async () => {
  recording = await recordSessions({ sessions: 3, statements: 1 })
  const bin = join(recording.folder, 'bin')
  mkdirSync(bin)
  symlinkSync(program, join(bin, 'steno'))
  environment = {
    PATH: `${bin}:${process.env['PATH'] ?? ''}`,
    HOME: recording.folder,
    STENO_STORE: recording.storeUrl,
    STENO_CONFIG: '',
    LANG: 'C.UTF-8',
  }
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { status, stdout, stderr } = await steno(['completion', shell])
    assert.deepEqual([status, stderr], [0, ''])
    writeFileSync(join(recording.folder, `completion.${shell}`), stdout)
  }
  writeFileSync(join(recording.folder, 'a-file'), '')
  writeFileSync(join(recording.folder, 'two words'), '')
  mkdirSync(join(recording.folder, 'a-folder'))
})
after(() => recording[Symbol.dispose]())

async function run(
  shell: string,
  args: readonly string[],
  more: Readonly<Record<string, string>> = {},
): Promise<{ stdout: string; stderr: string }> {
  return promisify(execFile)(shell, [...args], { env: { ...environment, ...more }, cwd: recording.folder })
}

/** What bash offers for the words; the last is the one under the cursor. Readline has parted them at `=` and `:`. */
async function bashOffers(words: readonly string[], more: Readonly<Record<string, string>> = {}): Promise<string[]> {
  const script = `set -u; source completion.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _steno; printf '%s\\n' "$\{COMPREPLY[@]-}"`
  const { stdout, stderr } = await run('bash', ['--norc', '-c', script, 'bash', 'steno', ...words], more)
  assert.equal(stderr, '')
  return stdout.split('\n').filter((line) => line !== '')
}

test('bash knows that steno is completed', { skip: without('bash') }, async () => {
  assert.match((await run('bash', ['--norc', '-c', 'source completion.bash && complete -p steno'])).stdout, /^complete -F _steno steno$/m)
})

test('bash offers commands, then what each command takes', { skip: without('bash') }, async () => {
  assert.deepEqual(await bashOffers(['ver']), ['verify'])
  for (const name of ['proxy', 'sessions', 'show', 'verify', 'doctor', 'completion', 'man', 'help'])
    assert.ok((await bashOffers([''])).includes(name))
  assert.deepEqual(await bashOffers(['help', 'do']), ['doctor'])
  assert.deepEqual(await bashOffers(['--ver']), ['--version'])
  assert.deepEqual(await bashOffers(['show', '--stat']), ['--statement'])
  assert.deepEqual(await bashOffers(['show', '--no']), ['--no-pager'])
  assert.deepEqual(await bashOffers(['completion', '']), ['bash', 'zsh', 'fish'])
  assert.deepEqual(await bashOffers(['--color', 'never', 'verif']), ['verify'])
})

test('bash offers the choices of an option, behind a space and behind =', { skip: without('bash') }, async () => {
  assert.deepEqual(await bashOffers(['show', '--color', '']), ['auto', 'always', 'never'])
  assert.deepEqual(await bashOffers(['proxy', '--on-record-failure', 'c']), ['continue'])
  assert.deepEqual(await bashOffers(['proxy', '--on-record-failure', '=', 'b']), ['block'])
  assert.deepEqual(await bashOffers(['proxy', '--on-record-failure', '=']), ['block', 'continue'])
  assert.deepEqual(await bashOffers(['proxy', '--listen', '']), [])
})

test('bash offers files and folders where an option takes one', { skip: without('bash') }, async () => {
  assert.deepEqual((await bashOffers(['proxy', '--upstream-file', 'a-f'])).toSorted(), ['a-file', 'a-folder'])
  assert.deepEqual(await bashOffers(['proxy', '--upstream-file', 'two']), ['two words'])
  assert.deepEqual(await bashOffers(['proxy', '--spool', 'a-f']), ['a-folder'])
  assert.deepEqual(await bashOffers(['run', '--', 'a-fi']), ['a-file'])
})

test('bash offers the sessions of the store that is typed about, and of the usual one', { skip: without('bash') }, async () => {
  const newestFirst = recording.sessions.toReversed()
  assert.deepEqual((await bashOffers(['show', ''])).toSorted(), ['last', ...newestFirst].toSorted())
  const [first = ''] = recording.sessions
  assert.deepEqual(await bashOffers(['verify', first]), [first])
  assert.deepEqual(await bashOffers(['show', '--json', 'l']), ['last'])
  const url = recording.storeUrl.replace('file:', '')
  assert.equal((await bashOffers(['show', '--store', 'file', ':', url, ''], { STENO_STORE: '' })).length, 4)
  assert.equal((await bashOffers(['show', '--store', '=', 'file', ':', url, ''], { STENO_STORE: '' })).length, 4)
  assert.deepEqual(await bashOffers(['show', first, '']), [])
})

test('a store that cannot be read offers nothing and says nothing', async () => {
  for (const store of ['ftp://bucket', 's3://-', 'file:///nonexistent', `file://${recording.folder}/a-file`]) {
    const { stdout, stderr } = await steno(['completion', 'ids'], { environment: { STENO_STORE: store } })
    assert.deepEqual([stdout, stderr], ['', ''], store)
  }
})

test('pressing the key in a bash completes the line', { skip: without('bash') }, async () => {
  await using terminal = startInTerminal({
    command: 'bash',
    arguments: ['--norc', '--noprofile', '-i'],
    columns: 120,
    rows: 24,
    environment: { ...environment, PS1: 'ready> ', INPUTRC: '/dev/null' },
  })
  await terminal.until('ready> ')
  terminal.type(`cd '${recording.folder}' && source completion.bash && clear\n`)
  await terminal.until((screen) => screen.trimEnd() === 'ready>')
  terminal.type('steno verif\t')
  await terminal.until('ready> steno verify')
  terminal.type('--trust-r\t')
  await terminal.until('steno verify --trust-recorder')
  terminal.type('\u0015steno show --color=ne\t')
  await terminal.until('steno show --color=never')
  terminal.type('\u0015steno show la\t')
  await terminal.until('steno show last')
  terminal.type('\u0015exit\n')
  await terminal.ended()
})

test('zsh reads the script, and completes from it', { skip: without('zsh') }, async () => {
  // compadd is watched: what is offered is printed instead.
  const script = `
autoload -Uz compinit && compinit -u -d ./zcompdump
source ./completion.zsh
print -r -- "\${_comps[steno]}"`
  assert.equal((await run('zsh', ['-f', '-c', script])).stdout.trim().split('\n').at(-1), '_steno')
  await using terminal = startInTerminal({
    command: 'zsh',
    arguments: ['-f', '-i'],
    columns: 120,
    rows: 24,
    environment: { ...environment, PS1: 'ready> ' },
  })
  await terminal.until('ready> ')
  terminal.type(
    `PROMPT='ready> '; cd '${recording.folder}'; autoload -Uz compinit; compinit -u -d ./zcompdump; source ./completion.zsh; clear\n`,
  )
  await terminal.until((screen) => screen.trimEnd() === 'ready>')
  terminal.type('steno verif\t')
  await terminal.until('ready> steno verify ')
  terminal.type('--trust-r\t')
  await terminal.until('steno verify --trust-recorder')
  terminal.type('\u0015steno show --color=ne\t')
  await terminal.until('steno show --color=never')
  terminal.type('\u0015steno show la\t')
  await terminal.until('steno show last')
  terminal.type('\u0015exit\n')
  await terminal.ended()
})

test('fish reads the script, and completes from it', { skip: without('fish') }, async () => {
  const offers = async (line: string): Promise<string[]> =>
    (await run('fish', ['-c', `source completion.fish; complete -C '${line}'`])).stdout
      .trimEnd()
      .split('\n')
      .map((offer) => offer.split('\t')[0]!)
  assert.deepEqual(await offers('steno ver'), ['verify'])
  assert.deepEqual(await offers('steno show --color '), ['always', 'auto', 'never'])
  assert.deepEqual(await offers('steno verify --trust'), ['--trust-recorder'])
  assert.deepEqual((await offers('steno show ')).toSorted(), ['last', ...recording.sessions].toSorted())
})

test('an unknown shell is refused with those that are known', async () => {
  const { status, stderr } = await steno(['completion', 'tcsh'])
  assert.equal(status, 2)
  assert.match(stderr, /bash, zsh, fish/)
  assert.ok(existsSync(program))
})
