/**
 * SQL as styled lines, by the lexer's tokens. Knows no grammar: a word that is both keyword and column name looks like a keyword.
 */
import { SqlLexer, type TokenKind } from '../../postgres/sql-lexer.ts'
import { span, type Line, type Span, type Style } from './styled-text.ts'

const tabCells = 4
/** What stands behind this is shown without colours: a text may have a million characters. */
const highlightedCharactersMax = 64 * 1024

/** The words that give a statement its shape; PostgreSQL's reserved ones and the verbs. */
const keywords = new Set(
  `abort all alter analyze and any array as asc begin between both by call cascade case cast check close cluster collate column comment
  commit concurrently constraint copy create cross current_date current_time current_timestamp database deallocate declare default
  deferrable delete desc discard distinct do drop else end except execute exists explain extension false fetch filter for foreign from
  full function grant group having if ilike in index inner insert intersect interval into is isnull join key language lateral left like
  limit listen lock materialized merge move natural not notify notnull null nulls of offset on only or order outer over partition
  prepare primary procedure recursive references refresh reindex release replace reset restrict returning revoke right role rollback
  row rows savepoint schema select sequence set show similar some start table temp temporary then to transaction trigger true truncate
  type union unique unlisten update user using vacuum values view when where window with within without work`.split(/\s+/),
)

function styleOf(kind: TokenKind, text: string): Style {
  switch (kind) {
    case 'identifier':
      return keywords.has(text.toLowerCase()) ? 'keyword' : 'plain'
    case 'string':
    case 'escapeString':
    case 'unicodeString':
    case 'bitString':
    case 'dollarString':
      return 'string'
    case 'number':
      return 'number'
    case 'parameter':
      return 'parameter'
    case 'comment':
      return 'comment'
    case 'quotedIdentifier':
    case 'operator':
    case 'punctuation':
    case 'other':
      return 'plain'
    default:
      return kind satisfies never
  }
}

/** One line per line of the text. */
export function highlightedLines(sql: string): Line[] {
  const lines: Span[][] = [[]]
  const add = (text: string, style: Style): void => {
    text.split(/\r\n|\r|\n/).forEach((part, index) => {
      if (index > 0) lines.push([])
      if (part !== '') lines.at(-1)!.push(span(part.replaceAll('\t', ' '.repeat(tabCells)), style))
    })
  }
  const head = sql.slice(0, highlightedCharactersMax)
  const lexer = new SqlLexer(head)
  let at = 0
  while (lexer.next()) {
    if (lexer.start > at) add(head.slice(at, lexer.start), 'plain')
    const text = head.slice(lexer.start, lexer.end)
    add(text, styleOf(lexer.kind, text))
    at = lexer.end
  }
  if (at < sql.length) add(sql.slice(at), 'plain')
  return lines.map((spans) => ({ spans }))
}

/** All in one line, white space between tokens folded: for lists. Reads no more than could be seen. */
export function highlightedLine(sql: string, charactersMax: number): Line {
  const spans: Span[] = []
  for (const part of highlightedLines(sql.trimStart().slice(0, charactersMax * 2))) {
    if (spans.length > 0) spans.push(span(' '))
    let atStart = true
    for (const token of part.spans) {
      const isSpace = token.text.trim() === ''
      if (!isSpace || !atStart) spans.push(isSpace ? span(' ') : token)
      atStart &&= isSpace
    }
  }
  return { spans }
}
