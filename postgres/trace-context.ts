/**
 * The trace that a SQL text says it belongs to: W3C Trace Context in a comment, as sqlcommenter and ORMs write it.
 *
 * Read only from comments (`sql-lexer.ts` finds them), never from literals or names: `traceparent='00-…'` with the value URL-encoded
 * and in quotes, or bare. The last valid one of a text counts, because instrumentation nearer to the database appends behind that
 * of an ORM. Linear in the text, without limits of its own; most texts cost one search for a word. `tracestate` is not read.
 * Sources: W3C Trace Context, "traceparent Header Field Values"; sqlcommenter specification.
 */
import { SqlLexer, type LexerOptions } from './sql-lexer.ts'
import type { TraceContext } from './statement.ts'

const key = 'traceparent'
/** Longer values are of no version that exists; a later one may add fields behind those of version 00. */
const valueCharactersMax = 512
const versionZeroCharacters = 55

/** Version, trace id, parent id, flags; W3C allows lower-case digits only. A later version may go on behind a dash. */
const fields = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-|$)/
const onlyZeros = /^0+$/

/** What `traceparent` says, or null when it is not valid by W3C Trace Context. */
export function parseTraceparent(traceparent: string): TraceContext | null {
  const match = fields.exec(traceparent)
  if (match === null) return null
  const [, version, traceId, parentSpanId, flags] = match as unknown as [string, string, string, string, string]
  if (version === 'ff' || (version === '00' && traceparent.length !== versionZeroCharacters)) return null
  if (onlyZeros.test(traceId) || onlyZeros.test(parentSpanId)) return null
  return { traceId, parentSpanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 }
}

/** The trace context that the comments of `sql` carry, or null. Never throws. */
export function traceContextOf(sql: string, options: LexerOptions = {}): TraceContext | null {
  if (!sql.includes(key)) return null
  const lexer = new SqlLexer(sql, options)
  let found: TraceContext | null = null
  while (lexer.next()) {
    // What opens a comment and does not close it is refused by the server, whatever it says.
    if (lexer.kind === 'comment' && lexer.complete) found = lastIn(sql, lexer.start, lexer.end) ?? found
  }
  return found
}

/** The last valid context in the comment between `start` and `end`, its delimiters included. */
function lastIn(sql: string, start: number, end: number): TraceContext | null {
  let found: TraceContext | null = null
  for (let at = sql.indexOf(key, start + 2); at >= 0 && at < end;) {
    const behindKey = at + key.length
    let valueStart = behindKey
    const isKey = at === start + 2 || isSeparator(sql.charCodeAt(at - 1))
    if (isKey && sql.charCodeAt(behindKey) === equals) {
      valueStart = behindKey + 1
      const code = sql.charCodeAt(valueStart)
      if (code === quote || code === doubleQuote) valueStart++
    }
    let valueEnd = valueStart
    if (valueStart > behindKey) {
      while (valueEnd < end && isValuePart(sql.charCodeAt(valueEnd))) valueEnd++
      found = valueBetween(sql, valueStart, valueEnd) ?? found
    }
    // Behind the value: no character is looked at twice, whatever the comment repeats.
    at = sql.indexOf(key, Math.max(valueEnd, behindKey))
  }
  return found
}

function valueBetween(sql: string, start: number, end: number): TraceContext | null {
  if (end - start > valueCharactersMax) return null
  const quoted = sql.charCodeAt(start - 1)
  // An opening quote that the same quote does not close is half a value.
  if ((quoted === quote || quoted === doubleQuote) && sql.charCodeAt(end) !== quoted) return null
  return parseTraceparent(decodeUrl(sql.slice(start, end)))
}

/** Only what a traceparent can consist of is worth decoding: ASCII, so each `%XX` is a character. */
const decodeUrl = (text: string): string =>
  text.replaceAll(/%([0-9a-fA-F]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))

const quote = 0x27
const doubleQuote = 0x22
const equals = 0x3d

/** White space or a comma. */
const isSeparator = (code: number): boolean => code <= 0x20 || code === 0x2c

/** Letters, digits, `%` and `-`. */
function isValuePart(code: number): boolean {
  return (
    (code >= 0x30 && code <= 0x39) || (code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a) || code === 0x25 || code === 0x2d
  )
}
