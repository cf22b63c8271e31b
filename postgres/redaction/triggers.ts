/**
 * What makes a statement's text credential-bearing: words, shapes and options that come with passwords, keys and tokens.
 *
 * The one list of them. `trigger-scan.ts` finds the anchors fast in bytes; the expression here decides. It errs towards "yes": a match
 * inside a comment, a quoted identifier or a longer word counts. It cannot know that `login('bob', 'abc')` takes a password.
 * Every repetition is bounded and gaps are read by `gap.ts`, so the time is linear in the text.
 */
import { createGaps, type Gaps } from './gap.ts'
import { configuresSecret, secretSettingAnchors, setsSecret } from './secret-settings.ts'

const stringStart = `(?:[benx]|u&)?['"$]`

/**
 * The longest piece of text that a single trigger is looked for in by callers that search text in pieces: only one of two words with a gap
 * between them can be longer.
 */
export const triggerBytesMax = 4_200

type Trigger = {
  /** A regular expression's source, for use without regard to case. */
  readonly source: string
  /** Every match holds one of these, in lower case; at least 3 characters each. */
  readonly anchors: readonly string[]
}
/** A word, then white space and comments of any length, or nothing, then what matches `second`, or is found by it. */
type GapTrigger = {
  readonly first: string
  readonly second: RegExp | ((text: string, at: number, gaps: Gaps) => boolean)
  readonly anchors: readonly string[]
  /** The first is a word by itself; without these letters there is no match, whatever anchors there are, which are everyday words here. */
  readonly needs?: 'set'
}

const word = (text: string): Trigger => ({ source: text, anchors: [text] })
const words = (firsts: readonly string[], last: string): Trigger => ({
  source: `(?:${firsts.join('|')})[ _-]?${last}`,
  anchors: firsts.flatMap((first) => ['', ' ', '_', '-'].map((separator) => first + separator + last)),
})

const shapes: readonly Trigger[] = [
  ...['passw', 'passphrase', 'passcode', 'pgpass', 'pwd', 'secret', 'credential', 'dblink', 'conninfo', 'sslkey', 'scram-sha-256'].map(
    word,
  ),
  // The functions of pgcrypto: crypt, encrypt_iv, pgp_sym_decrypt, hmac, gen_salt …
  ...['crypt', 'pgp_sym_', 'pgp_pub_', 'gen_salt', 'hmac', 'aws_s3', 'azure_storage', '-----begin'].map(word),
  words(['api', 'access', 'private', 'encryption', 'signing', 'master', 'account', 'auth', 'service', 'shared'], 'key'),
  words(['access', 'auth', 'refresh', 'api', 'bearer', 'session', 'security', 'oauth'], 'token'),
  { source: `md5[0-9a-f]{32}`, anchors: Array.from('0123456789abcdef').map((digit) => `md5${digit}`) },
  { source: `bearer[\\s:=]`, anchors: ['bearer'] },
  // The header of HTTP as text, in JSON, and as an argument before its value.
  { source: `authorization["'$]{0,2}\\s{0,8}[:=,]`, anchors: ['authorization'] },
  // A JSON Web Token, and an AWS access key id, whatever the column is called.
  { source: String.raw`eyj[a-z0-9_-]{8,1000}\.eyj`, anchors: ['.eyj'] },
  { source: 'akia[0-9a-z]{12}', anchors: ['akia'] },
  // User information in a URL: user:password@ or token@.
  { source: String.raw`:\/\/[^\s/@]{1,512}@`, anchors: ['://'] },
  // Which character escapes is then the text's own choice, so what it spells is not looked at.
  word('uescape'),
]

