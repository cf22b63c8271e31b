/**
 * A short value that is the same for statements that differ only in literals, layout and list lengths.
 *
 * `l1:` and 16 hexadecimal characters. Algorithm l1, over the tokens of `sql-lexer.ts`:
 * comments, white space and semicolons at the end are dropped; string, bit and number literals (with a sign that can only be theirs)
 * and parameters become `?`; unquoted identifiers and keywords are lower-cased (ASCII); in `IN (…)`, `ARRAY[…]` and `VALUES …` an
 * element like the one before it is dropped, where TRUE, FALSE, NULL and DEFAULT count as `?`. Each remaining token is hashed into two 32-bit numbers, and these in order into the value.
 * It groups, it does not protect: not cryptographic, and collisions can be made on purpose. A value of the grammar's own tree would come under another prefix.
 * Only the first 131,072 characters of a text count. Two generations of up to 512 texts are cached.
 */
import { SqlLexer } from './sql-lexer.ts'

const charactersMax = 131_072
const cachedCharactersMax = 1_000
const generationEntriesMax = 512

let young = new Map<string, string>()
let old = new Map<string, string>()

/** The fingerprint of one statement's text; never throws. */
export function fingerprint(sql: string): string {
  if (sql.length > cachedCharactersMax) return compute(sql.slice(0, charactersMax))
  const known = young.get(sql)
  if (known !== undefined) return known
  const value = old.get(sql) ?? compute(sql)
  if (young.size >= generationEntriesMax) {
    old = young
    young = new Map()
  }
  young.set(sql, value)
  return value
}

/** Two hashes per token, reused between calls. */
let first = new Int32Array(256)
let second = new Int32Array(256)

function hashOf(text: string): number {
  return hashSpan(text, 0, text.length, 0)
}

/** The other hash of what `hashSpan` hashed last. */
let otherHash = 0

/** FNV-1a over UTF-16 units, twice with other constants; `fold` is 0x20 to lower-case ASCII letters on the way. */
function hashSpan(text: string, start: number, end: number, fold: number): number {
  let hash = 0x811c9dc5 | 0
  let other = 0x2545f491 | 0
  for (let at = start; at < end; at++) {
    let code = text.charCodeAt(at)
    if (code >= 0x41 && code <= 0x5a) code |= fold
    hash = Math.imul(hash ^ code, 0x01000193)
    other = Math.imul(other ^ code, 0x85ebca6b)
  }
  otherHash = other ^ (other >>> 16)
  return hash
}

const literal = hashOf('?')
const literalOther = otherHash
const comma = hashOf(',')
const semicolon = hashOf(';')
const open = hashOf('(')
const close = hashOf(')')
const openBracket = hashOf('[')
const closeBracket = hashOf(']')
const inWord = hashOf('in')
const arrayWord = hashOf('array')
const valuesWord = hashOf('values')
const minus = hashOf('-')
const plus = hashOf('+')
const literalWords = new Set([hashOf('true'), hashOf('false'), hashOf('null'), hashOf('default')])

function compute(sql: string): string {
  let count = readTokens(sql)
  while (count > 0 && first[count - 1] === semicolon) count--
  count = foldLists(count)
  let high = 0x9e3779b9 | 0
  let low = 0x7f4a7c15 | 0
  for (let at = 0; at < count; at++) {
    high = Math.imul(high ^ first[at]!, 0x01000193)
    high ^= high >>> 15
    low = Math.imul(low ^ second[at]!, 0xcc9e2d51)
    low ^= low >>> 13
  }
  return `l1:${hex(finish(high ^ count))}${hex(finish(low))}`
}

function finish(hash: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return mixed ^ (mixed >>> 16)
}

const hex = (value: number): string => (value >>> 0).toString(16).padStart(8, '0')

