/**
 * A few words that say what a statement does to what, as `SELECT orders customers`: the name of its span.
 *
 * Follows "Generating query summary" of OpenTelemetry's database conventions, but writes keywords in capitals, as the server's tags
 * have them, so that `select` and `SELECT` are one. Knows tokens, no grammar: a view counts as a table, a function call as nothing.
 * Bounded: reads the first `charactersRead` and gives at most `summaryCharactersMax`, never half a name.
 */
import { SqlLexer } from '../../postgres/sql-lexer.ts'

const charactersRead = 8_192
const summaryCharactersMax = 255

/** The commands of PostgreSQL, by their first word. */
const commands = new Set(
  (
    'abort alter analyse analyze begin call checkpoint close cluster comment commit copy create deallocate declare delete discard do drop end ' +
    'execute explain fetch grant import insert listen load lock merge move notify prepare reassign refresh reindex release reset revoke ' +
    'rollback savepoint security select set show start table truncate unlisten update vacuum values with'
  ).split(' '),
)
/** Words between CREATE, ALTER or DROP and the kind of object. */
const modifiers = new Set('or replace temp temporary global local unlogged unique recursive trusted constraint'.split(' '))
/** Words between a kind of object, or FROM, and a name. */
const fillers = new Set('if not exists only lateral concurrently table'.split(' '))
const endsFrom = new Set('where group order having limit offset window union except intersect returning set values for'.split(' '))

/** The statement's first word in capitals when it is a command of PostgreSQL, else null. */
export function commandOf(sql: string): string | null {
  const first = new Tokens(sql, true).next()
  return first !== null && commands.has(first.word) && first.word !== 'with' ? first.word.toUpperCase() : null
}

/** Null when the text begins with no command. Where a backslash makes it depend on a setting what is a literal, only the command. */
export function querySummaryOf(sql: string): string | null {
  const summary = summarise(sql, true)
  return sql.includes('\\') && summarise(sql, false) !== summary ? commandOf(sql) : summary
}

function summarise(sql: string, standardConformingStrings: boolean): string | null {
  const summary = createSummary()
  const tokens = new Tokens(sql, standardConformingStrings)
  let token = tokens.next()
  while (token?.raw === '(') token = tokens.next()
  if (token === null || !commands.has(token.word)) return null
  const objectCommand = token.word === 'create' || token.word === 'alter' || token.word === 'drop'
  if (objectCommand) {
    const kind = firstNot(tokens, modifiers)
    if (kind === null || kind.word === '') return token.word.toUpperCase()
    const isMaterialized = kind.word === 'materialized' && tokens.next()?.word === 'view'
    summary.add(`${token.word} ${kind.word}${isMaterialized ? ' view' : ''}`.toUpperCase())
    summary.add(readName(tokens, 'before a list too'))
    if (token.word !== 'create') return summary.text
    // CREATE TABLE … AS and CREATE VIEW … AS go on with a query; a function's or trigger's body is not what this statement does.
    if (!/^(?:table|view|materialized)$/.test(kind.word)) return summary.text
    for (token = tokens.next(); token !== null && token.word !== 'as'; token = tokens.next());
    token = tokens.next()
  }
  followQuery(tokens, token, summary)
  return summary.text
}

type Operation = 'select' | 'insert' | 'update' | 'delete' | 'merge'
/** What is known inside one pair of parentheses. */
type Level = { operation: Operation | null; inFrom: boolean }

