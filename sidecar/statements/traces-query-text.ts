/**
 * A statement's text without its data: literals become `?`, comments go, white space is one space. Parameters (`$1`) stay.
 *
 * Says nothing rather than perhaps too much: not where a backslash makes it depend on a setting where a literal ends, and not of a
 * text whose quotes do not pair up. Knows tokens, no grammar, so of a text that the server refused as SQL it must not be asked.
 * Names of tables and columns stay. Bounded: reads `charactersRead` and gives `charactersMax`.
 */
import { SqlLexer } from '../../postgres/sql-lexer.ts'

const charactersRead = 16_384
const charactersMax = 4_096

/** `cut`: the text goes on beyond what is given here. */
export function sanitizedQueryText(sql: string, { cut = false }: { readonly cut?: boolean } = {}): string | null {
  const text = sql.length > charactersRead ? sql.slice(0, charactersRead) : sql
  const isCut = cut || text.length < sql.length
  const sanitized = sanitize(text, isCut, true)
  // With `standard_conforming_strings` off a backslash may escape the quote that otherwise ends the literal.
  return text.includes('\\') && sanitize(text, isCut, false) !== sanitized ? null : sanitized
}

function sanitize(text: string, isCut: boolean, standardConformingStrings: boolean): string | null {
  const lexer = new SqlLexer(text, { standardConformingStrings })
  let sanitized = ''
  let behind = 0
  while (lexer.next()) {
    if (!lexer.complete && !isCut) return null
    if (lexer.kind === 'comment') continue
    const shown = shownAs(lexer)
    const space = sanitized !== '' && lexer.start > behind ? ' ' : ''
    if (sanitized.length + space.length + shown.length > charactersMax) return `${sanitized} …`
    sanitized += space + shown
    behind = lexer.end
    if (!lexer.complete) return `${sanitized} …`
  }
  return isCut ? `${sanitized} …` : sanitized
}

function shownAs(lexer: SqlLexer): string {
  const raw = lexer.text.slice(lexer.start, lexer.end)
  switch (lexer.kind) {
    case 'string':
    case 'escapeString':
    case 'unicodeString':
    case 'bitString':
    case 'dollarString':
    case 'number':
      return '?'
    case 'quotedIdentifier':
      return lexer.complete ? raw : '?'
    case 'identifier':
      return /^(?:true|false)$/i.test(raw) ? '?' : raw
    default:
      return raw
  }
}
