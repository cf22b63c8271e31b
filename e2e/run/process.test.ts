/**
 * Goal: to whoever starts it, and to the command, `steno run` is not there: exit codes, signals, terminal, standard streams.
 * Method: commands that tell what reaches them; signals to steno's process; a pseudo-terminal for the keys.
 */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { spawn as spawnInTerminal } from '@lydell/node-pty'
import { program } from '../../tools/debian-programs.ts'
import { startPostgres } from '../../tools/embedded-postgres.ts'
import { createRunWorld, stenoProgram, textsOf, untilPrinted } from './world.ts'

const [psql, server] = await Promise.all([program('psql'), startPostgres()])
after(() => server.stop())
const database = { DATABASE_URL: server.url }

test('the exit code is the command’s', async () => {
  using world = createRunWorld()
  for (const code of [0, 1, 2, 7, 125, 255]) {
    assert.equal((await world.run(['sh', '-c', `exit ${code}`], database, ['--quiet'])).status, code)
  }
})

test('a command that a signal ended gives 128 and its number, as in a shell', async () => {
  using world = createRunWorld()
  assert.equal((await world.run(['sh', '-c', 'kill -TERM $$'], database)).status, 143)
  assert.equal((await world.run(['sh', '-c', 'kill -KILL $$'], database)).status, 137)
})

test('a command that cannot be run gives 127 or 126 and says why', async () => {
  using world = createRunWorld()
  const none = await world.run(['no-such-program'], database)
  assert.equal(none.status, 127)
  assert.match(none.stderr, /there is no program "no-such-program"\n[^\n]+\n {2}\(COMMAND_NOT_FOUND\)\n$/)
  const file = join(world.folder, 'not-executable')
  writeFileSync(file, 'true\n', { mode: 0o600 })
  const cannot = await world.run([file], database)
  assert.equal(cannot.status, 126)
  assert.match(cannot.stderr, /\(COMMAND_NOT_EXECUTABLE\)\n$/)
})

test('what steno itself cannot do gives 125, and the command does not run', async () => {
  using world = createRunWorld()
  const command = ['sh', '-c', 'echo it ran']
  for (const [environment, options, code] of [
    [{}, [], 'NO_UPSTREAM_FOUND'],
    [{ DATABASE_URL: 'mysql://a@b/c' }, [], 'NO_UPSTREAM_FOUND'],
    [{ DATABASE_URL: 'postgresql://a:b/c@d' }, [], 'BAD_VARIABLE'],
    [{ ...database, PGSERVICE: 'x' }, [], 'BAD_VARIABLE'],
    [database, ['--store', 'gopher://x'], 'STORE_URL_UNKNOWN'],
    [database, ['--spool', '/etc/passwd/spool'], 'SPOOL_UNUSABLE'],
  ] as const) {
    const { status, stdout, stderr } = await world.run(command, environment, options)
    assert.deepEqual([status, stdout], [125, ''], stderr)
    assert.ok(stderr.includes(`(${code})`), stderr)
  }
  const json = await world.run(command, {}, ['--json'])
  assert.equal((JSON.parse(json.stderr) as { error: { code: string } }).error.code, 'NO_UPSTREAM_FOUND')
  assert.equal((await world.run([], database)).status, 2)
})

test('options behind the command are the command’s, with and without --', async () => {
  using world = createRunWorld()
  const args = ['-c', 'echo "$0 $*"', '--json', '--quiet', '--version', '--', '--help']
  const { stdout } = await world.run(['sh', ...args], database)
  assert.equal(stdout, '--json --quiet --version -- --help\n')
  const { child, ended } = world.start(['sh', ...args], database, [], { separator: false })
  child.stdin!.end()
  assert.equal((await ended).stdout, '--json --quiet --version -- --help\n')
})

const trapping = (signal: string): string =>
  `trap 'echo got ${signal}' ${signal}; trap 'exit 42' USR2; echo ready; while :; do sleep 0.05; done`

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1'] as const) {
  test(`${signal} is passed on, once, and the command decides what it means`, async () => {
    using world = createRunWorld()
    const started = world.start(['sh', '-c', trapping(signal.slice(3))], database)
    await untilPrinted(started, 'ready')
    started.child.kill(signal)
    await untilPrinted(started, 'got')
    started.child.kill('SIGUSR2')
    const { status, stdout } = await started.ended
    assert.equal(status, 42)
    assert.equal(stdout, `ready\ngot ${signal.slice(3)}\n`)
  })
}

