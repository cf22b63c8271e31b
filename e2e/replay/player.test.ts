/**
 * Goal: a person at a terminal sees the session as it was, moves through it, and gets the terminal back as it was.
 * Method: `bin/steno replay` in a pseudo-terminal, over a session recorded from a real PostgreSQL through `bin/steno`; keys are pressed
 * and the screens of a terminal emulator compared. Times, which differ with every run, are compared by their shape.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import pg from 'pg'
import { writeTestSession } from '../../cli/replay/test-session.ts'
import { openStore } from '../../session/stores/open-store.ts'
import { startPostgres } from '../../tools/embedded-postgres.ts'
import { startProxyProcess, steno } from '../support/proxy.ts'
import { recordShop, statementsInShop } from './recorded.ts'
import { startInTerminal, type TerminalProgram, type TerminalProgramOptions } from './terminal.ts'

const program = fileURLToPath(new URL('../../bin/steno', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'steno-replay-'))
const keys = {
  up: '\x1b[A',
  down: '\x1b[B',
  right: '\x1b[C',
  left: '\x1b[D',
  home: '\x1b[H',
  end: '\x1b[F',
  pageDown: '\x1b[6~',
  escape: '\x1b',
}
let storeUrl: string

before(async () => {
  storeUrl = await recordShop(join(folder, 'shop'))
})
after(() => rmSync(folder, { recursive: true, force: true }))

function startPlayer(options: Partial<TerminalProgramOptions> = {}, more: readonly string[] = []): TerminalProgram {
  return startInTerminal({
    command: program,
    arguments: ['replay', 'last', '--store', storeUrl, ...more],
    columns: 80,
    rows: 24,
    ...options,
  })
}

/** A screen without what differs with every run. */
function shape(screen: readonly string[]): string[] {
  return screen.map((line) =>
    line
      .replace(/\(\+\d+\.\d{3} s\)/, '(+T)')
      .replace(/ +\+\d+\.\d{3} s(?: +of \+\d+\.\d{3} s)?/g, ' +T')
      .replace(/ +\d+(?:\.\d+)? m?s(?= [✓✗])/g, ' took')
      .replace(/took \d+(?:\.\d+)? m?s/, 'took D')
      .replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?/g, 'WHEN')
      .replace(/[0-9a-f]{8}-[0-9a-f-]+/, 'ID')
      .replace(/records +\d+ to \d+/, 'records    N to N')
      .replace(/[-─ ]+(?:space|\?).*$|─+$/, '')
      .trimEnd(),
  )
}

const settled = (screen: string): boolean => !/reading|…\n#|being read/.test(screen) && !/^ +\d+ …/m.test(screen)

/** Goes to a statement and waits until all of it is shown. */
async function goTo(player: TerminalProgram, number: number, shows: string): Promise<void> {
  player.type(`:${number}\r`)
  await player.until((screen) => screen.includes(` #${number}, `) && screen.includes(shows) && settled(screen))
}

test('the screen at 80x24', async () => {
  await using player = startPlayer()
  await player.until(`1/${statementsInShop}`)
  await goTo(player, 9, '(3 rows)')
  assert.deepEqual(shape(player.screen()), [
    ' postgres@shop  WHEN UTC  session ID',
    '   #          at      took      sql',
    '   3 +T took ✓ ┌ begin',
    '   4 +T took ✓ │ insert into customers (id, name, city, photo) va…',
    '   5 +T took ✓ │ insert into customers (id, name, city, photo) va…',
    '   6 +T took ✓ │ insert into customers (id, name, city, photo) va…',
    '   7 +T took ✓ │ insert into orders select n, 1 + n % 3, 100 * n,…',
    '   8 +T took ✓ └ commit',
    '   9 +T took ✓   select * from customers order by id',
    '── #9, +T, took D, SELECT 3, lines 1-13/17',
    'select * from customers order by id',
    '',
    ' id |     name     | city |     photo',
    '----+--------------+------+----------------',
    '  1 | Anna Bērziņa | Rīga | \\x89504e4700ff',
    '  2 | 佐藤 花子    | 東京 | NULL',
    '  3 | NULL         | NULL | NULL',
    '(3 rows)',
    '',
    'statement  9 of session ID',
    'when       WHEN UTC (+T), took D',
    'how        simple query',
    'result     SELECT 3, 3 rows, 128 bytes',
    'paused 1x +T  9/20  idle max 2 s',
  ])
})