function followQuery(tokens: Tokens, from: Token | null, summary: ReturnType<typeof createSummary>): void {
  const levels: Level[] = [{ operation: null, inFrom: false }]
  let before = ''
  for (let token = from; token !== null && !summary.isFull; before = token.word, token = tokens.next()) {
    const level = levels.at(-1)!
    const { word, raw } = token
    if (raw === '(') levels.push({ operation: null, inFrom: false })
    else if (raw === ')') {
      if (levels.length > 1) levels.pop()
    } else if (raw === ',') {
      if (level.inFrom) summary.add(readName(tokens))
    } else if (word === 'select' || (level.operation === null && isOperation(word))) {
      level.operation = word as Operation
      level.inFrom = false
      summary.add(word.toUpperCase())
      if (word === 'update') summary.add(readName(tokens))
    } else if (level.operation !== null) {
      if (endsFrom.has(word)) level.inFrom = false
      const takesName =
        (word === 'from' && before !== 'distinct' && level.operation !== 'insert' && level.operation !== 'merge') ||
        word === 'join' ||
        word === 'into' ||
        (word === 'using' && (level.operation === 'delete' || level.operation === 'merge'))
      if (takesName) {
        level.inFrom = word !== 'into'
        summary.add(readName(tokens, word === 'into' ? 'before a list too' : 'not a call'))
      }
    } else if (commands.has(word) && word !== 'with') {
      summary.add(word.toUpperCase())
      if (word === 'explain') skipOptions(tokens)
      if (word === 'copy' || word === 'truncate' || word === 'call' || word === 'table' || word === 'lock')
        summary.add(readName(tokens, 'before a list too'))
      // Behind these a query may follow; behind other commands what looks like one is none, as in GRANT SELECT.
      if (word !== 'explain' && word !== 'declare' && word !== 'prepare' && word !== 'copy') return
    }
  }
}

const isOperation = (word: string): boolean => word === 'insert' || word === 'update' || word === 'delete' || word === 'merge'

function createSummary() {
  const parts: string[] = []
  let length = 0
  let isFull = false
  return {
    add(part: string | null): void {
      if (part === null || isFull) return
      isFull = length + part.length + 1 > summaryCharactersMax
      if (isFull) return
      parts.push(part)
      length += part.length + 1
    },
    get isFull(): boolean {
      return isFull
    },
    get text(): string | null {
      return parts.length === 0 ? null : parts.join(' ')
    },
  }
}

/** EXPLAIN's, with and without parentheses. */
function skipOptions(tokens: Tokens): void {
  let token = firstNot(tokens, explainOptions)
  if (token?.raw === '(') {
    while (token !== null && token.raw !== ')') token = tokens.next()
  } else tokens.back()
}
const explainOptions = new Set(['analyze', 'analyse', 'verbose'])

function firstNot(tokens: Tokens, skipped: ReadonlySet<string>): Token | null {
  let token = tokens.next()
  while (token !== null && skipped.has(token.word)) token = tokens.next()
  return token
}

/** A name with its schema, as written; null where something else stands, as a subquery or a function's call. */
function readName(tokens: Tokens, where: 'not a call' | 'before a list too' = 'not a call'): string | null {
  let token = firstNot(tokens, fillers)
  let name = ''
  while (token !== null && token.isName) {
    name += token.raw
    const dot = tokens.next()
    if (dot?.raw !== '.') {
      if (dot !== null) tokens.back()
      return dot?.raw === '(' && where === 'not a call' ? null : name
    }
    name += '.'
    token = tokens.next()
  }
  if (token !== null) tokens.back()
  return null
}

type Token = { readonly raw: string; readonly word: string; readonly isName: boolean }

/** Tokens without comments; `word` is an unquoted identifier in lower case, else ''. */
class Tokens {
  readonly #lexer: SqlLexer
  #last: Token | null = null
  #again = false

  constructor(sql: string, standardConformingStrings: boolean) {
    this.#lexer = new SqlLexer(sql.length > charactersRead ? sql.slice(0, charactersRead) : sql, { standardConformingStrings })
  }

  next(): Token | null {
    if (this.#again) this.#again = false
    else this.#last = this.#read()
    return this.#last
  }

  /** The token that `next` gave last comes once more. */
  back(): void {
    this.#again = true
  }

  #read(): Token | null {
    const lexer = this.#lexer
    do if (!lexer.next()) return null
    while (lexer.kind === 'comment')
    const raw = lexer.text.slice(lexer.start, lexer.end)
    if (lexer.kind === 'identifier') return { raw, word: raw.toLowerCase(), isName: true }
    return {
      raw: lexer.kind === 'punctuation' ? raw : lexer.kind === 'quotedIdentifier' ? raw : '',
      word: '',
      isName: lexer.kind === 'quotedIdentifier',
    }
  }
}
