/**
 * The selected statement in full: SQL, parameters, errors and notices, rows, COPY data, circumstances. Pure.
 *
 * SQL is wrapped, everything that has columns is moved sideways instead. The last result that was laid out is kept, since a screen is
 * drawn often and its statement changes seldom.
 */
import type { ErrorFields } from '../../postgres/statement.ts'
import { settingsFrom } from '../../postgres/values/settings.ts'
import { errorLines } from '../error-report.ts'
import { notKeptText } from '../not-kept.ts'
import { resultText, startupLines } from '../show-session.ts'
import { parameterLines, statementHeadLines } from '../show-statement.ts'
import type { StatementLine } from '../statement-line.ts'
import { counted } from '../text.ts'
import { shownDuration, shownOffset } from '../times.ts'
import { found } from './found.ts'
import { highlightedLines } from './highlight.ts'
import { isRunning } from './playback.ts'
import { gridLines, nullText } from './result-grid.ts'
import { rowsMaxLast, selectedLine, type PlayerState } from './state.ts'
import type { StatementResult } from './statement-result.ts'
import { cut, emptyLine, line, lineCells, span, wrapped, type Line, type Style } from './styled-text.ts'

export type DetailLine = { readonly line: Line; readonly movesSideways: boolean }

export type Detail = {
  readonly lines: readonly DetailLine[]
  /** The first line behind the SQL. */
  readonly resultAt: number
  readonly cells: number
}

/** What stands in the rule above the detail. */
export function detailTitle(state: PlayerState): string {
  const statement = selectedLine(state)
  if (statement === null) return state.count === 0 ? 'no statement' : `#${state.selected}`
  const { number, started, finished } = statement
  const at = shownOffset(started - state.identity.opened)
  if (isRunning(state)) return `#${number}, ${at}, running`
  return `#${number}, ${at}, took ${shownDuration(Math.max(0, finished - started))}, ${resultText(statement)}`
}

type Laid = {
  readonly statement: StatementLine
  readonly result: StatementResult | null
  readonly key: string
  readonly detail: Detail
}
let lastLaid: Laid | null = null

export function detailOf(state: PlayerState, width: number): Detail {
  const indexed = selectedLine(state)
  if (indexed === null) {
    const hint =
      state.count === 0 ? 'No statement is recorded yet.' : state.lines.has(state.selected) ? 'This statement has not ended yet.' : ''
    return { lines: [{ line: line(span(hint, 'dim')), movesSideways: false }], resultAt: 0, cells: 0 }
  }
  const shown = state.result?.number === state.selected ? state.result : null
  const result = shown === null || shown.kind === 'failed' ? null : shown.result
  const searched = state.find?.kind === 'text' ? state.find.text : ''
  const running = isRunning(state)
  const reason = shown?.kind === 'failed' ? shown.reason : null
  const early = shown?.kind === 'early'
  const key = JSON.stringify([width, searched, running, reason, early, state.rowsMax])
  if (lastLaid !== null && lastLaid.statement === indexed && lastLaid.result === result && lastLaid.key === key) return lastLaid.detail
  const detail = layOut(result?.statement ?? indexed, result, { state, width, searched, running, reason, early })
  lastLaid = { statement: indexed, result, key, detail }
  return detail
}

type LayOutOptions = {
  readonly state: PlayerState
  readonly width: number
  readonly searched: string
  readonly running: boolean
  readonly reason: string | null
  readonly early: boolean
}

const earlyLine = line(span('(shown by the settings known so far; what came before is still being read)', 'dim'))

function layOut(
  statement: StatementLine,
  result: StatementResult | null,
  { state, width, searched, running, reason, early }: LayOutOptions,
): Detail {
  const sql = sqlText(statement).flatMap((part) => wrapped(found(part, searched), width))
  const fixed = (parts: readonly Line[]): DetailLine[] =>
    parts.flatMap((part) => wrapped(part, width)).map((part) => ({ line: part, movesSideways: false }))
  const parameters = fixed(parameterPart(statement, result))
  const after = running
    ? fixed([line(span('running …', 'dim'))])
    : [
        ...fixed(messagePart(statement, result)),
        ...resultPart(statement, result, reason, state.rowsMax),
        ...(early ? fixed([earlyLine]) : []),
      ]
  const { identity } = state
  // What the session asked for at its start (search_path, role) changes what its statements mean.
  const circumstances = [...statementHeadLines(statement, identity.session, identity.opened), ...startupLines(identity)].map((text) =>
    line(span(text, 'dim')),
  )
  const behind = [parameters, after, running ? [] : fixed(circumstances)].filter((part) => part.length > 0)
  const lines = [...fixed(sql), ...behind.flatMap((part) => [...fixed([emptyLine]), ...part])]
  const cells = lines.reduce((most, part) => (part.movesSideways ? Math.max(most, lineCells(part.line)) : most), 0)
  return { lines, resultAt: Math.min(lines.length - 1, sql.length + 1), cells }
}