test('the screen at 120x40, with an error as psql prints it', async () => {
  await using player = startPlayer({ columns: 120, rows: 40 })
  await player.until(`1/${statementsInShop}`)
  await goTo(player, 16, 'LINE 1:')
  assert.deepEqual(shape(player.screen()), [
    ' postgres@shop  WHEN UTC  session ID',
    '   #          at      took      sql',
    '   4 +T took ✓ │ insert into customers (id, name, city, photo) values ($1, $2, $3, $4)',
    '   5 +T took ✓ │ insert into customers (id, name, city, photo) values ($1, $2, $3, $4)',
    '   6 +T took ✓ │ insert into customers (id, name, city, photo) values ($1, $2, $3, $4)',
    "   7 +T took ✓ │ insert into orders select n, 1 + n % 3, 100 * n, repeat('parcel ', n % 20) from generate…",
    '   8 +T took ✓ └ commit',
    '   9 +T took ✓   select * from customers order by id',
    '  10 +T took ✓   select o.id, c.name, o.cents, o.note -- what is owed from orders o join customers c on c…',
    '  11 +T took ✓ ┌ begin',
    '  12 +T took ✓ │ update orders set cents = cents - 50 where id = $1',
    '  13 +T took ✗ │ update orders set cents = -100 where id = 7',
    '  14 +T took ✗ │ select 1',
    '  15 +T took ✓ └ rollback',
    "  16 +T took ✗   select name, twon from customers where city = 'Rīga'",
    '── #16, +T, took D, ERROR 42703',
    "select name, twon from customers where city = 'Rīga'",
    '',
    'ERROR:  column "twon" does not exist',
    "LINE 1: select name, twon from customers where city = 'Rīga'",
    '                     ^',
    '',
    'statement  16 of session ID',
    'when       WHEN UTC (+T), took D',
    'how        simple query',
    'result     ERROR 42703, 0 rows, 0 bytes',
    'began      outside a transaction',
    'decision   allow, as no policy is set',
    'records    N to N',
    'start-up   client_encoding=UTF8',
    ...Array.from({ length: 9 }, () => ''),
    'paused 1x +T  16/20  idle max 2 s',
  ])
})

