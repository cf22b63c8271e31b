/**
 * The literals that were redacted in a session, so that the server's echoes of them can be redacted too.
 *
 * Bounded: 512 literals and 256 KiB, the oldest forgotten first; of a literal over 4,096 characters the first 64 stand for it, and an echo of
 * these is replaced up to its end. Of a literal longer than a name can be the first 60 and what follows of it are found, for the server cuts names.
 * Texts are bytes read as latin1. A literal under 3 characters is not remembered: its echo cannot be told from chance.
 */
import { SqlLexer } from '../sql-lexer.ts'
import { decodeEscapes, decodeUnicodeEscapes } from './triggers.ts'

export const replacement = '[redacted]'

const entriesMax = 512
const charactersMax = 256 * 1024
const literalCharactersMax = 4_096
const prefixCharacters = 64
const literalCharactersMin = 3
/** The server keeps 63 bytes of a name and no broken letter. Source: truncate_identifier of the server's scansup.c. */
const nameCharactersKept = 60
const wordsMax = 64
const nestingMax = 2
const bareWordsMax = 3

export type RememberedLiterals = ReturnType<typeof createRememberedLiterals>

export function createRememberedLiterals() {
  /** The value says whether an echo goes on to the end of its field. */
  const entries = new Map<string, boolean>()
  let characters = 0

  function add(text: string, toEnd: boolean): void {
    if (text.length > literalCharactersMax) return add(text.slice(0, prefixCharacters), true)
    if (text.length < literalCharactersMin || text.includes('\0')) return
    if (entries.has(text)) {
      if (toEnd) entries.set(text, true)
      return
    }
    entries.set(text, toEnd)
    characters += text.length
    for (const oldest of entries.keys()) {
      if (entries.size <= entriesMax && characters <= charactersMax) break
      entries.delete(oldest)
      characters -= oldest.length
    }
  }

  /** The parts of a literal that a server may name alone: values of connection strings, and words that are not plain letters. */
  function addWords(text: string): void {
    let count = 0
    for (const { 0: part } of text.slice(0, literalCharactersMax).matchAll(/[^\s"'{}[\](),:;=&@?/\\<>]+/g)) {
      if (count++ === wordsMax) return
      if (part.length >= 6 && /[^a-z]/i.test(part)) add(part, false)
    }
    for (const { 1: value } of text
      .slice(0, literalCharactersMax)
      .matchAll(/(?:passw\w{0,8}|secret\w{0,16}|\w{0,16}key|\w{0,16}token)\s?["']?\s?[:=]\s?["']?([^\s"'&;,]+)/gi)) {
      add(value!, false)
    }
    for (const { 1: value } of text.slice(0, literalCharactersMax).matchAll(/:\/\/[^\s/@:]{0,256}:?([^\s/@]{1,512})@/g)) {
      add(value!, false)
      add(decodePercent(value!), false)
    }
  }

  function addNested(text: string, depth: number): void {
    const lexer = new SqlLexer(text)
    while (lexer.next()) addToken(lexer, depth + 1)
  }

  function addToken({ kind, start, end, text }: SqlLexer, depth: number): void {
    const token = text.slice(start, end)
    let content: string
    switch (kind) {
      case 'string':
      case 'bitString':
      case 'escapeString':
      case 'unicodeString':
      case 'quotedIdentifier': {
        const opening = Math.min(token.indexOf("'") >>> 0, token.indexOf('"') >>> 0)
        content = token.slice(opening + 1, closes(token, opening) ? -1 : undefined)
        break
      }
      case 'dollarString': {
        const tag = token.slice(0, token.indexOf('$', 1) + 1)
        content = token.endsWith(tag) && token.length >= 2 * tag.length ? token.slice(tag.length, -tag.length) : token.slice(tag.length)
        break
      }
      default:
        return
    }
    add(content, false)
    const plain = unescaped(kind, content)
    if (plain !== content) add(plain, false)
    addWords(plain)
    if (depth < nestingMax && /['"$]/.test(plain)) addNested(plain, depth)
  }

  return {
    /** Remembers the literal that `lexer` stands on, as written and as meant, and the literals in it. */
    addToken: (lexer: SqlLexer): void => addToken(lexer, 0),
    /** Remembers a bare word or a parameter's value. */
    addText(text: string): void {
      add(text, false)
      add(text.toLowerCase(), false)
      addWords(text)
    },
    /** Remembers text that could not be cut into tokens safely: an echo of its beginning is replaced to the end of its field. */
    addRest(text: string): void {
      add(text.slice(0, prefixCharacters), true)
      for (const standardConformingStrings of [true, false]) {
        const lexer = new SqlLexer(text, { standardConformingStrings })
        let bareWords = 0
        while (lexer.next()) {
          addToken(lexer, 0)
          if (lexer.kind !== 'identifier' && lexer.kind !== 'number') continue
          // Parts of a badly quoted secret; plain words only near the start, for they may be any.
          const word = text.slice(lexer.start, lexer.end)
          if (bareWords++ >= bareWordsMax && !/[^a-z_]/i.test(word)) continue
          add(word, false)
          add(word.toLowerCase(), false)
        }
      }
      addWords(text)
    },
    /** `text` with every remembered literal replaced; the very same string when there is none. */
    replaceIn(text: string): string {
      const spans = spansIn(text, entries)
      if (spans.length === 0) return text
      let out = ''
      let done = 0
      for (const [start, end] of spans) {
        if (start > done || out === '') out += text.slice(done, start) + replacement
        done = Math.max(done, end)
      }
      return out + text.slice(done)
    },
    /**
     * True when a setting's value repeats a remembered literal, also in the ASCII that the server makes of an `application_name`: `?` for each
     * other byte, from PostgreSQL 16 on `\xc3`.
     */
    isIn(value: string): boolean {
      if (spansIn(value, entries).length > 0) return true
      if (!/[?\\]/.test(value)) return false
      for (const literal of entries.keys()) {
        const kept = literal.slice(0, nameCharactersKept)
        const asked = kept.replace(notPrintable, '?')
        if (asked === kept) continue
        const escaped = kept.replace(notPrintable, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`)
        if (value.includes(asked) || value.includes(escaped)) return true
      }
      return false
    },
    /** The same with stars, so that the length stays. */
    starIn(text: string): string {
      let out = text
      for (const [start, end] of spansIn(text, entries)) out = out.slice(0, start) + '*'.repeat(end - start) + out.slice(end)
      return out
    },
  }
}

function spansIn(text: string, entries: ReadonlyMap<string, boolean>): [number, number][] {
  const spans: [number, number][] = []
  for (const [literal, toEnd] of entries) {
    const found = literal.length > nameCharactersKept ? literal.slice(0, nameCharactersKept) : literal
    for (let at = text.indexOf(found), end: number; at >= 0; at = text.indexOf(found, end)) {
      end = at + found.length
      while (end < text.length && end - at < literal.length && text[end] === literal[end - at]) end++
      // One whose rest is not known goes on to the end of its field, if all that is known of it is there.
      if (toEnd && end - at === literal.length) end = text.length
      spans.push([at, end])
    }
  }
  return spans.toSorted((left, right) => left[0] - right[0])
}

/** What the server does not keep in names of programs. Source: pg_clean_ascii of the server. */
const notPrintable = /[^ -~]/g

function closes(token: string, opening: number): boolean {
  return token.length > opening + 1 && token.endsWith(token[opening]!)
}

function unescaped(kind: SqlLexer['kind'], content: string): string {
  if (kind === 'dollarString') return content
  // Parts of a continued string are joined as the server joins them.
  const joined = content.replace(/'[ \t\f\v]*(?:--[^\n\r]*)?[\n\r](?:\s|--[^\n\r]*[\n\r])*'/g, '')
  switch (kind) {
    case 'escapeString':
      return decodeEscapes(joined.replaceAll("''", "'"))
    case 'unicodeString':
      return decodeUnicodeEscapes(joined.replaceAll("''", "'"))
    case 'quotedIdentifier':
      return content.replaceAll('""', '"')
    default:
      return joined.replaceAll("''", "'")
  }
}

function decodePercent(text: string): string {
  return text.replace(/%([0-9a-f]{2})/gi, (_whole, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))
}
