/** The list of statements: number, time, duration, outcome, transaction bracket, SQL. Pure. */
import type { StatementLine } from '../statement-line.ts'
import { shownDuration, shownOffset } from '../times.ts'
import { found } from './found.ts'
import { highlightedLine } from './highlight.ts'
import type { Marks } from './marks.ts'
import type { PlayerState } from './state.ts'
import { cut, emptyLine, line, lineCells, shortened, span, type Line, type Span } from './styled-text.ts'

const atCells = 11
const tookCells = 9
const numberCellsMin = 4

function numberCells({ count }: PlayerState): number {
  return Math.max(numberCellsMin, String(count).length)
}

export function listHead(state: PlayerState): Line {
  const head = `${'#'.padStart(numberCells(state))} ${'at'.padStart(atCells)} ${'took'.padStart(tookCells)}      sql`
  return line(span(head, 'dim'))
}

/** `rows` lines from the list's top on. */
export function listLines(state: PlayerState, rows: number, width: number, marks: Marks): Line[] {
  return Array.from({ length: rows }, (_, row) => {
    const number = state.top + row
    return number > state.count ? emptyLine : statementLine(state, number, width, marks)
  })
}

function statementLine(state: PlayerState, number: number, width: number, marks: Marks): Line {
  const statement = state.lines.get(number)
  const shownNumber = span(String(number).padStart(numberCells(state)), 'dim')
  const whole =
    statement === undefined || statement === null
      ? line(shownNumber, span(statement === undefined ? ' …' : ' (not ended yet)', 'dim'))
      : line(shownNumber, ...factSpans(statement, state, marks), ...sqlSpans(statement, state, width))
  const fitting = shortened(whole, width)
  return number === state.selected ? { ...fitting, selected: true } : fitting
}

function factSpans(statement: StatementLine, state: PlayerState, marks: Marks): Span[] {
  const { started, finished, outcome } = statement
  const at = shownOffset(started - state.identity.opened).padStart(atCells)
  const took = shownDuration(Math.max(0, finished - started)).padStart(tookCells)
  const style = outcome === 'completed' ? 'good' : outcome === 'failed' ? 'bad' : 'warning'
  return [span(` ${at} ${took} `), span(marks.outcome[outcome], style), span(' '), bracketOf(statement, state, marks), span(' ')]
}

/** A transaction is open behind a statement when the server says so before the next. */
function bracketOf({ number, transactionBefore, tag, sql }: StatementLine, { lines, count }: PlayerState, { bracket }: Marks): Span {
  const next = number < count ? lines.get(number + 1) : undefined
  const before = transactionBefore !== 'I'
  // Nobody said what came of the last statement but its own tag, which ROLLBACK TO has too.
  const ends = (tag === 'COMMIT' || tag === 'ROLLBACK') && !/^\s*rollback\s[^;]*\bto\b/i.test(sql)
  const after = next === undefined || next === null ? before && !ends : next.transactionBefore !== 'I'
  const failed = transactionBefore === 'E' || (after && next?.transactionBefore === 'E')
  const mark = before ? (after ? bracket.middle : bracket.last) : after ? bracket.first : ' '
  return span(mark, failed ? 'bad' : 'dim')
}

function sqlSpans({ sql, kind }: StatementLine, { find }: PlayerState, width: number): readonly Span[] {
  if (sql.trim() === '') return [span(kind === 'protocol' ? '(no statement)' : '(empty)', 'dim')]
  const whole = highlightedLine(sql, width)
  return cut(find?.kind === 'text' ? found(whole, find.text) : whole, 0, width).spans
}

/** `text` in the middle of a rule over the whole width. */
export function ruleLine(text: string, width: number, { rule }: Marks, isFocused: boolean): Line {
  const head = `${rule.repeat(2)} `
  const shown = shortened(line(span(head, 'dim'), span(text, isFocused ? 'bold' : 'plain')), width)
  const rest = width - lineCells(shown) - 1
  return rest <= 0 ? shown : { spans: [...shown.spans, span(` ${rule.repeat(rest)}`, 'dim')] }
}
