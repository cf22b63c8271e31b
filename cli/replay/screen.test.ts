/**
 * Goal: what a person sees, and what keys do. Method: whole screens as text from plain states, keys pressed one after the other.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Key } from './keys.ts'
import type { Size } from './layout.ts'
import { asciiMarks, marksFor, unicodeMarks } from './marks.ts'
import { press, type Effect } from './press.ts'
import { screenOf } from './screen.ts'
import type { PlayerState } from './state.ts'
import { lineCells, textOfLine } from './styled-text.ts'
import { testState, testStatement } from './test-state.ts'

const usual: Size = { columns: 80, rows: 24 }

function shown(state: PlayerState, size: Size = usual): string[] {
  return screenOf(state, size, unicodeMarks).map((line) => textOfLine(line).trimEnd())
}

function pressed(state: PlayerState, keys: string, size: Size = usual): { state: PlayerState; effects: Effect[] } {
  const named: Readonly<Record<string, Key>> = { '\r': { kind: 'enter' }, '\t': { kind: 'tab' }, '\x1b': { kind: 'escape' } }
  const effects: Effect[] = []
  let now = state
  for (const character of keys) {
    const { state: next, effect } = press(now, named[character] ?? { kind: 'text', text: character }, size)
    now = next
    if (effect !== null) effects.push(effect)
  }
  return { state: now, effects }
}

const failed = {
  outcome: 'failed',
  tag: null,
  error: { severity: 'ERROR', code: '42703', message: 'column "wrong" does not exist', position: '8' },
} as const

const session = [
  testStatement(1),
  testStatement(2, { sql: 'begin', tag: 'BEGIN' }),
  testStatement(3, { sql: 'update orders\n  set note = $1', transactionBefore: 'T', tag: 'UPDATE 1' }),
  testStatement(4, { sql: 'select wrong', transactionBefore: 'T', ...failed }),
  testStatement(5, { sql: 'rollback', transactionBefore: 'E', tag: 'ROLLBACK' }),
  testStatement(6, { sql: 'select 6' }),
]

test('the screen shows the list with its transactions, and the selected statement below', () => {
  assert.deepEqual(shown({ ...testState(session), selected: 4 }), [
    ' agent@shop  2026-11-21 09:00:00 UTC  session 01a1fd55-7a80-7000-8000-0000000000',
    '   #          at      took      sql',
    '   1    +1.000 s   10.0 ms ✓   select 1',
    '   2    +2.000 s   10.0 ms ✓ ┌ begin',
    '   3    +3.000 s   10.0 ms ✓ │ update orders set note = $1',
    '   4    +4.000 s   10.0 ms ✗ │ select wrong',
    '   5    +5.000 s   10.0 ms ✓ └ rollback',
    '   6    +6.000 s   10.0 ms ✓   select 6',
    '',
    '── #4, +4.000 s, took 10.0 ms, ERROR 42703 ─────────────────────────────────────',
    'select wrong',
    '',
    'ERROR:  column "wrong" does not exist',
    '',
    'statement  4 of session 01a1fd55-7a80-7000-8000-000000000001',
    'when       2026-11-21 09:00:04.000 UTC (+4.000 s), took 10.0 ms',
    'how        simple query',
    'result     ERROR 42703, 0 rows, 0 bytes',
    'began      inside a transaction',
    'decision   allow, as no policy is set',
    'records    8 to 9',
    '',
    '',
    'paused 1x  +4.000 s  4/6  idle max 2 s              space plays  ? help  q quits',
  ])
})

test('start-up parameters, which change what a statement means, stand with its circumstances', () => {
  const state = testState(session)
  assert.ok(!shown(state).some((text) => text.startsWith('start-up')))
  const startup = { agent: { options: '-c role=boss -c search_path=shadow\x1b[2J', DateStyle: 'ISO' }, operator: {} }
  const lines = shown({ ...state, identity: { ...state.identity, startup } }, { columns: 100, rows: 40 })
  const at = lines.findIndex((text) => text.startsWith('start-up'))
  assert.match(lines[at] ?? '', /^start-up   options="-c role=boss -c search_path=shadow[^\x1b]*", DateStyle=ISO$/)
  assert.match(lines[at - 1] ?? '', /^records /)
})

test('every size gives a screen of that size', () => {
  for (let columns = 1; columns <= 130; columns += 3) {
    for (let rows = 1; rows <= 45; rows++) {
      for (const focus of ['list', 'detail'] as const) {
        for (const help of [true, false]) {
          const lines = screenOf({ ...testState(session), focus, help }, { columns, rows }, unicodeMarks)
          assert.equal(lines.length, rows)
          for (const line of lines) assert.ok(lineCells(line) <= columns, `${columns}x${rows}`)
        }
      }
    }
  }
})

test('a small terminal shows the list or the statement, whichever has the keys', () => {
  const small = { columns: 40, rows: 8 }
  assert.match(shown(testState(session), small).join('\n'), /begin/)
  const inDetail = pressed(testState(session), '\t', small).state
  assert.match(shown(inDetail, small).join('\n'), /#1, .*\nselect 1\n/)
  assert.match(shown(testState(session), { columns: 10, rows: 3 }).join('\n'), /^A larger/)
})

test('statements are stepped through and jumped to', () => {
  const start = testState(session)
  assert.equal(pressed(start, 'jj').state.selected, 3)
  assert.equal(pressed(start, 'jjk').state.selected, 2)
  assert.equal(pressed(start, 'k').state.selected, 1)
  assert.equal(pressed(start, ':5\r').state.selected, 5)
  assert.match(shown(pressed(start, ':77\r').state).at(-1)!, /numbers 1 to 6/)
  assert.equal(press(start, { kind: 'end' }, usual).state.selected, 6)
  assert.equal(press({ ...start, selected: 6 }, { kind: 'home' }, usual).state.selected, 1)
})

test('the list moves so that the selected statement is always in it', () => {
  const long = testState(Array.from({ length: 100 }, (_, index) => testStatement(index + 1)))
  let state = long
  for (const kind of ['end', 'pageUp', 'up', 'pageUp', 'down', 'home', 'pageDown', 'pageDown', 'end', 'home'] as const) {
    state = press(state, { kind }, usual).state
    const row = shown(state)
      .slice(2, 9)
      .findIndex((text) => text.startsWith(String(state.selected).padStart(4)))
    assert.ok(row >= 0, `${kind}: ${state.selected}`)
  }
})

test('searches, tables, failures and times are asked for outside', () => {
  const start = testState(session)
  assert.deepEqual(pressed(start, '/Wrong\r').effects, [{ kind: 'search', find: { kind: 'text', text: 'Wrong' }, direction: 1 }])
  assert.deepEqual(pressed(start, 'torders\r').effects, [{ kind: 'search', find: { kind: 'table', name: 'orders' }, direction: 1 }])
  assert.deepEqual(
    pressed(start, 'fF').effects.map((effect) => effect.kind === 'search' && effect.direction),
    [1, -1],
  )
  const found = pressed(start, '/a\r').state
  assert.deepEqual(pressed(found, 'nN').effects, [
    { kind: 'search', find: { kind: 'text', text: 'a' }, direction: 1 },
    { kind: 'search', find: { kind: 'text', text: 'a' }, direction: -1 },
  ])
  assert.deepEqual(pressed(start, 'g1:30\r').effects, [{ kind: 'goToTime', milliseconds: 90_000 }])
  assert.match(shown(pressed(start, 'gnoon\r').state).at(-1)!, /A time is/)
  assert.match(shown(pressed(start, 'n').state).at(-1)!, /Nothing was searched/)
})

test('what is typed into a prompt is no command, and Esc leaves it', () => {
  const { state, effects } = pressed(testState(session), '/quit')
  assert.deepEqual(effects, [])
  assert.equal(shown(state).at(-1), '/quit')
  assert.equal(pressed(state, '\x1b').state.prompt, null)
})

test('keys play, pause, and change the speed', () => {
  const start = testState(session)
  const playing = pressed(start, ' ').state
  assert.equal(playing.playback.playing, true)
  assert.match(shown(playing).at(-1)!, /^playing 1x/)
  assert.equal(pressed(playing, ' ').state.playback.playing, false)
  assert.equal(pressed(start, '++').state.playback.speed, 4)
  assert.equal(pressed(start, '-').state.playback.speed, 0.5)
  assert.equal(pressed(start, 'i').state.playback.capsIdle, false)
  // Played to the end it starts again.
  assert.equal(pressed({ ...start, selected: 6 }, ' ').state.selected, 1)
})

test('q, Ctrl-C and Ctrl-D quit, from the help too', () => {
  for (const key of [{ kind: 'text', text: 'q' }, { kind: 'interrupt' }, { kind: 'endOfInput' }] as const) {
    for (const help of [true, false]) assert.equal(press({ ...testState(session), help }, key, usual).effect?.kind, 'quit')
  }
})

test('the detail scrolls and says how far, and its wide rows move sideways', () => {
  const columns = [{ name: 'a', typeOid: 25, typeModifier: -1, format: 'text' as const }]
  const statement = testStatement(1, { rows: 60, columns })
  const rows = Array.from({ length: 50 }, (_, index) => [`${index} ${'x'.repeat(100)} end`])
  const result = {
    statement,
    columns: [{ name: 'a', align: 'left' as const }],
    rows,
    copies: [],
    queryText: null,
    settings: settingsOf(),
    brokenBy: null,
  }
  const start = testState([statement], { result: { kind: 'read', number: 1, rowsMax: 50, result }, rowsMax: 50 })
  assert.match(shown(start)[9]!, /lines 1-13\/63, column 1\/109/)
  const down = pressed(start, '\tjj').state
  assert.equal(down.detailTop, 2)
  assert.match(shown(down)[9]!, /lines 3-15\/63/)
  let right = start
  for (let step = 0; step < 20; step++) right = press(right, { kind: 'right' }, usual).state
  assert.equal(right.sideways, 29)
  assert.ok(shown(right).some((text) => text.endsWith('x end')))
  // What has no columns stays.
  assert.equal(shown(right)[10], 'select 1')
  const end = press(down, { kind: 'end' }, usual).state
  assert.ok(shown(end).some((text) => text === '… 10 more rows: m reads more'))
  assert.equal(pressed(start, 'm').state.rowsMax, 250)
  assert.equal(pressed(start, 'mm').state.rowsMax, 250)
})

test('a terminal without UTF-8 is drawn on with ASCII', () => {
  assert.equal(marksFor({ LANG: 'en_US.ISO-8859-1' }), asciiMarks)
  assert.equal(marksFor({ LANG: 'C', LC_ALL: 'de_DE.UTF-8' }), unicodeMarks)
  assert.equal(marksFor({}), unicodeMarks)
  const text = screenOf({ ...testState(session), selected: 4 }, usual, asciiMarks)
    .map(textOfLine)
    .join('\n')
  assert.doesNotMatch(text, /[^\n\x20-\x7e]/)
})

test('a session without statements, and one whose statements have not ended, are shown as such', () => {
  assert.match(shown(testState([])).join('\n'), /No statement is recorded yet/)
  const state = {
    ...testState([testStatement(2)]),
    lines: new Map([
      [1, null],
      [2, testStatement(2)],
    ]),
  }
  assert.match(shown(state)[2]!, /not ended yet/)
  assert.match(shown(state).join('\n'), /This statement has not ended yet/)
})

function settingsOf() {
  return { timeZone: 'UTC', dateStyle: 'ISO, MDY', intervalStyle: 'postgres', clientEncoding: 'UTF8' }
}
