/**
 * Where the password stands in a statement about a role, and how much of what follows may belong to it.
 *
 * Behind `PASSWORD` a string, NULL or a parameter is the whole of it, and of what follows only the options of roles are none of it. Anything else
 * is no SQL that the server takes: then the password may be any part of the rest of the statement. Known are CREATE and ALTER of ROLE, USER and
 * GROUP, their IDENTIFIED BY of other databases, and SET PASSWORD.
 * Source: PostgreSQL documentation, CREATE ROLE and ALTER ROLE.
 */
import type { TokenKind } from '../sql-lexer.ts'

const passwordWord = /^(?:encrypted|unencrypted|identified|pass(?:word|wd|phrase|code)|pwd)$/
const roleWords = new Set(['role', 'user', 'group'])
/** Between the verb and what it is about, or between that and the name. */
const betweenWords = new Set(['or', 'replace', 'if', 'not', 'exists'])
/** Options that go with others or with a string or number. */
const options = new Set(
  `superuser nosuperuser createdb nocreatedb createrole nocreaterole inherit noinherit login nologin replication noreplication bypassrls nobypassrls
  connection limit valid until sysid null with`.split(/\s+/),
)
/** Options behind which names follow. */
const namingOptions = new Set(['in', 'role', 'admin', 'user', 'group'])
const strings: ReadonlySet<TokenKind> = new Set<TokenKind>(['string', 'escapeString', 'unicodeString', 'bitString', 'dollarString'])

type Place = 'start' | 'elsewhere' | 'behind the verb' | 'behind set' | 'at the name' | 'options' | 'at the password' | 'behind it' | 'rest'

/** Told every token of a text but comments, in order. */
export function createRolePassword() {
  let place: Place = 'start'

  /** The place behind a token that is not one of the password. */
  function next(kind: TokenKind, word: string): Place {
    if (word === ';') return 'start'
    switch (place) {
      case 'start':
        if (word === 'set') return 'behind set'
        return word === 'create' || word === 'alter' ? 'behind the verb' : 'elsewhere'
      case 'elsewhere':
        return word === 'create' || word === 'alter' ? 'behind the verb' : 'elsewhere'
      case 'behind the verb':
        return roleWords.has(word) ? 'at the name' : betweenWords.has(word) ? place : 'elsewhere'
      case 'behind set':
        return word === 'password' ? 'rest' : 'elsewhere'
      case 'at the name':
        return word === 'mapping' ? 'elsewhere' : betweenWords.has(word) ? place : 'options'
      case 'options':
      case 'behind it':
        if (passwordWord.test(word)) return 'at the password'
        // ALTER ROLE … SET name = value: the name says whether that is a secret.
        if (word === 'set' || word === 'reset') return 'elsewhere'
        return namingOptions.has(word) ? 'options' : place
      case 'at the password':
        if (passwordWord.test(word) || word === 'by') return place
        return strings.has(kind) || kind === 'parameter' || word === 'null' ? 'behind it' : 'rest'
      case 'rest':
        return place
      default:
        return place satisfies never
    }
  }

  return {
    /** True for a token that may be a part of the password and would not be replaced for what it is. */
    includes(kind: TokenKind, token: string): boolean {
      const word = kind === 'identifier' ? token.toLowerCase() : token
      const before = place
      place = next(kind, word)
      if (place === 'rest') return before !== 'behind set'
      if (place !== 'behind it' || before !== place) return false
      return kind === 'quotedIdentifier' || (kind === 'identifier' && !options.has(word))
    },
  }
}