const gapTriggers: readonly GapTrigger[] = [
  { first: 'user', second: /mapping/iy, anchors: ['mapping'] },
  // CREATE or ALTER SERVER, FOREIGN DATA WRAPPER, FOREIGN TABLE, USER MAPPING.
  { first: 'options', second: /\(/y, anchors: ['options'] },
  // CREATE or ALTER SUBSCRIPTION … CONNECTION '…' and COPY … PROGRAM '…'.
  { first: 'connection', second: new RegExp(stringStart, 'iy'), anchors: ['connection'] },
  { first: 'program', second: new RegExp(stringStart, 'iy'), anchors: ['program'] },
  // CREATE USER … IDENTIFIED BY '…' of other databases, which agents write for this one, too.
  { first: 'identified', second: /by|with|via|as/iy, anchors: ['identified'] },
  // SET app.token = …, ALTER ROLE … SET app.token = …, and by function.
  { first: 'set', second: setsSecret, anchors: secretSettingAnchors, needs: 'set' },
  { first: 'set_config', second: configuresSecret, anchors: secretSettingAnchors, needs: 'set' },
]

export const triggers: readonly { readonly anchors: readonly string[]; readonly needs?: 'set' }[] = [...shapes, ...gapTriggers]

const expression = new RegExp(shapes.map(({ source }) => source).join('|'), 'i')
const firstWords = new RegExp(
  gapTriggers.map(({ first, needs }) => (needs === undefined ? first : `(?<![\\w$])${first}(?![\\w$])`)).join('|'),
  'gi',
)
const secondOf = new Map(gapTriggers.map(({ first, second }) => [first, second]))

/** Where the first trigger of two words stands, or -1. A text that exhausts the reading of gaps counts as one. */
function gapTriggerIndex(text: string): number {
  firstWords.lastIndex = 0
  let gaps: ReturnType<typeof createGaps> | undefined
  for (let found = firstWords.exec(text); found !== null; found = firstWords.exec(text)) {
    gaps ??= createGaps(text)
    const second = secondOf.get(found[0].toLowerCase())!
    const at = gaps.endOf(firstWords.lastIndex)
    if (typeof second === 'function') {
      if (second(text, at, gaps)) return found.index
    } else {
      second.lastIndex = at
      if (second.test(text)) return found.index
    }
    if (gaps.exhausted) return found.index
  }
  return -1
}

/** Where the first trigger stands that is spelled out, or -1. */
export function triggerIndex(text: string): number {
  const [shape, pair] = [text.search(expression), gapTriggerIndex(text)]
  return shape < 0 || pair < 0 ? Math.max(shape, pair) : Math.min(shape, pair)
}

const isSpelledOut = (text: string): boolean => expression.test(text) || gapTriggerIndex(text) >= 0

/** True when `text` has a trigger, spelled out or by the backslash escapes of `E'…'`, `U&'…'` and `U&"…"`. */
export function mayCarryCredential(text: string): boolean {
  if (isSpelledOut(text)) return true
  // An escape is decoded wherever it stands: outside of such strings it spells nothing that matters.
  return text.includes('\\') && (isSpelledOut(decodeEscapes(text)) || isSpelledOut(decodeUnicodeEscapes(text)))
}

const escapes = /\\(?:x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{1,3})|([^]))/g
const namedEscapes: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }

/** `text` with the escapes of `E'…'` decoded; a character above 127 becomes its UTF-8 bytes, each as one character. */
export function decodeEscapes(text: string): string {
  return text.replace(escapes, (_whole, hexadecimal?: string, short?: string, long?: string, octal?: string, other?: string) => {
    if (other !== undefined) return namedEscapes[other] ?? other
    if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8) & 0xff)
    if (hexadecimal !== undefined) return String.fromCharCode(Number.parseInt(hexadecimal, 16))
    return characterOf(short ?? long ?? '0')
  })
}

/** `text` with the escapes `\0061` and `\+000061` of `U&` strings decoded, for the default escape character. */
export function decodeUnicodeEscapes(text: string): string {
  return text.replace(/\\(?:\+([0-9a-f]{6})|([0-9a-f]{4})|(\\))/gi, (_whole, long?: string, short?: string) => {
    const digits = long ?? short
    return digits === undefined ? '\\' : characterOf(digits)
  })
}

function characterOf(hexadecimal: string): string {
  const point = Number.parseInt(hexadecimal, 16)
  if (point > 0x10ffff) return ''
  return point < 0x80 ? String.fromCharCode(point) : Buffer.from(String.fromCodePoint(point)).toString('latin1')
}
