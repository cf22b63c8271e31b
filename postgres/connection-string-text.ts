/**
 * The two written forms of a connection string, taken apart into keywords and values as libpq does.
 *
 * Knows the grammar only; `connection-string.ts` gives the keywords their meaning. No error repeats a piece of the text, because a
 * misplaced quote, space or slash makes a piece of the password look like something else.
 * Source: PostgreSQL documentation, "Connection Strings".
 */
import { KnownError } from '../base/errors.ts'
import { isKeyword, secretKeywords } from './connection-string-keywords.ts'

/** A connection string that cannot be used. The message names the parameter and never holds a value or the text. */
export class BadConnectionString extends KnownError {
  readonly code = 'BAD_CONNECTION_STRING'
  readonly remedy: string
  readonly safeToRetry = true
  /** The parameter at fault, or null when the text could not be taken apart. */
  readonly parameter: string | null
  constructor(what: string, { remedy, parameter = null }: { readonly remedy?: string; readonly parameter?: string | null } = {}) {
    super(`connection string: ${what}`)
    this.parameter = parameter
    this.remedy = remedy ?? 'Write it as postgresql://user@host:5432/database?sslmode=verify-full or as host=… dbname=… user=….'
  }
}

/** One `keyword=value`, decoded, and whether its keyword may be repeated in an error. */
export type Assignment = { readonly keyword: string; readonly value: string; readonly mayBeNamed: boolean }

const longestTextCharacters = 65_536
const schemes = ['postgresql://', 'postgres://']

/**
 * Every assignment in the order written; a later one of the same keyword counts.
 * @throws BadConnectionString
 */
export function splitConnectionString(text: string): Assignment[] {
  if (text.length > longestTextCharacters) throw new BadConnectionString(`it is longer than ${longestTextCharacters} characters`)
  if (text.includes('\0')) throw new BadConnectionString('it holds a zero byte')
  const scheme = schemes.find((candidate) => text.startsWith(candidate))
  if (scheme !== undefined) return splitUrl(text.slice(scheme.length))
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) throw new BadConnectionString('its scheme is neither postgresql:// nor postgres://')
  return splitPairs(text)
}

/** `key=value key='quoted value'`: blanks around `=` are skipped; a backslash takes the next character as it is. */
function splitPairs(text: string): Assignment[] {
  const assignments: Assignment[] = []
  const isBlank = (at: number): boolean => at < text.length && /[ \t\n\v\f\r]/.test(text[at]!)
  let before = ''
  // What follows a password may be the rest of one that holds a blank or a quote.
  let mayBeNamed = true
  let at = 0
  for (;;) {
    while (isBlank(at)) at++
    if (at >= text.length) return assignments
    const start = at
    while (at < text.length && text[at] !== '=' && !isBlank(at)) at++
    const keyword = text.slice(start, at)
    while (isBlank(at)) at++
    if (text[at] !== '=') {
      const where = before === '' ? 'its first word' : `the word behind the value of ${before}`
      throw new BadConnectionString(`"=" is missing behind ${where}`, { remedy: 'Put a value that holds blanks in single quotes.' })
    }
    at++
    while (isBlank(at)) at++
    const quoted = text[at] === "'"
    if (quoted) at++
    let value = ''
    while (at < text.length && (quoted ? text[at] !== "'" : !isBlank(at))) {
      if (text[at] === '\\') at++
      if (at < text.length) value += text[at++]
    }
    if (quoted && at++ >= text.length) {
      throw new BadConnectionString(`the quoted value of ${nameOf(keyword)} does not end`, {
        remedy: "End the value with a single quote; inside it write \\' for a quote.",
      })
    }
    assignments.push({ keyword, value, mayBeNamed })
    before = nameOf(keyword)
    if (secretKeywords.has(keyword)) mayBeNamed = false
  }
}

const nameOf = (keyword: string): string => (isKeyword(keyword) ? keyword : 'a parameter')

