/**
 * Whether a statement's text names a table, by PostgreSQL's lexical rules and without its grammar.
 *
 * Every identifier counts, wherever it stands: a column, alias or function of the same name is found too, and a table that only a view
 * or function touches is not. Unquoted names are compared in lower case (ASCII, as the server folds them in most encodings), quoted ones
 * as they are; of `U&"…"` the escapes are read with a backslash, whatever UESCAPE says. Names inside strings are not seen.
 */
import { InvalidArgumentError } from 'commander'
import { SqlLexer } from '../../postgres/sql-lexer.ts'

/** The parts of a name between its dots, as the server would look them up. */
export type TableName = readonly string[]

/** `orders`, `sales.orders`, `"Orders"`. @throws InvalidArgumentError */
export function parseTableName(typed: string): TableName {
  const lexer = new SqlLexer(typed)
  const parts: string[] = []
  let expectsName = true
  while (lexer.next()) {
    const isName = lexer.kind === 'identifier' || lexer.kind === 'quotedIdentifier'
    const isDot = lexer.kind === 'punctuation' && lexer.end - lexer.start === 1 && typed[lexer.start] === '.'
    if (!lexer.complete || (expectsName ? !isName : !isDot)) throw notAName()
    if (isName) parts.push(identifierAt(lexer))
    expectsName = isDot
  }
  if (expectsName) throw notAName()
  return parts
}

function notAName(): InvalidArgumentError {
  return new InvalidArgumentError('It must be a name as SQL writes it: orders, sales.orders or "Orders".')
}

/** True when `sql` holds one of `names`, whole: `orders` is in `sales.orders`, `sales.orders` is not in `orders`. */
export function namesTable(sql: string, names: readonly TableName[]): boolean {
  const lexer = new SqlLexer(sql)
  /** The dotted name that the lexer is in. */
  let path: string[] = []
  let afterDot = false
  const ends = (): boolean => path.length > 0 && names.some((name) => within(path, name))
  while (lexer.next()) {
    if (lexer.kind === 'comment') continue
    if (lexer.kind === 'identifier' || lexer.kind === 'quotedIdentifier') {
      if (!afterDot) {
        if (ends()) return true
        path = []
      }
      path.push(identifierAt(lexer))
      afterDot = false
    } else if (lexer.kind === 'punctuation' && lexer.end - lexer.start === 1 && sql.charCodeAt(lexer.start) === 0x2e && path.length > 0) {
      afterDot = true
    } else {
      if (ends()) return true
      path = []
      afterDot = false
    }
  }
  return ends()
}

function within(path: readonly string[], name: TableName): boolean {
  for (let from = 0; from + name.length <= path.length; from++) {
    if (name.every((part, index) => path[from + index] === part)) return true
  }
  return false
}

function identifierAt({ kind, text, start, end }: SqlLexer): string {
  const written = text.slice(start, end)
  if (kind === 'identifier') return written.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
  const quoted = written.startsWith('"')
  const inner = written.slice(quoted ? 1 : 3, -1).replaceAll('""', '"')
  return quoted ? inner : inner.replace(/\\(?:\+([0-9a-f]{6})|([0-9a-f]{4})|(\\))/gi, unescaped)
}

function unescaped(whole: string, long: string | undefined, short: string | undefined, backslash: string | undefined): string {
  if (backslash !== undefined) return '\\'
  const code = Number.parseInt(long ?? short ?? '', 16)
  return code <= 0x10ffff ? String.fromCodePoint(code) : whole
}