/** Fills `first` and `second`; returns the number of tokens. */
function readTokens(sql: string): number {
  const lexer = new SqlLexer(sql)
  let count = 0
  let signMayFollow = true
  while (lexer.next()) {
    const { kind, start, end } = lexer
    if (kind === 'comment') continue
    if (count === first.length) grow()
    switch (kind) {
      case 'identifier':
        first[count] = hashSpan(sql, start, end, 0x20)
        signMayFollow = false
        break
      case 'punctuation':
      case 'operator':
        first[count] = hashSpan(sql, start, end, 0)
        if (signMayFollow && end - start === 1 && (first[count] === minus || first[count] === plus) && nextIsDigit(sql, end)) continue
        signMayFollow = kind === 'operator' || first[count] === open || first[count] === comma || first[count] === openBracket
        break
      case 'quotedIdentifier':
      case 'other':
        first[count] = quotedHash(sql, start, end)
        signMayFollow = false
        break
      default:
        first[count] = literal
        otherHash = literalOther
        signMayFollow = false
    }
    second[count] = otherHash
    count++
  }
  return count
}

function nextIsDigit(sql: string, at: number): boolean {
  const code = sql.charCodeAt(at)
  return code >= 0x30 && code <= 0x39
}

/** `"name"` and `name` are the same identifier when the quotes change nothing. */
function quotedHash(sql: string, start: number, end: number): number {
  for (let at = start + 1; at < end - 1; at++) {
    const code = sql.charCodeAt(at)
    const plain = (code >= 0x61 && code <= 0x7a) || code === 0x5f || (at > start + 1 && code >= 0x30 && code <= 0x39)
    if (!plain) return hashSpan(sql, start, end, 0)
  }
  return hashSpan(sql, start + 1, end - 1, 0)
}

function grow(): void {
  const wider = [new Int32Array(first.length * 2), new Int32Array(first.length * 2)] as const
  wider[0].set(first)
  wider[1].set(second)
  ;[first, second] = wider
}

/** Drops repeated list elements in place; returns the number of tokens that stay. */
function foldLists(count: number): number {
  let to = 0
  for (let at = 0; at < count;) {
    const token = first[at]!
    const opening = first[at + 1]
    const folds =
      at + 1 < count &&
      ((token === valuesWord && opening === open) ||
        (token === inWord && opening === open) ||
        (token === arrayWord && opening === openBracket))
    move(at++, to++)
    if (!folds) continue
    if (token !== valuesWord) move(at++, to++)
    const rows = token === valuesWord
    for (let previous = -1, previousEnd = -1; ;) {
      const end = elementEnd(at, count, rows)
      for (let inner = at; inner < end; inner++) if (literalWords.has(first[inner]!)) makeLiteral(inner)
      const repeated = previous >= 0 && sameElement(previous, previousEnd, at, end)
      if (repeated) {
        to-- // The comma before it.
      } else {
        previous = to
        for (let from = at; from < end; from++) move(from, to++)
        previousEnd = to
      }
      at = end
      const more = at < count && first[at] === comma && (!rows || (at + 1 < count && first[at + 1] === open))
      if (!more) break
      move(at++, to++)
    }
  }
  return to
}

function move(from: number, to: number): void {
  first[to] = first[from]!
  second[to] = second[from]!
}

/** One row stands for rows with and without NULLs. */
function makeLiteral(at: number): void {
  first[at] = literal
  second[at] = literalOther
}

/** The end of the list element that starts at `at`: behind a row's closing parenthesis, else before the comma or bracket that ends it. */
function elementEnd(at: number, count: number, isRow: boolean): number {
  let depth = 0
  for (let end = at; end < count; end++) {
    const token = first[end]!
    if (token === open || token === openBracket) depth++
    else if (token === close || token === closeBracket) {
      if (depth === 0) return end
      if (--depth === 0 && isRow) return end + 1
    } else if (token === comma && depth === 0) return end
  }
  return count
}

function sameElement(a: number, aEnd: number, b: number, bEnd: number): boolean {
  if (aEnd - a !== bEnd - b) return false
  for (let offset = 0; offset < aEnd - a; offset++) {
    if (first[a + offset] !== first[b + offset] || second[a + offset] !== second[b + offset]) return false
  }
  return true
}
