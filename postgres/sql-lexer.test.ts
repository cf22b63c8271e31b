import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { assertComputedWithin } from '../base/test-durations.ts'
import { tokensOf, type LexerOptions } from './sql-lexer.ts'

const shown = (sql: string, options: LexerOptions = {}): string[] =>
  tokensOf(sql, options).map(({ kind, start, end, complete }) => `${kind}${complete ? '' : '!'} ${sql.slice(start, end)}`)

/** Fragments that open, close and escape everything the lexer knows. */
const fragments = fc.constantFrom(
  ...[
    "'",
    "''",
    '"',
    '$$',
    '$a$',
    '$1',
    '$',
    '\\',
    "E'",
    "e'",
    "U&'",
    'U&"',
    "B'",
    "X'",
    "N'",
    '/*',
    '*/',
    '--',
    '\n',
    '\r',
    ' ',
    ';',
    '(',
    ')',
  ],
  ...[
    '0x1f',
    '1_000',
    '1.5e-7',
    '.5',
    '..',
    '::',
    ':=',
    '=>',
    '-',
    '+',
    '@-',
    'select',
    'a$b',
    'é',
    '\u0000',
    '\u2028',
    '😀',
    ',',
    '[',
    ']',
    '%',
    '!',
  ],
)

const table: [string, string[], LexerOptions?][] = [
  ['select a1$x', ['identifier select', 'identifier a1$x']],
  [`"a""b" U&"c\\0041"`, ['quotedIdentifier "a""b"', 'quotedIdentifier U&"c\\0041"']],
  [`'a''b' 'c\\'`, [`string 'a''b'`, `string 'c\\'`]],
  [`'c\\'d' x`, [`string 'c\\'d'`, 'identifier x'], { standardConformingStrings: false }],
  [`E'a\\'b' e'\\\\'`, [`escapeString E'a\\'b'`, `escapeString e'\\\\'`]],
  [`'a' -- c\n 'b' 'c'`, [`string 'a' -- c\n 'b'`, `string 'c'`]],
  [`'a' /* c */ \n 'b'`, [`string 'a'`, 'comment /* c */', `string 'b'`]],
  [`E'a'\n'\\''`, [`escapeString E'a'\n'\\''`]],
  [`U&'d\\0061' B'01' X'1f' N'x'`, [`unicodeString U&'d\\0061'`, `bitString B'01'`, `bitString X'1f'`, 'identifier N', `string 'x'`]],
  ['$$a$b$$ $q$ $$ $q$ $1', ['dollarString $$a$b$$', 'dollarString $q$ $$ $q$', 'parameter $1']],
  ['$a b$', ['other $', 'identifier a', 'identifier b$']],
  [
    '0x1F 1_000 1.5e-7 .5 1..2 3.',
    ['number 0x1F', 'number 1_000', 'number 1.5e-7', 'number .5', 'number 1', 'punctuation ..', 'number 2', 'number 3.'],
  ],
  ['a=-1', ['identifier a', 'operator =', 'operator -', 'number 1']],
  ['a @- b', ['identifier a', 'operator @-', 'identifier b']],
  [
    'a::int b:=c d=>e',
    'identifier a,punctuation ::,identifier int,identifier b,punctuation :=,identifier c,identifier d,operator =>,identifier e'.split(','),
  ],
  ['/* a /* b */ c */ x', ['comment /* a /* b */ c */', 'identifier x']],
  ['a-- b\rc', ['identifier a', 'comment -- b', 'identifier c']],
  ['a*/* b */c', ['identifier a', 'operator *', 'comment /* b */', 'identifier c']],
  [`'open`, [`string! 'open`]],
  ['"open', ['quotedIdentifier! "open']],
  ['$x$ open $y$', ['dollarString! $x$ open $y$']],
  ['/* /* */', ['comment! /* /* */']],
  [`E'\\`, [`escapeString! E'\\`]],
]

for (const [sql, expected, options] of table) {
  test(`tokens of ${JSON.stringify(sql)} are as the server reads them`, () => assert.deepEqual(shown(sql, options), expected))
}

test('any text gives tokens in order that cover all but white space', () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fragments, fc.string({ unit: 'binary', maxLength: 3 })), { maxLength: 30 }),
      fc.boolean(),
      (parts, standardConformingStrings) => {
        const sql = parts.join('')
        let covered = 0
        for (const { start, end } of tokensOf(sql, { standardConformingStrings })) {
          assert.ok(start >= covered && end > start)
          assert.match(sql.slice(covered, start), /^[ \t\n\r\f\v]*$/)
          covered = end
        }
        assert.match(sql.slice(covered), /^[ \t\n\r\f\v]*$/)
      },
    ),
    { numRuns: 2_000 },
  )
})

// Goal: no text makes the lexer slow. Method: each fragment half a million characters long; quadratic would take minutes.
test('time grows linearly with the text, whatever is repeated', () => {
  for (const unit of [
    "'",
    "''",
    "'a' ",
    '$$',
    '$a',
    '$a$ ',
    '/*',
    '*/',
    '--',
    "E'\\",
    "'a'\n--\n",
    '"',
    '(',
    '1.',
    '1e-',
    '@-',
    'U&"',
    "'a' --",
  ]) {
    const text = unit.repeat(500_000 / unit.length)
    assertComputedWithin(2_000, () => tokensOf(text), unit)
  }
})