test('keys move through the session, through a statement, and through its rows', async () => {
  await using player = startPlayer()
  await player.until(`1/${statementsInShop}`)
  player.type('jj')
  await player.until('#3, ')
  player.type(keys.down)
  await player.until(/#4, [\s\S]*parameters\n {2}\$1 .*1\n {2}\$2 .*Anna Bērziņa\n {2}\$3 .*Rīga\n {2}\$4 .*\\x89504e4700ff/)
  player.type(keys.end)
  await player.until(`#${statementsInShop}, `)
  player.type(keys.home)
  await player.until('#1, ')
  player.type(keys.pageDown)
  await player.until('#7, ')
  await goTo(player, 10, '  1 | 佐藤')
  player.type(keys.right.repeat(3))
  await player.until('column 25/')
  assert.ok(player.screen().includes('select o.id, c.name, o.cents, o.note -- what is owed'), 'SQL stays where it is')
  player.type('r')
  await player.until(/#10, .*\n.*note/)
  player.type(`\t${keys.end}`)
  await player.until('… 50 more rows: m reads more')
  player.type('m')
  await player.until(/lines \d+-\d+\/26\d/)
  player.type(keys.end)
  await player.until('(250 rows)')
  player.type(keys.escape)
  await player.until('10/20')
  player.type('?')
  await player.until('any key closes the help')
  player.type(' ')
  await player.until('paused')
})

test('failures, texts, tables, times and numbers are jumped to', async () => {
  await using player = startPlayer()
  await player.until(`1/${statementsInShop}`)
  for (const [typed, number] of [
    ['f', 13],
    ['f', 14],
    ['f', 16],
    ['F', 14],
    [`${keys.home}/PARCEL\r`, null],
    ['/parcel\r', 7],
    ['n', 17],
    ['N', 7],
    ['tcustomers\r', 9],
    ['n', 10],
    ['n', 16],
    ['g0\r', 1],
    ['g600\r', statementsInShop],
    [':12\r', 12],
  ] as const) {
    player.type(typed)
    await player.until(number === null ? 'Nothing further on.' : `#${number}, `)
  }
})

test('a session is played to its end, in the time in which it happened times the speed', async () => {
  await using player = startPlayer({}, ['--speed', '8'])
  await player.until(`1/${statementsInShop}`)
  player.type(' ')
  await player.until('playing 8x')
  await player.until((screen) => screen.includes('paused 8x') && screen.includes(`${statementsInShop}/${statementsInShop}`))
})

test('when the window changes, the screen is the one of its new size', async () => {
  await using fresh = startPlayer({ columns: 100, rows: 30 })
  await fresh.until(`1/${statementsInShop}`)
  await goTo(fresh, 9, '(3 rows)')
  await using player = startPlayer()
  await player.until(`1/${statementsInShop}`)
  await goTo(player, 9, '(3 rows)')
  player.resize(30, 8)
  await player.until((screen) => screen.split('\n').length === 8 && /idle|paused/.test(screen.split('\n').at(-1)!))
  player.resize(10, 3)
  await player.until('A larger')
  player.resize(100, 30)
  await player.until((screen) => settled(screen) && screen.includes('(3 rows)') && screen.includes('q quits'))
  const lower = (screen: string[]): string[] => shape(screen).slice(13)
  assert.deepEqual(lower(player.screen()), lower(fresh.screen()))
})

test('nothing that was recorded reaches the terminal as a control sequence', async () => {
  await using player = startPlayer()
  await player.until(`1/${statementsInShop}`)
  await goTo(player, 18, '(1 row)')
  assert.ok(player.screen().some((line) => line.includes('\\x1B[2J\\x1B]0;mine\\x07')))
  player.type('q')
  await player.ended()
  const [taken = '', ...others] = player.written().split('\x1b]')
  assert.deepEqual(others, [], 'no title is set')
  assert.equal(taken.split('\x1b[2J').length - 1, 1, 'the screen is cleared once, at the start')
})

for (const [what, quit] of [
  ['q', (player: TerminalProgram) => player.type('q')],
  ['Ctrl-C', (player: TerminalProgram) => player.type('\x03')],
  ['Ctrl-D', (player: TerminalProgram) => player.type('\x04')],
] as const) {
  test(`after ${what} the terminal is as it was before`, async () => {
    const script = `echo first line; stty -g; '${program}' replay last --store '${storeUrl}'; echo "code $?"; stty -g`
    await using shell = startInTerminal({ command: '/bin/sh', arguments: ['-c', script], columns: 200, rows: 24 })
    await shell.until(`1/${statementsInShop}`)
    assert.equal(shell.emulator.buffer.active.type, 'alternate')
    quit(shell)
    await shell.ended()
    const [first, modes, code, modesAfterwards] = shell.screen()
    assert.deepEqual([first, code], ['first line', 'code 0'])
    assert.equal(modesAfterwards, modes)
    assert.equal(shell.emulator.buffer.active.type, 'normal')
    assert.ok(shell.written().lastIndexOf('\x1b[?25h') > shell.written().lastIndexOf('\x1b[?25l'), 'the cursor is shown')
    assert.ok(shell.written().lastIndexOf('\x1b[?7h') > shell.written().lastIndexOf('\x1b[?7l'), 'lines wrap')
  })
}

for (const [signal, code] of [
  ['SIGTERM', 143],
  ['SIGINT', 130],
  ['SIGHUP', 129],
] as const) {
  test(`a ${signal} gives the terminal back`, async () => {
    await using player = startPlayer()
    await player.until(`1/${statementsInShop}`)
    player.kill(signal)
    assert.equal((await player.ended()).exitCode, code)
    assert.equal(player.emulator.buffer.active.type, 'normal')
  })
}

test('Ctrl-Z gives the shell its terminal, and fg brings the player back', async () => {
  await using shell = startInTerminal({
    command: '/bin/sh',
    arguments: ['-i'],
    columns: 80,
    rows: 24,
    environment: { PS1: 'ready> ', ENV: '' },
  })
  await shell.until('ready>')
  shell.type(`'${program}' replay last --store '${storeUrl}'\r`)
  await shell.until(`1/${statementsInShop}`)
  shell.type('j')
  await shell.until('#2, ')
  shell.type('\x1a')
  await shell.until(/Stopped[\s\S]*ready>/)
  assert.equal(shell.emulator.buffer.active.type, 'normal')
  shell.type('fg\r')
  await shell.until((screen) => screen.includes('#2, ') && screen.includes('idle max'))
  assert.equal(shell.emulator.buffer.active.type, 'alternate')
  shell.type('q')
  await shell.until(/fg[\s\S]*ready>/)
})

test('an error gives the terminal back, and is then told', async () => {
  const broken = join(folder, 'broken')
  const store = await openStore(pathToFileURL(broken).href)
  await writeTestSession(store, { statements: 20_000, failsEvery: 20_000 })
  await using player = startInTerminal({
    command: program,
    arguments: ['replay', 'last', '--store', store.url],
    columns: 80,
    rows: 24,
  })
  await player.until('1/20000')
  rmSync(broken, { recursive: true })
  player.type(':9000\r')
  assert.equal((await player.ended()).exitCode, 1)
  assert.equal(player.emulator.buffer.active.type, 'normal')
  assert.match(player.screen().join('\n'), /RECORDING_DAMAGED/)
})

test('NO_COLOR is respected, and a dumb terminal gets plain text', async () => {
  const colour = /\x1b\[(?:\d+;)*[34]\d(?:;\d+)*m/
  await using coloured = startPlayer()
  await coloured.until(`1/${statementsInShop}`)
  await goTo(coloured, 9, '(3 rows)')
  assert.match(coloured.written(), colour)
  await using player = startPlayer({ environment: { NO_COLOR: '1' } })
  await player.until(`1/${statementsInShop}`)
  await goTo(player, 9, '(3 rows)')
  assert.doesNotMatch(player.written(), colour)
  await using dumb = startPlayer({ environment: { TERM: 'dumb' } })
  assert.equal((await dumb.ended()).exitCode, 0)
  assert.doesNotMatch(dumb.written(), /\x1b/)
  assert.match(dumb.written(), /statement 20, /)
})

test('in a pipe, and with --plain in a terminal, the session is plain text, statement by statement', async () => {
  const piped = await steno(['replay', 'last', '--store', storeUrl])
  assert.equal(piped.status, 0, piped.stderr)
  for (let number = 1; number <= statementsInShop; number++) assert.match(piped.stdout, new RegExp(`\\nstatement ${number}, `))
  assert.match(piped.stdout, /\nrow 3\n {2}id: 3\n {2}name: NULL\n {2}city is NULL\n {2}photo is NULL\n3 rows in all\n/)
  assert.match(piped.stdout, /\nLINE 1: select name, twon .*\n {21}\^\n/)
  assert.match(piped.stdout, /\nNOTICE: {2}stock of parcels is low\n/)
  assert.doesNotMatch(piped.stdout, /[\x00-\x09\x0b-\x1f\x7f-\x9f\u2500-\u257f]/)
  await using plain = startPlayer({ environment: { STENO_PAGER: 'cat' } }, ['--plain'])
  assert.equal((await plain.ended()).exitCode, 0)
  assert.equal(plain.written().replaceAll('\r\n', '\n'), piped.stdout)
  const later = await steno(['replay', 'last', '--store', storeUrl, '--from', '19'])
  assert.doesNotMatch(later.stdout, /\nstatement 18, /)
  assert.match(later.stdout, /\nstatement 19, /)
})

test('a statement that is not there is said so before the terminal is taken', async () => {
  await using player = startPlayer({}, ['--from', '77'])
  assert.equal((await player.ended()).exitCode, 1)
  assert.doesNotMatch(player.written(), /\x1b\[\?1049h/)
  assert.match(player.screen().join('\n'), /STATEMENT_NOT_FOUND/)
})

test('a session that is still being recorded grows on the screen', async () => {
  await using server = await startPostgres()
  await using proxy = await startProxyProcess({ upstream: server.url, folder: join(folder, 'live') })
  const client = new pg.Client({ connectionString: proxy.url() })
  await client.connect()
  await client.query('select 1')
  for (;;) {
    const listed = await steno(['show', 'last', '--store', proxy.storeUrl])
    if (listed.stdout.includes('select 1')) break
  }
  await using player = startInTerminal({
    command: program,
    arguments: ['replay', 'last', '--store', proxy.storeUrl],
    columns: 120,
    rows: 24,
  })
  await player.until('still being recorded')
  await player.until('1/1')
  await client.query("select 'later'")
  await player.until("select 'later'")
  await client.end()
  await player.until((screen) => !screen.includes('still being recorded'))
  player.type('q')
  assert.equal((await player.ended()).exitCode, 0)
})
