/**
 * What makes a statement's text credential-bearing: words, shapes and options that come with passwords, keys and tokens.
 *
 * The one list of them. `trigger-scan.ts` finds the anchors fast in bytes; the expression here decides. It errs towards "yes": a match
 * inside a comment, a quoted identifier or a longer word counts. It cannot know that `login('bob', 'abc')` takes a password.
 * Every repetition is bounded, so the time is linear in the text.
 */

/** White space and comments that may stand between two words. */
const gap = String.raw`(?:\s|\/\*[^*]{0,160}\*\/|--[^\n\r]{0,160}[\n\r]){0,24}`
const stringStart = `(?:[benx]|u&)?['"$]`

/** The longest piece of text that a single trigger can span, for callers that search text in pieces. */
export const triggerBytesMax = 4_200

type Trigger = {
  /** A regular expression's source, for use without regard to case. */
  readonly source: string
  /** Every match holds one of these, in lower case; at least 3 characters each. */
  readonly anchors: readonly string[]
}

const word = (text: string): Trigger => ({ source: text, anchors: [text] })
const words = (firsts: readonly string[], last: string): Trigger => ({
  source: `(?:${firsts.join('|')})[ _-]?${last}`,
  anchors: firsts.flatMap((first) => ['', ' ', '_', '-'].map((separator) => first + separator + last)),
})

export const triggers: readonly Trigger[] = [
  ...['passw', 'passphrase', 'passcode', 'pgpass', 'pwd', 'secret', 'credential', 'dblink', 'conninfo', 'sslkey', 'scram-sha-256'].map(
    word,
  ),
  // The functions of pgcrypto: crypt, encrypt_iv, pgp_sym_decrypt, hmac, gen_salt …
  ...['crypt', 'pgp_sym_', 'pgp_pub_', 'gen_salt', 'hmac', 'aws_s3', 'azure_storage', '-----begin'].map(word),
  words(['api', 'access', 'private', 'encryption', 'signing', 'master', 'account', 'auth', 'service', 'shared'], 'key'),
  words(['access', 'auth', 'refresh', 'api', 'bearer', 'session', 'security', 'oauth'], 'token'),
  { source: `md5[0-9a-f]{32}`, anchors: Array.from('0123456789abcdef').map((digit) => `md5${digit}`) },
  { source: `bearer[\\s:=]`, anchors: ['bearer'] },
  { source: `authorization["']{0,2}\\s?[:=]`, anchors: ['authorization'] },
  // A JSON Web Token, and an AWS access key id, whatever the column is called.
  { source: String.raw`eyj[a-z0-9_-]{8,1000}\.eyj`, anchors: ['.eyj'] },
  { source: 'akia[0-9a-z]{12}', anchors: ['akia'] },
  // User information in a URL: user:password@ or token@.
  { source: String.raw`:\/\/[^\s/@]{1,512}@`, anchors: ['://'] },
  { source: `user${gap}mapping`, anchors: ['mapping'] },
  // CREATE or ALTER SERVER, FOREIGN DATA WRAPPER, FOREIGN TABLE, USER MAPPING.
  { source: `options${gap}\\(`, anchors: ['options'] },
  // CREATE or ALTER SUBSCRIPTION … CONNECTION '…' and COPY … PROGRAM '…'.
  { source: `connection${gap}${stringStart}`, anchors: ['connection'] },
  { source: `program${gap}${stringStart}`, anchors: ['program'] },
  // Which character escapes is then the text's own choice, so what it spells is not looked at.
  word('uescape'),
]

const expression = new RegExp(triggers.map(({ source }) => source).join('|'), 'i')

/** Where the first trigger stands that is spelled out, or -1. */
export function triggerIndex(text: string): number {
  return text.search(expression)
}

/** True when `text` has a trigger, spelled out or by the backslash escapes of `E'…'`, `U&'…'` and `U&"…"`. */
export function mayCarryCredential(text: string): boolean {
  if (expression.test(text)) return true
  // An escape is decoded wherever it stands: outside of such strings it spells nothing that matters.
  return text.includes('\\') && (expression.test(decodeEscapes(text)) || expression.test(decodeUnicodeEscapes(text)))
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
