/**
 * From styled lines to a terminal's bytes: escape sequences for styles, and only the lines that changed.
 *
 * Behind every character that is not ASCII the cursor is put where the next one belongs, so terminals that disagree about a
 * character's width still keep columns aligned. Without colours, bold, dim, underline and reverse remain.
 */
import { cellsOf, cut, graphemesOf, lineCells, type Line, type Style } from './styled-text.ts'

const escape = '\x1b['
const reset = `${escape}0m`

/** Select Graphic Rendition parameters; the colours are the terminal's own, readable on light and dark. */
const coloured: Readonly<Record<Style, string>> = {
  plain: '',
  dim: '2',
  bold: '1',
  keyword: '36',
  string: '32',
  number: '35',
  comment: '2',
  parameter: '33',
  null: '2;3',
  good: '32',
  bad: '31',
  warning: '33',
  found: '30;43',
  bar: '7',
}
const colourless: Readonly<Record<Style, string>> = {
  ...coloured,
  keyword: '1',
  string: '',
  number: '',
  parameter: '',
  good: '',
  bad: '1',
  warning: '1',
  found: '4',
}

export type PaintOptions = { readonly colours: boolean }

/** Keeps what the terminal shows and gives the bytes that turn it into the next screen. */
export function createPainter({ colours }: PaintOptions) {
  const styles = colours ? coloured : colourless
  let shown: string[] = []
  let isForgotten = false
  return {
    /** `lines` are as many as the terminal has rows. */
    paint(lines: readonly Line[], width: number): string {
      let bytes = isForgotten ? `${reset}${escape}2J` : ''
      isForgotten = false
      lines.forEach((whole, row) => {
        const painted = paintLine(whole, width, styles)
        if (shown[row] === painted) return
        shown[row] = painted
        bytes += `${escape}${row + 1};1H${reset}${escape}2K${painted}`
      })
      shown.length = lines.length
      return bytes === '' ? '' : `${bytes}${reset}`
    },
    /** The terminal shows something else now: the next screen is painted whole, on a cleared one. */
    forget(): void {
      shown = []
      isForgotten = true
    },
  }
}

function paintLine(whole: Line, width: number, styles: Readonly<Record<Style, string>>): string {
  const { spans, selected } = cut(whole, 0, width)
  let bytes = ''
  let column = 0
  for (const { text, style } of spans) {
    // In one piece: colours reversed would make a patchwork.
    const codes = selected === true ? '7' : styles[style]
    if (codes !== '') bytes += `${escape}${codes}m`
    for (const grapheme of piecesOf(text)) {
      bytes += grapheme.text
      column += grapheme.cells
      if (grapheme.foreign && column < width) bytes += `${escape}${column + 1}G`
    }
    if (codes !== '') bytes += reset
  }
  const rest = width - lineCells({ spans })
  if (selected === true && rest > 0) bytes += `${escape}7m${' '.repeat(rest)}${reset}`
  return bytes
}

const asciiOrNot = /[\x20-\x7e]+|[^\x20-\x7e]+/g
/** Characters that every terminal shows in one cell: those that the player itself draws with. */
const singleCell = /^[\u2500-\u257f…✓✗·]+$/

/** Runs of ASCII as they are, everything else by grapheme: that is where terminals differ. */
function* piecesOf(text: string): Generator<{ text: string; cells: number; foreign: boolean }> {
  for (const [run] of text.matchAll(asciiOrNot)) {
    if (/^[\x20-\x7e]/.test(run) || singleCell.test(run)) yield { text: run, cells: cellsOf(run), foreign: false }
    else for (const grapheme of graphemesOf(run)) yield { ...grapheme, foreign: true }
  }
}
