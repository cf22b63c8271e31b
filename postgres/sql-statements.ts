/**
 * Cuts the text of a simple query into its top-level statements, as the server will run them.
 *
 * Without a grammar: a semicolon ends a statement unless it stands in parentheses (`CREATE RULE … DO (a; b)`) or in the
 * `BEGIN ATOMIC … END` body of a function or procedure. The same text with a syntax error anywhere is one failed statement
 * for the server and still several here. Linear; never throws.
 */
import { SqlLexer, type LexerOptions } from './sql-lexer.ts'

/** `start` and `end` are offsets into the text; `text` is that part: without white space around it and without its semicolon, comments kept. */
export type SqlStatementText = { readonly start: number; readonly end: number; readonly text: string }

/** The statements of `sql` in order. Parts of only white space and comments are no statements. */
export function splitStatements(sql: string, options: LexerOptions = {}): SqlStatementText[] {
  const statements: SqlStatementText[] = []
  const lexer = new SqlLexer(sql, options)
  const body = createBodyTracker()
  let start = -1
  let end = 0
  let hasTokens = false
  let parentheses = 0
  const finish = (): void => {
    if (hasTokens) statements.push({ start, end, text: sql.slice(start, end) })
    start = -1
    hasTokens = false
    parentheses = 0
    body.reset()
  }
  while (lexer.next()) {
    const code = sql.charCodeAt(lexer.start)
    if (lexer.kind === 'punctuation') {
      if (code === 0x28) parentheses++
      else if (code === 0x29) parentheses = Math.max(0, parentheses - 1)
      else if (code === 0x3b && parentheses === 0 && !body.inside()) {
        finish()
        continue
      }
    }
    if (start < 0) start = lexer.start
    end = lexer.end
    if (lexer.kind === 'comment') continue
    hasTokens = true
    if (parentheses === 0) body.take(lexer)
  }
  finish()
  return statements
}

/** Follows `CREATE [OR REPLACE] FUNCTION|PROCEDURE … BEGIN ATOMIC … CASE … END … END` over the tokens outside parentheses. */
function createBodyTracker() {
  /** What the statement's first words may still become. */
  let head: Head = 'start'
  let previous = ''
  let depth = 0
  return {
    reset(): void {
      head = 'start'
      previous = ''
      depth = 0
    },
    inside: (): boolean => depth > 0,
    take(lexer: SqlLexer): void {
      if (head === 'else') return
      const word = lexer.kind === 'identifier' && lexer.end - lexer.start <= 9 ? lexer.text.slice(lexer.start, lexer.end).toLowerCase() : ''
      if (head !== 'routine') {
        head = followHead(head, word)
        return
      }
      // Behind AS and a dot every keyword is a plain name.
      const isKeyword = previous !== 'as' && previous !== '.'
      if (word === 'atomic' && previous === 'begin') depth++
      else if (depth > 0 && isKeyword && word === 'case') depth++
      else if (depth > 0 && isKeyword && word === 'end') depth--
      previous = lexer.kind === 'punctuation' && lexer.text.charCodeAt(lexer.start) === 0x2e ? '.' : word
    },
  }
}

type Head = 'start' | 'create' | 'or' | 'replace' | 'routine' | 'else'

function followHead(head: Head, word: string): Head {
  if ((head === 'create' || head === 'replace') && (word === 'function' || word === 'procedure')) return 'routine'
  if (head === 'start' && word === 'create') return 'create'
  if (head === 'create' && word === 'or') return 'or'
  if (head === 'or' && word === 'replace') return 'replace'
  return 'else'
}
