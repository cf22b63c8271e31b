/**
 * Statements as lines that psql reads back byte for byte, whatever they hold.
 *
 * A script is ASCII but for COPY data, so no encoding, which a statement may change while the script runs, can swallow a quote. There
 * are three forms: as it is, with `\;` and `\:` for what psql would cut at or replace; in a dollar-quoted string that `\gexec` runs, for
 * what psql would change or misread (backslashes, variables, leading white space and comments, empty lines, open quotes); and in an
 * E'' string for text beyond ASCII. The second and third send a SELECT of the text before the text itself.
 * Source: PostgreSQL's `psqlscan.l` and psql's `mainloop.c`.
 */
import { tokensOf, type Token } from '../../postgres/sql-lexer.ts'
import { printable, printableLine } from '../text.ts'

/** One message of a simple query. Null when there is nothing in it that a server would run. */
export function queryLines(sql: string): string[] | null {
  if (tokensOf(sql).every(({ kind, complete }) => kind === 'comment' && complete)) return null
  const plain = plainForm(sql)
  if (plain !== null) return [...plain.split('\n'), '\\g']
  if (/^[\t\n\r\x20-\x7e]*$/.test(sql)) {
    const tag = tagFor(sql)
    return [`SELECT ${tag}${sql}${tag}`, '\\gexec']
  }
  return [`SELECT ${literal(sql)}`, '\\gexec']
}

/** A string constant that means the same whatever `standard_conforming_strings` and the encoding are. */
export function literal(text: string): string {
  if (/^[\x20-\x5b\x5d-\x7e]*$/.test(text)) return `'${text.replaceAll("'", "''")}'`
  const escaped = text.replaceAll(/[^\x20-\x26\x28-\x5b\x5d-\x7e]/gu, (character) => {
    const code = character.codePointAt(0)!
    if (character === "'") return "''"
    if (character === '\\') return '\\\\'
    if (character === '\n') return '\\n'
    if (character === '\r') return '\\r'
    if (character === '\t') return '\\t'
    if (code < 0x80) return `\\x${code.toString(16).padStart(2, '0')}`
    return code > 0xffff ? `\\U${code.toString(16).padStart(8, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`
  })
  return `E'${escaped}'`
}

/** Comment lines. Text beyond ASCII may stay: nothing of a line behind `--` is read, in any encoding. */
export function commentLines(text: string): string[] {
  return printable(text)
    .split('\n')
    .map((line) => `-- ${printableLine(line)}`.trimEnd())
}

/** `text` as it stands, with psql's own characters escaped; null when psql would not send it so. */
function plainForm(sql: string): string | null {
  // Without a backslash nothing in it is a command of psql, however it is read.
  if (!/^[\t\n\x20-\x5b\x5d-\x7e]*$/.test(sql)) return null
  if (/^\s|^--|\s$/.test(sql) || sql.includes('\n\n')) return null
  const conforming = tokensOf(sql)
  if (!isPlainly(sql, conforming)) return null
  let text = ''
  let at = 0
  for (const { kind, start, end } of conforming) {
    if (kind !== 'punctuation' && kind !== 'other') continue
    text += sql.slice(at, start) + sql.slice(start, end).replaceAll(/[;:]/g, '\\$&')
    at = end
  }
  return text + sql.slice(at)
}

const quoted: readonly Token['kind'][] = ['string', 'quotedIdentifier', 'dollarString', 'comment']
const unusual: readonly Token['kind'][] = ['escapeString', 'unicodeString', 'bitString', 'other']

/** Only tokens on which every version of psql and the server agree: nothing open, nothing rare, quotes that stand apart. */
function isPlainly(sql: string, tokens: readonly Token[]): boolean {
  return tokens.every(({ kind, start, end, complete }) => {
    if (!complete || unusual.includes(kind)) return false
    if (kind === 'operator' || kind === 'identifier') return !sql.slice(start, end).includes('$')
    if (!quoted.includes(kind)) return true
    // Nested comments, and U&"…", are read alike too, but there is no need to rely on it.
    const text = sql.slice(start, end)
    if (kind === 'comment' && /[/]\*/.test(text.slice(2))) return false
    if (kind === 'quotedIdentifier' && !text.startsWith('"')) return false
    return start === 0 || /[\s(,;=[]/.test(sql[start - 1]!)
  })
}

function tagFor(sql: string): string {
  for (let number = 0; ; number++) {
    const tag = `$steno${number === 0 ? '' : number}$`
    // An end of the text such as `$steno` would run into the tag.
    if (!`${sql}$`.includes(tag)) return tag
  }
}
