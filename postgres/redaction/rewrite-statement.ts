/**
 * Replaces the literals in the text of one credential-bearing statement.
 *
 * Replaced are: every string, dollar-quoted body and comment; numbers of more than three characters; quoted identifiers that are no plain
 * name or stand where a value does (people quote passwords wrongly); bare words where a password stands (`PASSWORD hunter2`, `secret = hunter2`).
 * In a statement about a role the password takes with it what follows, by `role-password.ts`. Parameters (`$1`) and plain names stay, so that
 * the statement can still be understood.
 */
import { SqlLexer } from '../sql-lexer.ts'
import { replacement, type RememberedLiterals } from './remembered-literals.ts'
import { createRolePassword } from './role-password.ts'

const quoted = `'${replacement}'`
const plainNumberCharactersMax = 3

/** Words behind which a bare word is the secret itself. */
const secretWord = /^(?:encrypted|identified|pass(?:word|wd|phrase|code)|pwd|secret)$/
/** Names whose assigned value is a secret. */
const secretName = /pass|pwd|pw(?![a-z])|secret|cred|token|key|salt|conninfo|jwt|auth|bearer|cookie|otp/
const assignments = new Set(['=', ':=', '=>', ':'])
const assignmentWords = new Set(['to', 'by', 'is'])
/** Words that may follow a name of that sort and are never the secret. */
const grammarWords = new Set(
  `all and any array as asc between bytea case character check collate cross default desc distinct else end except exists false for from full
  generated group having ilike in inner intersect into is join left like limit natural not notnull null offset on or order over primary
  references returning right select set similar some text then true union unique using valid values varchar varying when where with without`.split(
    /\s+/,
  ),
)
/** A no-break space, also in UTF-8 read as latin1, makes one word of two: it comes with what was copied from a page. */
const gluedWord = /[\w\xc2]\xa0/
/** What ends a bare value; anything else that touches it belongs to it. */
const valueEnds = new Set([',', '(', ')', ';'])

/** What the tokens so far say about the next one. */
type Expectation = 'nothing' | 'value behind an assignment' | 'value'

/** `text` without its literals, which are remembered. From `doubtAt` on, where tokens are not certain, nothing of it is kept. */
export function rewriteStatement(text: string, doubtAt: number, remembered: RememberedLiterals): string {
  const lexer = new SqlLexer(text)
  const rolePassword = createRolePassword()
  let out = ''
  let copied = 0
  let expectation: Expectation = 'nothing'
  /** Where the bare value that was replaced last ends. */
  let valueEnd = -1
  let behindValues = false
  let previous = ''

  const replace = (by: string): void => {
    out += text.slice(copied, lexer.start) + by
    copied = lexer.end
  }
  const replaceBareValue = (): void => {
    remembered.addToken(lexer)
    remembered.addText(text.slice(lexer.start, lexer.end))
    replace(valueEnd === lexer.start ? '' : quoted)
    valueEnd = lexer.end
    expectation = 'nothing'
  }

  /** All values of a row are one. */
  const replaceRolePassword = (): void => {
    if (valueEnd >= 0 && valueEnd === copied) {
      remembered.addToken(lexer)
      remembered.addText(text.slice(lexer.start, lexer.end))
      copied = lexer.end
      valueEnd = lexer.end
    } else replaceBareValue()
  }

  while (lexer.next()) {
    const { kind, start, end } = lexer
    if (start >= doubtAt) {
      remembered.addRest(text.slice(start))
      return out + text.slice(copied, start) + quoted
    }
    if (kind !== 'comment' && rolePassword.includes(kind, text.slice(start, end))) {
      replaceRolePassword()
      previous = ''
      continue
    }
    const isValue = expectation === 'value' || valueEnd === start
    switch (kind) {
      case 'comment':
        remembered.addText(text.slice(start + 2, text.startsWith('/*', start) ? end - 2 : end).trim())
        replace(`/*${replacement}*/`)
        continue
      case 'string':
      case 'escapeString':
      case 'unicodeString':
      case 'bitString':
      case 'dollarString':
        remembered.addToken(lexer)
        replace(quoted)
        // What touches a string in a place of a value goes with it: 'abc'def.
        valueEnd = isValue ? end : -1
        expectation = 'nothing'
        break
      case 'number':
        if (isValue || end - start > plainNumberCharactersMax) replaceBareValue()
        break
      case 'quotedIdentifier': {
        const name = text.slice(start, end)
        const standsForValue = (behindValues || assignments.has(previous)) && text[end] !== '.' && previous !== '.'
        if (isValue || standsForValue || !/^(?:[uU]&)?"[\w$\x80-\uffff]*"$/.test(name)) replaceBareValue()
        else expectation = secretName.test(name.toLowerCase()) ? 'value behind an assignment' : previous === '.' ? expectation : 'nothing'
        break
      }
      case 'identifier': {
        const word = text.slice(start, end).toLowerCase()
        if (valueEnd === start || gluedWord.test(text.slice(start, end))) replaceBareValue()
        else if (secretWord.test(word)) expectation = 'value'
        else if (expectation !== 'nothing' && assignmentWords.has(word)) expectation = 'value'
        else if (expectation === 'value' && !grammarWords.has(word)) replaceBareValue()
        else expectation = secretName.test(word) ? 'value behind an assignment' : previous === '.' ? expectation : 'nothing'
        if (word === 'values') behindValues = true
        break
      }
      case 'punctuation':
      case 'operator': {
        const symbol = text.slice(start, end)
        if (assignments.has(symbol) && expectation !== 'nothing') expectation = 'value'
        else if (valueEnds.has(symbol)) expectation = 'nothing'
        // SET app.token.value = x: every part of the name is the name.
        else if (symbol === '.' && expectation === 'value behind an assignment') break
        else if (isValue && (valueEnd === start || kind === 'operator')) replaceBareValue()
        else expectation = 'nothing'
        break
      }
      case 'parameter':
        expectation = 'nothing'
        break
      case 'other':
        if (isValue) replaceBareValue()
        break
    }
    previous = kind === 'punctuation' || kind === 'operator' ? text.slice(start, end) : ''
  }
  return out + text.slice(copied)
}
