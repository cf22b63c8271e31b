/** The signs that the player draws with: box drawing and marks where the terminal's locale has them, ASCII elsewhere. */
import type { StatementOutcome } from '../../postgres/statement.ts'

export type Marks = {
  readonly outcome: Readonly<Record<StatementOutcome, string>>
  /** The first, a middle and the last statement of a transaction. */
  readonly bracket: { readonly first: string; readonly middle: string; readonly last: string }
  readonly rule: string
  readonly playing: string
  readonly paused: string
}

export const unicodeMarks: Marks = {
  outcome: { completed: '✓', failed: '✗', skipped: '-', suspended: '~', unfinished: '?' },
  bracket: { first: '┌', middle: '│', last: '└' },
  rule: '─',
  playing: 'playing',
  paused: 'paused',
}

export const asciiMarks: Marks = {
  ...unicodeMarks,
  outcome: { completed: '+', failed: 'x', skipped: '-', suspended: '~', unfinished: '?' },
  bracket: { first: '/', middle: '|', last: '\\' },
  rule: '-',
}

/** Terminals speak UTF-8 today unless the locale says otherwise. */
export function marksFor(environment: Readonly<Record<string, string | undefined>>): Marks {
  const locale = environment['LC_ALL'] || environment['LC_CTYPE'] || environment['LANG'] || ''
  return locale === '' || /utf-?8/i.test(locale) ? unicodeMarks : asciiMarks
}
