/**
 * Text from a database or a client, made safe for a terminal and for a log of lines.
 *
 * Control characters are shown as escapes, the way psql shows them (`\x1B`, `\u0085`), and so is what reorders text or ends a line for
 * some viewers but not for others: nothing that a recording holds can move the cursor, recolour, retitle, reorder or forge a line.
 */

/** Controls but tab and newline, Unicode's line ends, what reorders text, and halves of characters. */
const unsafe = /[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]|\p{Surrogate}/gu
/** The same of what `JSON.stringify` leaves as it is. */
const unsafeInJson = /[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/
const everyUnsafeInJson = new RegExp(unsafeInJson, 'g')

/** Safe to print; line breaks and tabs stay. */
export function printable(text: string): string {
  return text.replace(unsafe, escaped)
}

/** Safe to print on one line: line breaks and tabs are escaped as well. */
export function printableLine(text: string): string {
  return printable(text).replace(/[\t\n]/g, (character) => (character === '\n' ? '\\n' : '\\t'))
}

/** `text` as a JSON string that is safe to print on one line, and that any reader of JSON takes for the same text. */
export function printableJson(text: string): string {
  const json = JSON.stringify(text)
  return unsafeInJson.test(json) ? json.replace(everyUnsafeInJson, (character) => `\\u${hexOf(character, 4)}`) : json
}

function escaped(character: string): string {
  if (character === '\r') return '\\r'
  return character.codePointAt(0)! < 0x80 ? `\\x${hexOf(character, 2)}` : `\\u${hexOf(character, 4)}`
}

function hexOf(character: string, digits: number): string {
  return character.codePointAt(0)!.toString(16).toUpperCase().padStart(digits, '0')
}