function sqlText({ sql, sqlBytes, sqlTruncated, preparedSql, kind }: StatementLine): Line[] {
  const lines = sql.trim() === '' ? [line(span(kind === 'protocol' ? '(no statement)' : '(empty)', 'dim'))] : highlightedLines(sql)
  if (sqlTruncated === true) lines.push(line(span(`(cut: the whole text has ${counted(sqlBytes, 'byte')})`, 'dim')))
  if (preparedSql !== undefined) lines.push(line(span('which runs', 'dim')), ...highlightedLines(preparedSql))
  return lines
}

function parameterPart(statement: StatementLine, result: StatementResult | null): Line[] {
  const [head, ...rows] = parameterLines(statement.parameters, result?.settings ?? settingsFrom({}), nullText)
  if (head === undefined) return []
  return [
    line(span(head, 'dim')),
    ...rows.map((text, index) => {
      const isNull = statement.parameters[index]?.value === null
      const value = isNull ? text.lastIndexOf(nullText) : text.length
      return line(span(text.slice(0, value)), span(text.slice(value), 'null'))
    }),
  ]
}

/** As psql prints them; where the whole query's text is still to be read, without the line that shows the position. */
function messagePart(statement: StatementLine, result: StatementResult | null): Line[] {
  const text = statement.redacted === true ? null : (result?.queryText ?? null)
  const shown = (fields: ErrorFields, isError: boolean): Line[] =>
    errorLines(fields, text, { context: isError }).map((part) => line(span(part, isError ? 'bad' : 'warning')))
  return [...statement.notices.flatMap((notice) => shown(notice, false)), ...(statement.error === null ? [] : shown(statement.error, true))]
}

const moves = (shown: Line): DetailLine => ({ line: shown, movesSideways: true })
const stays = (text: string, style: Style): DetailLine => ({ line: line(span(text, style)), movesSideways: false })

function resultPart(statement: StatementLine, result: StatementResult | null, reason: string | null, rowsMax: number): DetailLine[] {
  if (reason !== null) return [stays(`The result cannot be read: ${reason}`, 'bad')]
  if (result === null) {
    return statement.rows > 0 || statement.copy !== undefined ? [stays('reading …', 'dim')] : emptyResult(statement)
  }
  const notKept = notKeptText(statement)
  const left = notKept === null ? [] : [stays(`(${notKept})`, 'warning')]
  const copied = result.copies.flatMap(({ direction, lines, bytesRead }) => {
    const whole = statement.copy?.bytes ?? bytesRead
    return [
      stays(`COPY data from the ${direction === 'in' ? 'client' : 'server'}: ${counted(whole, 'byte')}`, 'dim'),
      ...lines.map((text) => moves(line(text))),
      ...(whole > bytesRead && notKept === null
        ? [stays(`… ${counted(whole - bytesRead, 'more byte')}: steno show has all`, 'warning')]
        : []),
    ]
  })
  const broken = result.brokenBy === null ? [] : [stays(`(what follows in the recording cannot be read: ${result.brokenBy})`, 'bad')]
  const isGrid = statement.columns !== null || result.rows.length > 0
  if (!isGrid || (statement.copy !== undefined && result.rows.length === 0)) return [...copied, ...left, ...broken]
  const count = notKept === null ? [rowCountLine(statement, result, rowsMax)] : left
  return [...copied, ...gridLines(result.columns, result.rows).map(moves), ...count, ...broken]
}

function emptyResult({ columns }: StatementLine): DetailLine[] {
  if (columns === null) return []
  const empty = gridLines(
    columns.map(({ name }) => ({ name, align: 'left' as const })),
    [],
  )
  return [...empty.map(moves), stays('(0 rows)', 'dim')]
}

function rowCountLine({ rows, number }: StatementLine, result: StatementResult, rowsMax: number): DetailLine {
  const more = rows - result.rows.length
  if (more <= 0) return stays(`(${counted(rows, 'row')})`, 'dim')
  const how =
    result.rows.length >= rowsMax && rowsMax < rowsMaxLast ? 'm reads more' : `steno show --statement ${number} --rows-max ${rows} has all`
  return stays(`… ${counted(more, 'more row')}: ${how}`, 'warning')
}

/** `rows` lines as the screen shows them. */
export function detailLines(state: PlayerState, rows: number, width: number): Line[] {
  const { lines } = detailOf(state, width)
  return Array.from({ length: rows }, (_, row) => {
    const shown = lines[state.detailTop + row]
    if (shown === undefined) return emptyLine
    return shown.movesSideways ? cut(shown.line, state.sideways, width) : shown.line
  })
}
