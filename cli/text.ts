/**
 * Text measured for a terminal; what makes it safe to print is `base/printable.ts`.
 *
 * Widths follow Unicode 14 and later as psql 16 and later count them: wide East Asian characters and emoji take two cells, combining and
 * format characters none; sequences that a terminal joins into one emoji are counted by their parts.
 */
export { printable, printableLine } from '../base/printable.ts'

const zeroWidth = /[\p{Mn}\p{Me}\p{Cf}]/u
const emoji = /\p{Emoji_Presentation}/u
const ascii = /^[\x20-\x7e]*$/

/** East Asian wide and fullwidth characters (`EastAsianWidth.txt`, W and F) that are not emoji; gaps between are unassigned. */
const wideRanges = [
  [0x1100, 0x115f],
  [0x2329, 0x232a],
  [0x2e80, 0x303e],
  [0x3041, 0x3247],
  [0x3250, 0x4dbf],
  [0x4e00, 0xa4c6],
  [0xa960, 0xa97c],
  [0xac00, 0xd7a3],
  [0xf900, 0xfaff],
  [0xfe10, 0xfe19],
  [0xfe30, 0xfe6b],
  [0xff01, 0xff60],
  [0xffe0, 0xffe6],
  [0x16fe0, 0x1b2fb],
  [0x1f200, 0x1f265],
  [0x20000, 0x3fffd],
] as const

/** The letters that pair up to flags count as narrow. */
const flagLetters = [0x1f1e6, 0x1f1ff] as const

function within(code: number, [first, last]: readonly [number, number]): boolean {
  return code >= first && code <= last
}

function characterWidth(character: string): number {
  const code = character.codePointAt(0)!
  if (code < 0x300) return code === 0xad ? 0 : 1
  if (zeroWidth.test(character)) return 0
  if (within(code, flagLetters)) return 1
  return emoji.test(character) || wideRanges.some((range) => within(code, range)) ? 2 : 1
}

/** Terminal cells that `text` takes; it must be one line and printable. */
export function displayWidth(text: string): number {
  if (ascii.test(text)) return text.length
  let width = 0
  for (const character of text) width += characterWidth(character)
  return width
}

/** At most `cells` wide, with an ellipsis where something was cut. */
export function shorten(text: string, cells: number): string {
  if (text.length <= cells && displayWidth(text) <= cells) return text
  let width = 0
  let kept = ''
  for (const character of text) {
    width += characterWidth(character)
    if (width >= cells) return `${kept}…`
    kept += character
  }
  return kept
}

/** The plural by adding an s: `1 row`, `2 rows`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
