/**
 * Executions of the extended protocol as SQL: PREPARE with the types that the client gave, EXECUTE with literals.
 *
 * `\bind` of psql would keep the text bare, but needs psql 16, knows no NULL and no types. A statement that the session named keeps its
 * name, so that an EXECUTE in SQL finds it. Holds the names that are prepared, at most `preparedMax`.
 */
import { SqlLexer, tokensOf } from '../../postgres/sql-lexer.ts'
import { splitStatements } from '../../postgres/sql-statements.ts'
import type { Parameter, StatementSummary } from '../../postgres/statement.ts'
import { defaultSettings } from '../../postgres/values/settings.ts'
import { textOf } from '../../postgres/values/text-of.ts'
import { builtInType } from '../../postgres/values/types.ts'
import { literal, queryLines } from './psql-text.ts'

export type Said = { readonly lines: readonly string[] } | { readonly obstacle: string }

const preparedMax = 1_000
/** What PREPARE takes; everything else has no parameters, or has them only in the protocol. */
const preparable = new Set(['select', 'insert', 'update', 'delete', 'merge', 'values', 'with', 'table'])
const byteaOid = 17
const pseudoTypes = new Set(['unknown', 'record', 'record[]', 'cstring', 'cstring[]', 'void', 'anyarray', 'anycompatiblearray'])
/** PostgreSQL cuts longer names. */
const plainName = /^[A-Za-z_][A-Za-z0-9_.$-]{0,62}$/

export function createExecutions() {
  /** Name to what it stands for, least recently prepared first. */
  const prepared = new Map<string, string>()
  let counter = 0

  function nameFor({ statementName, outcome }: StatementSummary): string {
    // A name is kept only for what surely was prepared: a second PREPARE of it would fail, and a transaction with it.
    const isSure = outcome === 'completed' || outcome === 'suspended'
    return isSure && statementName !== undefined && plainName.test(statementName) ? statementName : `steno_${++counter}`
  }

  function withParameters(statement: StatementSummary, sql: string, values: readonly string[]): string[] {
    const types = statement.parameters.map((parameter) => sqlType(isUntyped(parameter) ? byteaOid : parameter.typeOid))
    const typeList = types.every((type) => type === 'unknown') ? '' : ` (${types.join(', ')})`
    const meaning = `${typeList} AS ${sql}`
    const lines: string[] = []
    let name = [...(statement.statementName === undefined ? prepared : [])].find(([, other]) => other === meaning)?.[0]
    if (name === undefined || statement.transactionBefore === 'E') name = nameFor(statement)
    if (prepared.get(name) !== meaning) {
      if (prepared.delete(name)) lines.push(`DEALLOCATE "${name}"`, '\\g')
      lines.push(...(queryLines(`PREPARE "${name}"${meaning}`) ?? []))
      const isSure = statement.outcome === 'completed' || statement.outcome === 'suspended'
      if (isSure) prepared.set(name, meaning)
      const oldest = prepared.keys().next().value
      if (prepared.size > preparedMax && oldest !== undefined) {
        prepared.delete(oldest)
        lines.unshift(`DEALLOCATE "${oldest}"`, '\\g')
      }
    }
    return [...lines, `EXECUTE "${name}" (${values.join(', ')})`, '\\g']
  }

  return {
    /** `sql` is the statement's text as it was meant; `text` decodes a text parameter likewise. */
    say(statement: StatementSummary, sql: string, text: (value: string) => string): Said {
      if (splitStatements(sql).length > 1) return { obstacle: 'it is several statements in one, which the extended protocol refuses' }
      if (statement.parameters.length === 0) return { lines: queryLines(sql) ?? [] }
      if (!preparable.has(firstWord(sql))) return { obstacle: 'only the protocol can give parameters to a statement of its kind' }
      const values: string[] = []
      for (const [index, parameter] of statement.parameters.entries()) {
        const value = parameterLiteral(parameter, text)
        if (value === null) return { obstacle: `parameter $${index + 1} cannot be written as text` }
        values.push(value)
      }
      return { lines: withParameters(statement, sql, values) }
    },
    /** A statement in SQL may have dropped what was prepared. */
    ended({ tag, sql }: StatementSummary): void {
      if (tag === 'DEALLOCATE ALL' || tag === 'DISCARD ALL') prepared.clear()
      if (tag !== 'DEALLOCATE') return
      const name = /^\s*deallocate\s+(?:prepare\s+)?"?([^\s";]+)/i.exec(sql)?.[1]
      if (name !== undefined) prepared.delete(name)
    },
  }
}

/** The first word of a statement behind comments and parentheses, in lower case. */
export function firstWord(sql: string): string {
  const lexer = new SqlLexer(sql)
  while (lexer.next()) {
    if (lexer.kind === 'comment' || sql[lexer.start] === '(') continue
    return lexer.kind === 'identifier' ? sql.slice(lexer.start, lexer.end).toLowerCase() : ''
  }
  return ''
}

/** Without comments, a blank between all tokens: for the few statements that a failed transaction still takes. */
export function bareText(sql: string): string {
  return tokensOf(sql)
    .filter(({ kind }) => kind !== 'comment')
    .map(({ start, end }) => sql.slice(start, end))
    .join(' ')
}

function sqlType(oid: number): string {
  const name = builtInType(oid)?.name
  if (name === undefined || pseudoTypes.has(name)) return 'unknown'
  return name.replace(/^char(?=$|\[)/, '"char"')
}

/**
 * A binary value whose type only the server knew. Taken for bytea it is either right or refused; as text it might be neither, in silence.
 */
const isUntyped = ({ typeOid, format }: Parameter): boolean => typeOid === 0 && format === 'binary'

/** Null for what cannot be written. ISO dates in UTC read the same under every DateStyle and TimeZone. */
function parameterLiteral({ typeOid, format, value, bytes, truncated }: Parameter, text: (value: string) => string): string | null {
  if (value === null || bytes === null) return 'NULL'
  if (truncated === true) return null
  if (format === 'text') return value.includes('\ufffd') ? null : literal(text(value))
  const raw = Buffer.from(value, 'base64')
  if (typeOid === 0) return literal(`\\x${raw.toString('hex')}`)
  const shown = textOf(raw, { typeOid, typeModifier: -1, format }, defaultSettings)
  // What no decoder knows is shown in hexadecimal, which only bytea reads.
  if (typeOid !== byteaOid && shown === `\\x${raw.toString('hex')}`) return null
  return shown.includes('\ufffd') ? null : literal(shown)
}
