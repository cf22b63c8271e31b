/**
 * Lines for a terminal as styled spans, measured in cells. Pure; knows no escape sequences (see `paint.ts`).
 *
 * Only `span` makes spans, and it makes every text printable: nothing that a recording holds can reach a terminal as a control
 * sequence. Widths are string-width's, grapheme by grapheme.
 */
import stringWidth from 'string-width'
import { printableLine } from '../text.ts'

export type Style =
  | 'plain'
  | 'dim'
  | 'bold'
  | 'keyword'
  | 'string'
  | 'number'
  | 'comment'
  | 'parameter'
  /** SQL NULL. */
  | 'null'
  | 'good'
  | 'bad'
  | 'warning'
  | 'found'
  | 'bar'

declare const madePrintable: unique symbol
/** One line's part: no control characters, no line breaks. */
export type Span = { readonly text: string; readonly style: Style; readonly [madePrintable]: true }

export type Line = {
  readonly spans: readonly Span[]
  /** Shown reversed over the whole width. */
  readonly selected?: true
}

export function span(text: string, style: Style = 'plain'): Span {
  return { text: printableLine(text), style } as Span
}

export function line(...parts: readonly (Span | string)[]): Line {
  return { spans: parts.map((part) => (typeof part === 'string' ? span(part) : part)) }
}

export const emptyLine: Line = { spans: [] }

const ascii = /^[\x20-\x7e]*$/
const segmenter = new Intl.Segmenter('en', { granularity: 'grapheme' })

export type Grapheme = { readonly text: string; readonly cells: number }

/** The user-perceived characters of a printable text with their widths. */
export function* graphemesOf(text: string): Generator<Grapheme> {
  if (ascii.test(text)) {
    for (const character of text) yield { text: character, cells: 1 }
    return
  }
  for (const { segment } of segmenter.segment(text))
    yield { text: segment, cells: ascii.test(segment) ? segment.length : stringWidth(segment) }
}

/** Cells that a printable text takes in one line. */
export function cellsOf(text: string): number {
  if (ascii.test(text)) return text.length
  let cells = 0
  for (const grapheme of graphemesOf(text)) cells += grapheme.cells
  return cells
}

export function lineCells({ spans }: Line): number {
  return spans.reduce((sum, { text }) => sum + cellsOf(text), 0)
}

/** `text` with spaces up to `cells`; unchanged when it is as wide already. */
export function padded(text: string, cells: number, align: 'left' | 'right' = 'left'): string {
  const spaces = ' '.repeat(Math.max(0, cells - cellsOf(text)))
  return align === 'left' ? text + spaces : spaces + text
}

/**
 * The part of a line from column `from` on, `width` cells wide at most. A wide character of which only half would be seen is
 * replaced by a space.
 */
export function cut(whole: Line, from: number, width: number): Line {
  const to = from + width
  const spans: Span[] = []
  let column = 0
  for (const { text, style } of whole.spans) {
    if (column >= to) break
    if (ascii.test(text)) {
      const kept = text.slice(Math.max(0, from - column), Math.max(0, to - column))
      if (kept !== '') spans.push(span(kept, style))
      column += text.length
      continue
    }
    let kept = ''
    for (const grapheme of graphemesOf(text)) {
      const end = column + grapheme.cells
      if (column >= from && end <= to) kept += grapheme.text
      else if (end > from && column < to) kept += ' '.repeat(Math.min(end, to) - Math.max(column, from))
      column = end
      if (column >= to) break
    }
    if (kept !== '') spans.push(span(kept, style))
  }
  return whole.selected === true ? { spans, selected: true } : { spans }
}

/** Cuts to `width` cells, the last of them an ellipsis when anything was cut. */
export function shortened(whole: Line, width: number): Line {
  if (lineCells(whole) <= width) return whole
  const kept = cut(whole, 0, Math.max(0, width - 1))
  return { ...kept, spans: [...kept.spans, span('…', 'dim')] }
}

/** Breaks a line into several of at most `width` cells, at any character. */
export function wrapped(whole: Line, width: number): Line[] {
  const cells = lineCells(whole)
  if (cells <= width || width < 2) return [whole]
  const lines: Line[] = []
  let spans: Span[] = []
  let column = 0
  for (const { text, style } of whole.spans) {
    let kept = ''
    for (const grapheme of graphemesOf(text)) {
      if (column + grapheme.cells > width) {
        if (kept !== '') spans.push(span(kept, style))
        lines.push({ spans })
        spans = []
        kept = ''
        column = 0
      }
      kept += grapheme.text
      column += grapheme.cells
    }
    if (kept !== '') spans.push(span(kept, style))
  }
  lines.push({ spans })
  return lines
}

/** What a line says, without style. */
export function textOfLine({ spans }: Line): string {
  return spans.map(({ text }) => text).join('')
}