/** `[user[:password]@][host[:port]][,…][/dbname][?key=value&…]`, each piece percent-encoded. */
function splitUrl(rest: string): Assignment[] {
  const assignments: Assignment[] = []
  const add = (keyword: string, value: string, mayBeNamed = true): void => {
    if (value !== '') assignments.push({ keyword, value: percentDecode(value, keyword), mayBeNamed })
  }
  let at = 0
  const until = (stops: string): string => {
    const start = at
    while (at < rest.length && !stops.includes(rest[at]!)) at++
    return rest.slice(start, at)
  }
  const credentials = until('@/')
  if (rest[at] === '@') {
    const colon = credentials.indexOf(':')
    add('user', colon < 0 ? credentials : credentials.slice(0, colon))
    if (colon >= 0) add('password', credentials.slice(colon + 1))
    at++
  } else at = 0
  // An "@" behind the credentials means that a "/" stood in the password: then nothing that follows may be repeated.
  const mayBeNamed = !rest.slice(at).includes('@')
  const hosts: string[] = []
  const ports: string[] = []
  for (;;) {
    if (rest[at] === '[') {
      at++
      const address = until(']')
      if (rest[at] !== ']' || address === '')
        throw new BadConnectionString('host has an IPv6 address in brackets that is empty or does not end', { parameter: 'host' })
      at++
      if (at < rest.length && !':/?,'.includes(rest[at]!)) {
        throw new BadConnectionString('host has something other than ":", ",", "/" or "?" behind the bracket of an IPv6 address', {
          parameter: 'host',
        })
      }
      hosts.push(address)
    } else hosts.push(until(':/?,'))
    if (rest[at] === ':') {
      at++
      ports.push(until('/?,'))
    } else ports.push('')
    if (rest[at] !== ',') break
    at++
  }
  if (hosts.length > 1 || hosts[0] !== '') add('host', hosts.join(','))
  if (ports.some((port) => port !== '')) add('port', ports.join(','))
  if (rest[at] === '/') {
    at++
    add('dbname', until('?'))
  }
  if (rest[at] === '?') splitQuery(rest.slice(at + 1), mayBeNamed, assignments)
  return assignments
}

function splitQuery(query: string, unbroken: boolean, assignments: Assignment[]): void {
  if (query === '') return
  let mayBeNamed = unbroken
  let number = 0
  for (const pair of query.split('&')) {
    number++
    const pieces = pair.split('=')
    if (pieces.length !== 2) {
      const fault = pieces.length < 2 ? 'has no "="' : 'has more than one "="'
      throw new BadConnectionString(`query parameter ${number} of the URL ${fault}`, { remedy: 'Write & as %26 and = as %3D in a value.' })
    }
    let keyword = percentDecode(pieces[0]!, 'a query parameter')
    let value = percentDecode(pieces[1]!, nameOf(keyword))
    // JDBC's way of asking for TLS, which libpq takes as well.
    if (keyword === 'ssl' && value === 'true') [keyword, value] = ['sslmode', 'require']
    assignments.push({ keyword, value, mayBeNamed })
    // A "&" in a password that is not encoded looks like the next parameter.
    if (secretKeywords.has(keyword)) mayBeNamed = false
  }
}

function percentDecode(encoded: string, parameter: string): string {
  const trimmed = encoded.replace(/^[ \t\n\v\f\r]+|[ \t\n\v\f\r]+$/g, '')
  const bad = (what: string): BadConnectionString =>
    new BadConnectionString(`${parameter} ${what}`, {
      parameter,
      remedy: 'Percent-encode what is not a letter or digit, as %20 for a space and %25 for %.',
    })
  if (/[ \t\n\v\f\r]/.test(trimmed)) throw bad('holds a space')
  if (/%00/.test(trimmed)) throw bad('holds a zero byte')
  try {
    return decodeURIComponent(trimmed)
  } catch {
    throw bad('holds a percent sign that is not followed by the two hexadecimal digits of a UTF-8 byte')
  }
}
