/**
 * Goal: a script of `steno replay --as sql`, run by a real psql, says to a real server what the session said, byte for byte, and nothing
 * that any data holds becomes a command of psql.
 * Method: sessions full of what could break out are recorded; the script runs on a fresh copy; the server's own log of both is compared.
 * Every attack tries to make a file; there must be none.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { encodeMessage } from '../../postgres/startup-messages.ts'
import { clientOf, converse, pipeline, sayAll } from './script-talk.ts'
import { createScriptWorld, type ScriptWorld } from './script-world.ts'

let world: ScriptWorld
before(async () => {
  world = await createScriptWorld()
})
after(() => world[Symbol.asyncDispose]())

test('a script says byte for byte what the session said, with its transactions and errors', async () => {
  const texts = [
    'create table t (id int primary key, a text)',
    "insert into t values (1, 'one'), (2, 'tw;o')",
    'begin',
    "insert into t values (3, 'three')",
    "insert into t values (3, 'again')",
    'select 1',
    'rollback',
    'begin; insert into t values (4, $$fo;ur$$); commit',
    "insert into t values (5, 'x'); select 1/0",
    "select id::int, a from t where a like '%:b' and id = any(array[1,2]) -- a comment",
    '  select 1',
    '-- first a comment\nselect 2',
    '/* first a comment */ select 3',
    'select 4,\n\n  5',
    'select 6;\n',
    'create function f() returns int language sql begin atomic; select 1; select 2; end',
    "select 'Rīga', 'ž\\', '😀', E'\\x41'",
    "select '\r\n'",
    'select from where',
    '',
    '-- nothing',
    'select f()',
  ]
  const { original, again, script, psql: ran, query } = await world.scripted({ speak: sayAll(texts) })
  assert.deepEqual(
    again,
    original.filter((text) => text.trim() !== '' && text !== '-- nothing').map((text) => text),
  )
  assert.match(script, /^-- 6: ERROR 25P02: current transaction is aborted/m)
  assert.deepEqual(await query('select id from t order by id'), [{ id: 1 }, { id: 2 }, { id: 4 }])
  assert.equal(ran.status, 0)
})

test('nothing in a statement becomes a command of psql', async () => {
  const file = world.canary
  const texts = [
    `select 1 \\! touch ${file}`,
    `\\! touch ${file}`,
    `select 1\n\\! touch ${file}\n`,
    `select 'a\\'; \\! touch ${file}`,
    `select 'open\n\\! touch ${file}`,
    `select "open\n\\! touch ${file}`,
    `/* open\n\\! touch ${file}`,
    `select $a$ open\n\\! touch ${file}`,
    `select 1 -- \r\\! touch ${file}`,
    `select '$steno$ \\gexec', $steno1$ $steno$ \\gexec\n\\! touch ${file}\n $steno1$, $steno`,
    `select 1 as x \\g |touch ${file}`,
    `select '\`touch ${file}\`' \\o |touch ${file}`,
    `select :'USER', :PORT, :{?PORT}, :"USER"`,
    `select 1 as "a:PORT;b", 'x:PORT', array[1,2,3][1:PORT], 1::VERSION`,
    'set standard_conforming_strings = off',
    `select 'a\\'; \\! touch ${file}`,
    `select 'a\\' || ' \\! touch ${file} '`,
    `select E'\\'; \\! touch ${file} '`,
    'set standard_conforming_strings = on',
    `select U&'\\0061' '\\! touch ${file}'`,
    `do $$ begin raise exception E'x\\n\\\\! touch ${file}\\r\\\\! touch ${file}'; end $$`,
    `do $$ begin raise notice E'\\n\\\\! touch ${file}'; end $$`,
    `(select 1;\n\\! touch ${file}`,
    `select /* /* */ \\! touch ${file}\n */ 1`,
    `select '\u0001\u001b[2J', 'é'; \\! touch ${file}`,
    '\\.',
  ]
  const { original, again } = await world.scripted({ speak: sayAll(texts) })
  assert.deepEqual(again, original)
  await world.noCanary()
})

test('an encoding that a session chooses cannot swallow the end of a string in the script', async () => {
  const file = world.canary
  const { psql: ran, query } = await world.scripted({
    prepare: 'create table t (a text)',
    async speak(proxy, database) {
      const client = await clientOf(proxy, database)
      await client.query("set client_encoding = 'SJIS'")
      // The last byte of this letter in UTF-8 is the first of two in Shift JIS, so psql would not see the character behind it.
      const letter = Buffer.from([0x82, 0xa0])
      for (const [front, behind] of [
        ["insert into t values ('", "')"],
        ["insert into t values ('\\') -- ", ''],
      ] as const) {
        await converse(client, ({ stream }) => stream.write(encodeMessage('Q', Buffer.from(front), letter, Buffer.from(`${behind}\0`))))
        await client.query(`\\! touch ${file}`).catch(() => undefined)
      }
      await client.end()
    },
  })
  assert.deepEqual(await query('select a from t order by a desc'), [{ a: 'あ' }, { a: '\\' }], ran.stderr)
  await world.noCanary()
})

test('the script is what the session said for any text', async () => {
  const file = world.canary
  const piece = fc.constantFrom(
    ...[
      "'",
      '"',
      '$$',
      '$a$',
      '$steno$',
      '\\',
      '\\g',
      `\\! touch ${file}`,
      '\\.',
      ';',
      ':x',
      ":'x'",
      '::int',
      '--',
      '/*',
      '*/',
      '\n',
      '\n\n',
      '\r\n',
      ' ',
      '\t',
    ],
    ...[
      'select ',
      "E'",
      "U&'",
      "B'",
      'a',
      '1',
      '1$',
      '$1',
      '(',
      ')',
      ',',
      'é',
      '東',
      '😀',
      '`',
      '=',
      '-',
      '@',
      "''",
      '\\\\',
      '|',
      '\u0001',
    ],
  )
  const texts = fc.sample(
    fc.array(piece, { minLength: 1, maxLength: 12 }).map((parts) => parts.join('')),
    { numRuns: 400, seed: 11 },
  )
  const { original, again } = await world.scripted({ speak: sayAll([...texts, 'rollback', ...texts.map((text) => `select ${text}`)]) })
  assert.deepEqual(
    again,
    original.filter((text) => !isNothing(text)),
  )
  await world.noCanary()
})

/** A text of only comments and white space: psql would not send it, nor does the script try. */
const isNothing = (text: string): boolean => text.replaceAll(/\/\*.*?\*\/|--[^\n\r]*/gs, '').trim() === ''

test('several executions before one Sync stay one transaction', async () => {
  const { query, script } = await world.scripted({
    prepare: 'create table t (id int primary key)',
    async speak(proxy, database) {
      const client = await clientOf(proxy, database)
      await pipeline(client, [{ text: 'insert into t values (1)' }, { text: 'insert into t values (2)' }])
      await pipeline(client, [
        { text: 'insert into t values (3)' },
        { text: 'insert into t values (1)' },
        { text: 'insert into t values (4)' },
      ])
      await client.end()
    },
  })
  assert.deepEqual(await query('select id from t order by id'), [{ id: 1 }, { id: 2 }])
  assert.match(script, /^-- NOT RUN: the server skipped it/m)
})

test('what was redacted is no statement of the script', async () => {
  const { script, again } = await world.scripted({
    speak: sayAll(["create role script_reader password 'not to be seen'", 'select 1']),
  })
  assert.match(script, /^-- NOT RUN: its literals were replaced/m)
  assert.deepEqual(again, ['select 1'])
})
