/**
 * Finds the next statement, forward or backward, that failed, that holds a text, or that names a table.
 *
 * Goes over the index lines as bytes and parses only the SQL of each. A table is named where an identifier outside strings and
 * comments is its name; what a view, function or trigger touches is not seen.
 */
import { SqlLexer } from '../../postgres/sql-lexer.ts'
import { textMatcher } from './found.ts'
import type { Find } from './state.ts'
import type { StatementList } from './statement-list.ts'

export type FindOptions = {
  /** Starts behind this number. */
  readonly from: number
  readonly direction: 1 | -1
  readonly signal: AbortSignal
}

/** Lines that are looked at before others get a turn. */
const linesPerTurn = 5_000

/** The number of the next that fits, or null. @throws StoreUnavailable, RecordingDamaged, and `signal`'s reason */
export async function findStatement(
  statements: StatementList,
  find: Find,
  { from, direction, signal }: FindOptions,
): Promise<number | null> {
  const fits = fitterOf(find)
  let lines = 0
  for (let number = from + direction; number >= 1 && number <= statements.count; number += direction) {
    if (!statements.has(number)) continue
    let bytes = statements.peek(number)
    if (bytes === null) {
      await statements.load(number)
      bytes = statements.peek(number)
    }
    if (bytes !== null && fits(bytes)) return number
    if (++lines % linesPerTurn === 0) await new Promise(setImmediate)
    signal.throwIfAborted()
  }
  return null
}

function fitterOf(find: Find): (line: Buffer) => boolean {
  switch (find.kind) {
    case 'failure':
      // A quote inside a JSON string is escaped, so this stands nowhere but where the field is.
      return (line) => line.includes(failedField)
    case 'text': {
      const matcher = textMatcher(find.text)
      return (line) => textsOf(line).some((text) => matcher(text) >= 0)
    }
    case 'table': {
      const names = namesTable(find.name)
      return (line) => textsOf(line).some(names)
    }
    default:
      return find satisfies never
  }
}

const failedField = Buffer.from(',"outcome":"failed",')
const sqlFields = [Buffer.from(',"sql":"'), Buffer.from(',"preparedSql":"')]
const quote = 0x22
const backslash = 0x5c

/** The SQL texts of an index line. */
function textsOf(line: Buffer): string[] {
  return sqlFields.flatMap((field) => {
    const at = line.indexOf(field)
    if (at < 0) return []
    const start = at + field.length - 1
    let end = line.indexOf(quote, start + 1)
    while (end >= 0 && isEscaped(line, end)) end = line.indexOf(quote, end + 1)
    if (end < 0) return []
    const json = line.toString('utf8', start, end + 1)
    return [json.includes('\\') ? stringFrom(json) : json.slice(1, -1)]
  })
}

function isEscaped(line: Buffer, at: number): boolean {
  let backslashes = 0
  while (line[at - 1 - backslashes] === backslash) backslashes++
  return backslashes % 2 === 1
}

/** A text that is no JSON is searched as it stands: the statement itself is refused when it is looked at. */
function stringFrom(json: string): string {
  try {
    return JSON.parse(json) as string
  } catch (error) {
    if (error instanceof SyntaxError) return json
    throw error
  }
}

/** Whether a text names the table: `orders`, `shop.orders`, `"Orders"`; unquoted names in any case, as PostgreSQL reads them. */
export function namesTable(wanted: string): (sql: string) => boolean {
  const parts = identifiersOf(wanted)
  const last = parts.at(-1)
  if (last === undefined) return () => false
  const written = last.toLowerCase().replaceAll('"', '""')
  return (sql) => {
    if (!sql.toLowerCase().includes(written)) return false
    const lexer = new SqlLexer(sql)
    /** Identifiers joined by dots, up to the present token. */
    let chain: string[] = []
    let afterDot = false
    while (lexer.next()) {
      if (lexer.kind === 'comment') continue
      const name = identifierOf(lexer)
      if (name !== null) {
        chain = afterDot ? [...chain, name] : [name]
        afterDot = false
        if (parts.every((part, index) => chain.at(index - parts.length) === part)) return true
      } else afterDot = lexer.kind === 'punctuation' && sql.slice(lexer.start, lexer.end) === '.'
    }
    return false
  }
}

function identifiersOf(text: string): string[] {
  const lexer = new SqlLexer(text)
  const names: string[] = []
  while (lexer.next()) {
    const name = identifierOf(lexer)
    if (name !== null) names.push(name)
  }
  return names
}

/** The name as the server folds it, or null when the token is no identifier. */
function identifierOf({ kind, text, start, end }: SqlLexer): string | null {
  const token = text.slice(start, end)
  if (kind === 'identifier') return token.toLowerCase()
  return kind === 'quotedIdentifier' ? token.slice(token.indexOf('"') + 1, -1).replaceAll('""', '"') : null
}