test('a command that a passed-on signal ends is recorded up to there', async () => {
  using world = createRunWorld()
  const psqlArgs = ['--no-psqlrc', '-Atc', "select 'here'", '-c', 'select pg_sleep(300)']
  const started = world.start([psql.command, ...psqlArgs], { ...psql.env, ...database })
  await untilPrinted(started, 'here')
  started.child.kill('SIGTERM')
  assert.equal((await started.ended).status, 143)
  assert.equal(textsOf(await world.recorded())[0], "select 'here'")
})

test('Ctrl-C in a terminal reaches the command from the terminal alone, and steno waits for what it makes of it', async () => {
  using world = createRunWorld()
  const script = `let interrupts = 0
    process.on('SIGINT', () => { interrupts++; setTimeout(() => { console.log('interrupted'); process.exit(9) }, 100) })
    process.on('SIGUSR2', () => console.log('so far ' + interrupts))
    console.log('ready ' + process.stdin.isTTY)
    setInterval(() => {}, 1000)`
  const args = ['run', ...world.options, '--', process.execPath, '--eval', script]
  const terminal = spawnInTerminal(stenoProgram, args, { cols: 80, rows: 24, env: world.environment(database) })
  let printed = ''
  const ended = new Promise<number>((resolve) => terminal.onExit(({ exitCode }) => resolve(exitCode)))
  const seen = new Set<string>()
  terminal.onData((text) => {
    printed += text
    for (const [words, act] of [
      // Two signals of one kind that come close together count as one, so what steno does by itself is asked for by itself: what it
      // passes on comes in order.
      ['ready true', () => ['SIGINT', 'SIGUSR2'].forEach((signal) => process.kill(terminal.pid, signal))],
      ['so far 0', () => terminal.write('\x03')],
      ['so far 1', () => terminal.kill()],
    ] as const) {
      if (!printed.includes(words) || seen.has(words)) continue
      seen.add(words)
      act()
    }
  })
  assert.equal(await ended, 9, printed)
  assert.match(printed, /so far 0\r\n[^]*interrupted\r\n/)
})

test('standard output is the command’s alone; the summary is on standard error, as text, as JSON or not at all', async () => {
  using world = createRunWorld()
  const command = [psql.command, '--no-psqlrc', '-Atc', 'select 5']
  const environment = { ...psql.env, ...database }
  const text = await world.run(command, environment)
  assert.equal(text.stdout, '5\n')
  assert.match(text.stderr, /^steno: recorded 1 session, 1 statement, 1 row\n {2}[0-9a-f-]{36} {2}postgres@postgres \(DATABASE_URL\): /)
  const { result, summary } = await world.runForSummary(command, environment)
  assert.equal(result.stdout, '5\n')
  const { exitCode, everythingStored, totals, sessions } = summary
  assert.deepEqual(
    { exitCode, everythingStored, totals },
    { exitCode: 0, everythingStored: true, totals: { sessions: 1, statements: 1, failures: 0, rows: 1 } },
  )
  const [{ variables, user, database: name, application, statements }] = sessions as [(typeof sessions)[number]]
  assert.deepEqual(
    { variables, user, name, application, statements },
    { variables: ['DATABASE_URL'], user: 'postgres', name: 'postgres', application: 'psql', statements: 1 },
  )
  assert.equal((await world.run(command, environment, ['--quiet'])).stderr, '')
})

test('a command that never connects is told apart', async () => {
  using world = createRunWorld()
  const { stderr } = await world.run(['true'], database)
  assert.match(stderr, /^steno: nothing was recorded/)
})

test('a process that the command leaves behind with a connection does not keep steno from ending', async () => {
  using world = createRunWorld()
  const script = `const { default: pg } = await import('pg')
    const client = new pg.Client({ connectionString: process.env.DATABASE_URL })
    client.on('error', () => process.exit())
    await client.connect()
    await client.query("select 'left behind'")
    console.log('connected')`
  const shell = `"${process.execPath}" --input-type=module --eval "$0" & read -r _; exit 3`
  const started = world.start(['sh', '-c', shell, script], database, ['--quiet'])
  await untilPrinted(started, 'connected')
  started.child.stdin!.end('\n')
  assert.equal((await started.ended).status, 3)
  const sessions = await world.recorded()
  assert.deepEqual(textsOf(sessions), ["select 'left behind'"])
})
