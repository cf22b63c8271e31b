/**
 * The SQL commands that define, use and drop prepared statements and cursors, read from the first words of a statement.
 *
 * Sees only top-level commands: what a function or DO block prepares stays unseen. Unicode-escaped names (`U&"…"`) are not decoded.
 */
import { SqlLexer } from '../sql-lexer.ts'

export type SqlCommand =
  | { readonly kind: 'prepare'; readonly name: string; readonly text: string }
  | { readonly kind: 'execute'; readonly name: string }
  | { readonly kind: 'deallocate'; readonly name: string; readonly all: boolean }
  | { readonly kind: 'discardAll' }
  | { readonly kind: 'declare'; readonly name: string; readonly text: string; readonly hold: boolean }
  | { readonly kind: 'fetch'; readonly name: string }
  | { readonly kind: 'closeCursor'; readonly name: string; readonly all: boolean }

/** The command of `sql`, or null for all other statements, which costs a look at the first letter for most. */
export function readSqlCommand(sql: string, standardConformingStrings: boolean): SqlCommand | null {
  if (!mayBeCommand(sql)) return null
  const words = new Words(sql, standardConformingStrings)
  switch (words.next()) {
    case 'prepare':
      return prepare(words)
    case 'execute':
      return named(words, (name) => ({ kind: 'execute', name }))
    case 'explain':
    case 'create':
      return executeInside(words)
    case 'deallocate':
      return named(words.skip('prepare'), (name, plain) => ({ kind: 'deallocate', name, all: plain === 'all' }))
    case 'discard':
      return words.next() === 'all' ? { kind: 'discardAll' } : null
    case 'declare':
      return declare(words)
    case 'fetch':
    case 'move':
      return fetch(words)
    case 'close':
      return named(words, (name, plain) => ({ kind: 'closeCursor', name, all: plain === 'all' }))
    default:
      return null
  }
}

/** Space, `-`, `/` and the first letters of the commands, both cases. */
function mayBeCommand(sql: string): boolean {
  const code = sql.charCodeAt(0)
  if (code <= 0x20 || code === 0x2d || code === 0x2f) return true
  switch (code | 0x20) {
    case 0x63: // c
      // COPY and COMMIT are frequent, CREATE is long.
      return (sql.charCodeAt(1) | 0x20) === 0x6c || /\bexecute\b/i.test(sql)
    case 0x64: // d
      return (sql.charCodeAt(2) | 0x20) !== 0x6c && (sql.charCodeAt(1) | 0x20) !== 0x72 // Not DELETE, not DROP.
    case 0x65: // e
    case 0x66: // f
    case 0x6d: // m
    case 0x70: // p
      return true
    default:
      return false
  }
}

/** The tokens without comments: keywords and unquoted names folded to lower case. */
class Words {
  readonly #lexer: SqlLexer
  #again = false
  constructor(sql: string, standardConformingStrings: boolean) {
    this.#lexer = new SqlLexer(sql, { standardConformingStrings })
  }

  #advance(): boolean {
    if (this.#again) {
      this.#again = false
      return true
    }
    for (;;) {
      if (!this.#lexer.next()) return false
      if (this.#lexer.kind !== 'comment') return true
    }
  }

  /** The next token: an unquoted word folded, anything else as '' (`name()` reads it). Null at the end. */
  next(): string | null {
    if (!this.#advance()) return null
    return this.#lexer.kind === 'identifier' ? fold(this.#raw()) : ''
  }

  /** The name that the last token is, or null. */
  name(): string | null {
    if (this.#lexer.kind === 'identifier') return fold(this.#raw())
    const raw = this.#raw()
    if (this.#lexer.kind !== 'quotedIdentifier' || !raw.startsWith('"') || !this.#lexer.complete) return null
    return raw.slice(1, -1).replaceAll('""', '"')
  }

  skip(word: string): this {
    this.#again = this.next() !== word
    return this
  }

  isPunctuation(text: string): boolean {
    return this.#lexer.kind === 'punctuation' && this.#raw() === text
  }

  rest(): string {
    return this.#lexer.text.slice(this.#lexer.end).trim()
  }

  #raw(): string {
    return this.#lexer.text.slice(this.#lexer.start, this.#lexer.end)
  }
}

const fold = (word: string): string => word.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase())

function named(words: Words, make: (name: string, plain: string) => SqlCommand): SqlCommand | null {
  const plain = words.next()
  if (plain === null) return null
  const name = words.name()
  return name === null ? null : make(name, plain)
}

function prepare(words: Words): SqlCommand | null {
  if (words.next() === null) return null
  const name = words.name()
  if (name === null) return null
  for (let depth = 0, word = words.next(); word !== null; word = words.next()) {
    if (words.isPunctuation('(')) depth++
    else if (words.isPunctuation(')')) depth--
    else if (depth === 0 && word === 'as') return { kind: 'prepare', name, text: words.rest() }
  }
  return null // PREPARE TRANSACTION
}

/** EXPLAIN … EXECUTE name, CREATE TABLE … AS EXECUTE name. */
function executeInside(words: Words): SqlCommand | null {
  let before = 'explain'
  for (let depth = 0, word = words.next(); word !== null; word = words.next()) {
    if (words.isPunctuation('(')) depth++
    else if (words.isPunctuation(')')) {
      depth--
      before = 'explain' // The options of EXPLAIN end here.
    } else if (depth === 0) {
      const mayExecute = before === 'explain' || before === 'as' || before === 'analyze' || before === 'analyse' || before === 'verbose'
      if (word === 'execute' && mayExecute) return named(words, (name) => ({ kind: 'execute', name }))
      before = word
    }
  }
  return null
}

function declare(words: Words): SqlCommand | null {
  if (words.next() === null) return null
  const name = words.name()
  if (name === null) return null
  let hold = false
  let before = ''
  for (let word = words.next(); word !== null; word = words.next()) {
    if (word === 'hold') hold = before === 'with'
    else if (word === 'for') return { kind: 'declare', name, text: words.rest(), hold }
    before = word
  }
  return null
}

/** The cursor's name is the last word, whatever directions stand before it. */
function fetch(words: Words): SqlCommand | null {
  let name: string | null = null
  while (words.next() !== null) name = words.name() ?? name
  return name === null ? null : { kind: 'fetch', name }
}
