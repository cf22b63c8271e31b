/**
 * Goal: on a terminal long output is paged and coloured as people are used to, and into a pipe it is plain.
 * Method: `bin/steno` in a pseudo-terminal with a real less, and with pagers that tell what they were given.
 */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { startInTerminal } from '../replay/terminal.ts'
import { steno } from '../support/proxy.ts'
import { recordSessions, type Recording } from './recording.ts'

const program = fileURLToPath(new URL('../../bin/steno', import.meta.url))
const escape = '\u001b['
let recording: Recording

before(async () => {
  recording = await recordSessions({ sessions: 2, statements: 200 })
})
after(() => recording[Symbol.dispose]())

function inTerminal(given: readonly string[], environment: Readonly<Record<string, string>> = {}, rows = 24) {
  const [name = '', ...rest] = given
  return startInTerminal({
    command: program,
    arguments: [name, '--store', recording.storeUrl, ...rest],
    columns: 100,
    rows,
    environment: { STENO_CONFIG: '', LESS: '', ...environment },
  })
}

const withoutLess = spawnSync('less', ['--version']).error === undefined ? false : 'there is no less on this machine'

/** A pager of ours: notes what it gets in a file. */
function notingPager(name: string): { command: string; noted: () => string } {
  const file = join(recording.folder, name)
  return { command: `cat > '${file}'`, noted: () => (existsSync(file) ? readFileSync(file, 'utf8') : '') }
}

test('a long session is shown in less, and leaving it early is no failure', { skip: withoutLess }, async () => {
  await using terminal = inTerminal(['show', 'last'], { PAGER: 'less -FRX' })
  await terminal.until(/session {4}/)
  await terminal.until((screen) => /^:$/m.test(screen))
  assert.doesNotMatch(terminal.screen().join('\n'), /select 200/)
  // Ctrl-C is for the pager, which writes its prompt again and goes on. What is typed before that is lost with the signal.
  const soFar = terminal.written().length
  terminal.type('\u0003')
  await terminal.until(() => terminal.written().length > soFar)
  terminal.type('G')
  await terminal.until(/syntax error at or near/)
  terminal.type('q')
  assert.equal((await terminal.ended()).exitCode, 0)
})

test('a pager that leaves at once ends the output quietly', async () => {
  await using terminal = inTerminal(['show', 'last'], { PAGER: 'head -n 1' })
  assert.equal((await terminal.ended()).exitCode, 0)
  assert.match(terminal.written(), /^session .*\r\n$/)
})

test('STENO_PAGER wins over PAGER, and the pager is told to keep colours', async () => {
  const { command, noted } = notingPager('paged')
  await using terminal = inTerminal(['show', 'last'], { PAGER: 'false', STENO_PAGER: `${command}; echo "LESS is $LESS"` })
  assert.equal((await terminal.ended()).exitCode, 0)
  assert.match(noted(), /select 200/)
  assert.ok(noted().includes(`${escape}31m`), 'failed statements are red')
})

for (const [how, args, environment] of [
  ['--no-pager', ['--no-pager'], { PAGER: 'false' }],
  ['PAGER=cat', [], { PAGER: 'cat' }],
  ['an empty STENO_PAGER', [], { STENO_PAGER: '' }],
  ['--json', ['--json'], { PAGER: 'false' }],
] as const) {
  test(`there is no pager with ${how}`, async () => {
    await using terminal = inTerminal(['show', 'last', ...args], environment)
    assert.equal((await terminal.ended()).exitCode, 0)
    assert.match(terminal.written(), /select 200/)
  })
}

test('a session played back as plain text is paged, the player is not', async () => {
  const { command, noted } = notingPager('replayed')
  await using terminal = inTerminal(['replay', 'last', '--plain'], { PAGER: command })
  assert.equal((await terminal.ended()).exitCode, 0)
  assert.match(noted(), /select 200/)
  await using player = inTerminal(['replay', 'last'], { PAGER: 'exit 7' })
  await player.until(/select 1/)
  player.type('q')
  assert.equal((await player.ended()).exitCode, 0)
})

test('sessions are paged too, and a failure keeps its exit code through a pager', async () => {
  const { command, noted } = notingPager('sessions')
  await using terminal = inTerminal(['sessions', '--limit', '1'], { PAGER: command })
  assert.equal((await terminal.ended()).exitCode, 0)
  assert.match(noted(), /^SESSION/)
  await using failing = inTerminal(['show', '00000000'], { PAGER: command })
  assert.equal((await failing.ended()).exitCode, 1)
  assert.match(failing.written(), /SESSION_NOT_FOUND/)
})

test('colours follow --color, then FORCE_COLOR, then NO_COLOR, then the terminal', async () => {
  const coloured = async (args: readonly string[], environment: Record<string, string> = {}): Promise<boolean> => {
    await using terminal = inTerminal(['show', 'last', '--no-pager', ...args], environment)
    await terminal.ended()
    return terminal.written().includes(`${escape}31m`)
  }
  assert.equal(await coloured([]), true)
  assert.equal(await coloured([], { NO_COLOR: '1' }), false)
  assert.equal(await coloured([], { NO_COLOR: '1', FORCE_COLOR: '1' }), true)
  assert.equal(await coloured(['--color', 'never'], { FORCE_COLOR: '1' }), false)
  assert.equal(await coloured(['--color=always'], { NO_COLOR: '1' }), true)
  const piped = async (args: readonly string[], environment: Record<string, string> = {}): Promise<boolean> =>
    (await steno(['show', 'last', '--store', recording.storeUrl, ...args], { environment })).stdout.includes(escape)
  assert.equal(await piped([]), false)
  assert.equal(await piped([], { FORCE_COLOR: '1' }), true)
  assert.equal(await piped(['--color', 'always']), true)
})

test('help is bold on a terminal only', async () => {
  await using terminal = startInTerminal({ command: program, arguments: ['--help'], columns: 80, rows: 60 })
  await terminal.ended()
  assert.ok(terminal.written().includes(`${escape}1mUsage:`))
  assert.doesNotMatch((await steno(['--help'])).stdout, /\u001b/)
  assert.match((await steno(['--color', 'always', '--help'])).stdout, /\u001b\[1mUsage:/)
})

test('a reader that has gone ends every command quietly', async () => {
  for (const command of [
    'show last',
    'sessions',
    'show last --json',
    'verify --all',
    'verify --all --json',
    'doctor',
    '--help',
    'man',
    'completion bash',
  ]) {
    const [name = '', ...rest] = command.split(' ')
    const place = [
      '--store',
      recording.storeUrl,
      ...(name === 'doctor' ? ['--spool', join(recording.folder, 'spool'), '--listen', '127.0.0.1:0'] : []),
    ]
    const given = /^(show|sessions|verify|doctor)$/.test(name) ? [name, ...place, ...rest] : [name, ...rest]
    const child = spawn(program, given, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, STENO_CONFIG: '', FORCE_COLOR: '' } })
    child.stdout.destroy() // Long before anything is written.
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    await once(child, 'close')
    assert.deepEqual([stderr, child.signalCode], ['', null], command)
    // The test's recordings are in no ledger, and verify says so to whoever reads.
    assert.equal(child.exitCode, name === 'verify' ? 1 : 0, command)
  }
})
