/** Goal: what a script writes of a text is that text for psql, and never more. The round through a real psql is in e2e/rerun. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { commentLines, literal, queryLines } from './psql-text.ts'

test('a statement stands as it was where psql reads it so', () => {
  assert.deepEqual(queryLines("select a::int from t where b = 'x;:y' -- why"), ["select a\\:\\:int from t where b = 'x;:y' -- why", '\\g'])
  assert.deepEqual(queryLines('begin; commit'), ['begin\\; commit', '\\g'])
  assert.deepEqual(queryLines('select 1,\n  $$ a; b $$'), ['select 1,', '  $$ a; b $$', '\\g'])
})

test('a statement that psql would change, or take for a command, is in a string', () => {
  for (const sql of [
    '\\! ls',
    "select 'a\\'",
    ' select 1',
    '-- x\nselect 1',
    'select 1,\n\n2',
    "select 'open",
    'select "open',
    '/* open',
    'select 1\r\n',
    'a$b',
    "E'x'",
    '/* /* */ */ select 1',
  ]) {
    const lines = queryLines(sql)
    assert.deepEqual(lines, [`SELECT $steno$${sql}$steno$`, '\\gexec'], JSON.stringify(sql))
  }
  assert.deepEqual(queryLines("select 'ī'"), ["SELECT E'select ''\\u012b'''", '\\gexec'])
})

test('the tag of a string is nowhere in it', () => {
  assert.deepEqual(queryLines('\\ $steno$ $steno'), ['SELECT $steno1$\\ $steno$ $steno$steno1$', '\\gexec'])
  assert.deepEqual(queryLines('\\ $steno'), ['SELECT $steno1$\\ $steno$steno1$', '\\gexec'])
})

test('of nothing there is nothing: an empty \\g would repeat the statement before', () => {
  for (const sql of ['', ' \n', '-- x', '/* x */ -- y\n']) assert.equal(queryLines(sql), null)
})

test('what stands outside quotes of a script never begins with a backslash but \\; \\: \\g and \\gexec, and is ASCII', () => {
  const piece = fc.constantFrom("'", '"', '$$', '\\', ';', ':', '--', '/*', '*/', '\n', 'a', ' ', 'é', '(', '$1', '\u0000'.slice(1), '\r')
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 14 }).map((parts) => parts.join('')),
      (sql) => {
        const lines = queryLines(sql) ?? []
        assert.match(lines.join('\n'), /^[\t\n\r\x20-\x7e]*$/)
        const body = lines.slice(0, -1).join('\n')
        if (lines.at(-1) === '\\g') assert.equal(body.replaceAll(/\\([;:])/g, '$1'), sql)
      },
    ),
  )
})

test('a literal is one line of ASCII', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => assert.match(literal(text), /^E?'[\x20-\x7e]*'$/)))
  assert.equal(literal("it's"), "'it''s'")
  assert.equal(literal('a\\b\n😀\u0001'), "E'a\\\\b\\n\\U0001f600\\x01'")
})

test('a comment never leaves its line', () => {
  for (const text of ['a\n\\! ls', 'a\r\\! ls', 'a\r\n\\! ls', 'a\u0085b\u2028c', 'a\fb\vc']) {
    for (const line of commentLines(text)) assert.match(line, /^--(?: [^\x00-\x1f\x7f-\x9f]*)?$/)
  }
})
