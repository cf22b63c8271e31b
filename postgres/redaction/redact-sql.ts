/**
 * Finds the credential-bearing statements in the text of a query and has their literals replaced (`rewrite-statement.ts`).
 *
 * Statements without a trigger stay as they are, unless the split itself is in doubt: then the whole text is one statement. It is in
 * doubt when a token is (an unterminated quote, a word that touches one, a backslash before a quote that `standard_conforming_strings` would decide), when a
 * semicolon stands in parentheses or these do not match, and with `BEGIN ATOMIC` bodies.
 * Linear; works on text and on bytes read as latin1; the result is for people, the server never sees it.
 */
import { SqlLexer, type TokenKind } from '../sql-lexer.ts'
import { splitStatements } from '../sql-statements.ts'
import { createRememberedLiterals, type RememberedLiterals } from './remembered-literals.ts'
import { rewriteStatement } from './rewrite-statement.ts'
import { decodeUnicodeEscapes, mayCarryCredential } from './triggers.ts'

export type RedactionContext = {
  readonly remembered: RememberedLiterals
  /** Whether a prepared statement of this name is credential-bearing, so that EXECUTE's arguments are literals of it. */
  isMarked(name: string): boolean
  /** Told the name of each credential-bearing `PREPARE name AS …`. */
  mark(name: string): void
}

/** `sql` without the literals of its credential-bearing statements; the very same string when it has none. */
export function redactSql(sql: string): string {
  if (!mayCarryCredential(sql)) return sql
  return redactText(sql, { remembered: createRememberedLiterals(), isMarked: () => false, mark: () => undefined }) ?? sql
}

/** The redacted text, or undefined when no statement is credential-bearing. */
export function redactText(text: string, context: RedactionContext): string | undefined {
  const carries = (part: string): boolean => mayCarryCredential(part) || executesMarked(part, context)
  if (!carries(text)) return undefined
  const { doubtAt, isSplitSafe } = inspect(text)
  const ends = isSplitSafe ? splitStatements(text).map(({ end }) => end) : []
  if (ends.at(-1) !== text.length) ends.push(text.length)
  let out = ''
  let start = 0
  let redacted = false
  for (const end of ends) {
    const part = text.slice(start, end)
    if (carries(part)) {
      out += rewriteStatement(part, doubtAt - start, context.remembered)
      markPrepared(part, context)
      redacted = true
    } else out += part
    start = end
  }
  if (redacted) return out
  // What triggered reaches over the end of a statement.
  markPrepared(text, context)
  return rewriteStatement(text, doubtAt, context.remembered)
}

/** Where tokens stop being certain, and whether the text can be split at its semicolons without doubt. */
function inspect(text: string): { doubtAt: number; isSplitSafe: boolean } {
  const lexer = new SqlLexer(text)
  let parentheses = 0
  let isSplitSafe = true
  let firstQuoteAt = -1
  let stringAt = -1
  let stringEnd = -1
  while (lexer.next()) {
    const { kind, start } = lexer
    const isWord = kind === 'identifier' || kind === 'number'
    // 'it's hunter2': a quote too few or too many shows where a word touches a string.
    if (isWord && start === stringEnd) return { doubtAt: stringAt, isSplitSafe: false }
    if (quotedKinds.has(kind)) {
      if (firstQuoteAt < 0) firstQuoteAt = start
      // The quote that has no partner may be any one before.
      if (!lexer.complete) return { doubtAt: firstQuoteAt, isSplitSafe: false }
      if (isDoubtful(lexer)) return { doubtAt: start, isSplitSafe: false }
      stringAt = start
      stringEnd = lexer.end
    } else if (!lexer.complete) return { doubtAt: start, isSplitSafe: false }
    else if (kind === 'punctuation') {
      const character = text[start]
      if (character === '(') parentheses++
      else if (character === ')' && --parentheses < 0) isSplitSafe = false
      else if (character === ';' && parentheses !== 0) isSplitSafe = false
    } else if (kind === 'identifier' && lexer.end - start === 6 && wordOf(lexer) === 'atomic') isSplitSafe = false
  }
  return { doubtAt: text.length, isSplitSafe: isSplitSafe && parentheses === 0 }
}

const quotedKinds: ReadonlySet<TokenKind> = new Set<TokenKind>([
  'string',
  'escapeString',
  'unicodeString',
  'bitString',
  'dollarString',
  'quotedIdentifier',
])

/** Whether where this literal ends depends on a setting or an encoding. */
function isDoubtful({ kind, start, end, text }: SqlLexer): boolean {
  if (kind !== 'string' && kind !== 'escapeString') return false
  const token = text.slice(start, end)
  if (!token.includes('\\')) return false
  // In some client encodings the second byte of a character may be a backslash; and a part on a further line reads backslashes
  // as escapes although it looks like a plain string.
  if (kind === 'escapeString') return /[\x80-\uffff]\\/.test(token) || (token.includes("\\'") && /[\n\r]/.test(token))
  const other = new SqlLexer(text, { standardConformingStrings: false })
  other.end = start
  other.next()
  return other.end !== end || !other.complete
}

/** Only ASCII is folded: of bytes read as latin1 the others may be any part of a letter. */
const wordOf = ({ text, start, end }: SqlLexer): string => text.slice(start, end).replace(/[A-Z]+/g, (letters) => letters.toLowerCase())

function nameOf(lexer: SqlLexer): string | undefined {
  if (lexer.kind === 'identifier') return wordOf(lexer)
  if (lexer.kind !== 'quotedIdentifier') return undefined
  const opening = lexer.text.indexOf('"', lexer.start)
  const name = lexer.text.slice(opening + 1, lexer.end - 1).replaceAll('""', '"')
  // With UESCAPE the statement is credential-bearing in itself.
  return opening === lexer.start ? name : decodeUnicodeEscapes(name)
}

/** Tells the names that `PREPARE name` gives, also inside EXPLAIN or a text that is one statement only by doubt. */
function markPrepared(text: string, { mark }: RedactionContext): void {
  if (!/prepare/i.test(text)) return
  for (const name of namesBehind('prepare', text)) mark(name)
}

function executesMarked(text: string, { isMarked }: RedactionContext): boolean {
  return /execute/i.test(text) && namesBehind('execute', text).some(isMarked)
}

function namesBehind(word: 'prepare' | 'execute', text: string): string[] {
  const names: string[] = []
  const lexer = new SqlLexer(text)
  let follows = false
  while (lexer.next()) {
    if (lexer.kind === 'comment') continue
    const name = nameOf(lexer)
    if (follows && name !== undefined) names.push(name)
    follows = lexer.kind === 'identifier' && name === word
  }
  return names
}
