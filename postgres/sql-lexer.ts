/**
 * Cuts SQL text into tokens by PostgreSQL's lexical rules, without a grammar.
 *
 * Every text gives tokens that lie in order and cover all but white space; what is not terminated runs to the end and says so
 * (`complete`). One pass, no backtracking, no allocation per token. Works on UTF-16 text and equally on bytes read as latin1.
 * Knows no keywords and no settings but `standard_conforming_strings`; a client encoding whose second bytes may be ASCII
 * (SJIS, BIG5, GBK …) must be converted first, as the server does.
 * Source: PostgreSQL documentation, "Lexical Structure", and the server's `scan.l`.
 */

export type TokenKind =
  /** A keyword or unquoted identifier. */
  | 'identifier'
  /** `"…"` and `U&"…"`. */
  | 'quotedIdentifier'
  /** `'…'`, also the part of `N'…'` after its `N`. Continuations over a newline belong to the same token. */
  | 'string'
  /** `E'…'` with backslash escapes. */
  | 'escapeString'
  /** `U&'…'`. */
  | 'unicodeString'
  /** `B'…'` and `X'…'`. */
  | 'bitString'
  /** `$tag$…$tag$`. */
  | 'dollarString'
  /** Letters that run on from the digits (`12ab`) belong to it: the server refuses them. */
  | 'number'
  /** `$1`. */
  | 'parameter'
  | 'operator'
  /** One of `, ( ) [ ] ; . :` or the pairs `:: := ..`. */
  | 'punctuation'
  /** `-- …` without its newline, or a nested block comment. */
  | 'comment'
  /** A single character that starts no token. */
  | 'other'

export type LexerOptions = {
  /** As the session has it; off gives backslashes in `'…'` the meaning they have in `E'…'`. Default true. */
  readonly standardConformingStrings?: boolean
}

export type Token = { readonly kind: TokenKind; readonly start: number; readonly end: number; readonly complete: boolean }

const identifierStart = 1
const digit = 2
const operatorCharacter = 4
const space = 8
const punctuation = 16
/** A multi-character operator may end in `+` or `-` only if it holds one of these. */
const operatorMark = 32
const classes = new Uint8Array(128)
function classify(characters: string, flag: number): void {
  for (const character of characters) classes[character.charCodeAt(0)]! |= flag
}
classify('abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_', identifierStart)
classify('0123456789', digit)
classify('~!@#^&|`?+-*/%<>=', operatorCharacter)
classify('~!@#^&|`?%', operatorMark)
classify(' \t\n\r\f\v', space)
classify(',()[];.:', punctuation)

const classOf = (code: number): number => (code < 128 ? classes[code]! : identifierStart)
const isIdentifierPart = (code: number): boolean => (classOf(code) & (identifierStart | digit)) !== 0

const quote = 0x27
const doubleQuote = 0x22
const backslash = 0x5c
const dollar = 0x24
const dash = 0x2d
const slash = 0x2f
const star = 0x2a
const dot = 0x2e
const colon = 0x3a
const equals = 0x3d
const newline = 0x0a
const carriageReturn = 0x0d

/** A cursor over the tokens of one text: `next()` moves, the fields describe the token it stands on. */
export class SqlLexer {
  kind: TokenKind = 'other'
  start = 0
  end = 0
  /** False for a quoted token or block comment that the text's end cut short. */
  complete = true
  readonly text: string
  readonly #conforming: boolean

  constructor(text: string, { standardConformingStrings = true }: LexerOptions = {}) {
    this.text = text
    this.#conforming = standardConformingStrings
  }

  /** Moves to the next token, comments included. False at the end of the text. */
  next(): boolean {
    const { text } = this
    const { length } = text
    let at = this.end
    let code = 0
    for (; at < length; at++) {
      code = text.charCodeAt(at)
      if (code >= 128 || (classes[code]! & space) === 0) break
    }
    this.start = at
    this.complete = true
    if (at >= length) {
      this.end = length
      return false
    }
    const kinds = classOf(code)
    if ((kinds & identifierStart) !== 0) this.#word(at, code)
    else if ((kinds & digit) !== 0) this.#number(at)
    else if (code === quote) this.#quoted('string', at + 1, !this.#conforming)
    else if ((kinds & punctuation) !== 0) this.#punctuation(at, code)
    else if ((kinds & operatorCharacter) !== 0) this.#operator(at, code)
    else if (code === doubleQuote) this.#quotedIdentifier(at + 1)
    else if (code === dollar) this.#dollar(at)
    else this.#set('other', at + 1)
    return true
  }

  #set(kind: TokenKind, end: number): void {
    this.kind = kind
    this.end = end
  }

  #unterminated(kind: TokenKind): void {
    this.complete = false
    this.#set(kind, this.text.length)
  }

  #word(at: number, code: number): void {
    const { text } = this
    const following = text.charCodeAt(at + 1)
    if (following === quote) {
      switch (code | 0x20) {
        case 0x65: // E
          return this.#quoted('escapeString', at + 2, true)
        case 0x62: // B
        case 0x78: // X
          return this.#quoted('bitString', at + 2, false)
      }
    } else if (following === 0x26 && (code | 0x20) === 0x75) {
      const opening = text.charCodeAt(at + 2)
      if (opening === quote) return this.#quoted('unicodeString', at + 3, false)
      if (opening === doubleQuote) return this.#quotedIdentifier(at + 3)
    }
    let end = at + 1
    for (; end < text.length; end++) {
      const part = text.charCodeAt(end)
      if (part < 128 && (classes[part]! & (identifierStart | digit)) === 0 && part !== dollar) break
    }
    this.#set('identifier', end)
  }

  #number(at: number): void {
    const { text } = this
    let end = at + 1
    let dotted = text.charCodeAt(at) === dot
    for (; end < text.length; end++) {
      const code = text.charCodeAt(end)
      if (isIdentifierPart(code)) continue
      if (code === dot && !dotted && text.charCodeAt(end + 1) !== dot) {
        dotted = true
        continue
      }
      // A sign belongs to the number only behind a decimal exponent: 1e-5, but not 0x1e-5.
      const exponent = (code === dash || code === 0x2b) && (text.charCodeAt(end - 1) | 0x20) === 0x65
      if (exponent && (classOf(text.charCodeAt(end + 1)) & digit) !== 0 && (text.charCodeAt(at + 1) | 0x20) !== 0x78) continue
      break
    }
    this.#set('number', end)
  }

  /** From behind the opening quote to behind the last closing one, continuations included. */
  #quoted(kind: TokenKind, from: number, backslashes: boolean): void {
    const { text } = this
    let at = from
    for (;;) {
      at = backslashes ? closingQuoteWithEscapes(text, at) : text.indexOf("'", at)
      if (at < 0) return this.#unterminated(kind)
      at++
      if (text.charCodeAt(at) === quote) {
        at++
        continue
      }
      const continued = continuationFrom(text, at)
      if (continued < 0) return this.#set(kind, at)
      at = continued
    }
  }

  #quotedIdentifier(from: number): void {
    const { text } = this
    let at = from
    for (;;) {
      at = text.indexOf('"', at)
      if (at < 0) return this.#unterminated('quotedIdentifier')
      at++
      if (text.charCodeAt(at) !== doubleQuote) return this.#set('quotedIdentifier', at)
      at++
    }
  }

  #dollar(at: number): void {
    const { text } = this
    let end = at + 1
    const first = text.charCodeAt(end)
    if ((classOf(first) & digit) !== 0) {
      while (end < text.length && (classOf(text.charCodeAt(end)) & digit) !== 0) end++
      return this.#set('parameter', end)
    }
    while (end < text.length && isIdentifierPart(text.charCodeAt(end))) end++
    if (text.charCodeAt(end) !== dollar) return this.#set('other', at + 1)
    const tag = text.slice(at, end + 1)
    const closing = text.indexOf(tag, end + 1)
    if (closing < 0) return this.#unterminated('dollarString')
    this.#set('dollarString', closing + tag.length)
  }

  #punctuation(at: number, code: number): void {
    const following = this.text.charCodeAt(at + 1)
    if (code === colon && (following === colon || following === equals)) return this.#set('punctuation', at + 2)
    if (code === dot) {
      if (following === dot) return this.#set('punctuation', at + 2)
      if ((classOf(following) & digit) !== 0) return this.#number(at)
    }
    this.#set('punctuation', at + 1)
  }

  #operator(at: number, code: number): void {
    const { text } = this
    if (code === dash && text.charCodeAt(at + 1) === dash) return this.#set('comment', lineEnd(text, at + 2))
    if (code === slash && text.charCodeAt(at + 1) === star) return this.#blockComment(at + 2)
    let end = at
    let marks = 0
    for (; end < text.length; end++) {
      const part = text.charCodeAt(end)
      if (part >= 128 || (classes[part]! & operatorCharacter) === 0) break
      if (end > at) {
        const following = text.charCodeAt(end + 1)
        if ((part === dash && following === dash) || (part === slash && following === star)) break
      }
      marks |= classes[part]! & operatorMark
    }
    // `=-1` is `=` and `-1`: SQL's own operators never swallow a sign.
    if (marks === 0) while (end > at + 1 && (text.charCodeAt(end - 1) === dash || text.charCodeAt(end - 1) === 0x2b)) end--
    this.#set('operator', end)
  }

  #blockComment(from: number): void {
    const { text } = this
    let depth = 1
    for (let at = from; at < text.length; at++) {
      const code = text.charCodeAt(at)
      if (code === star && text.charCodeAt(at + 1) === slash) {
        at++
        if (--depth === 0) return this.#set('comment', at + 1)
      } else if (code === slash && text.charCodeAt(at + 1) === star) {
        at++
        depth++
      }
    }
    this.#unterminated('comment')
  }
}

function closingQuoteWithEscapes(text: string, from: number): number {
  for (let at = from; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === quote) return at
    if (code === backslash) at++
  }
  return -1
}

function lineEnd(text: string, from: number): number {
  let at = from
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === newline || code === carriageReturn) break
  }
  return at
}

/** Where a string goes on behind the quote of its next part, or -1: parts are joined over white space with a newline and `--` comments. */
function continuationFrom(text: string, from: number): number {
  let newlineSeen = false
  let at = from
  while (at < text.length) {
    const code = text.charCodeAt(at)
    if (code === quote) return newlineSeen ? at + 1 : -1
    if (code === newline || code === carriageReturn) newlineSeen = true
    else if (code === dash && text.charCodeAt(at + 1) === dash) {
      at = lineEnd(text, at + 2)
      continue
    } else if ((classOf(code) & space) === 0) return -1
    at++
  }
  return -1
}

/** All tokens of `text`, for callers that do not mind an object per token. */
export function tokensOf(text: string, options: LexerOptions = {}): Token[] {
  const lexer = new SqlLexer(text, options)
  const tokens: Token[] = []
  while (lexer.next()) tokens.push({ kind: lexer.kind, start: lexer.start, end: lexer.end, complete: lexer.complete })
  return tokens
}
