/**
 * Lays two recordings of one conversation side by side: which statements were answered alike, and how the others differ.
 *
 * Strict unless told otherwise: result columns, every row in its order, row count, tag, and of errors SQLSTATE and message. Not
 * compared: times, notices, notifications, an error's detail and position. Pure but for reading what it is given; statements are
 * paired by the request that they came in.
 */
import { readDataRow } from '../../postgres/values/data-row.ts'
import { textOf } from '../../postgres/values/text-of.ts'
import { typeName } from '../../postgres/values/types.ts'
import { notKeptText } from '../not-kept.ts'
import type { Column } from '../../postgres/statement.ts'
import type { Results } from './session-results.ts'

export type CompareOptions = {
  /** Rows are compared without regard to their order. */
  readonly ignoreOrder: boolean
  /** Result columns whose values are not compared, by name in lower case, */
  readonly ignoreColumns: ReadonlySet<string>
  /** and by the name of their type, as `timestamptz`. */
  readonly ignoreTypes: ReadonlySet<string>
}

/** Values as psql shows them, null for NULL. */
export type RowValues = readonly (string | null)[]

export type Difference =
  | { readonly kind: 'outcome' | 'error' | 'tag' | 'columns' | 'rowCount' | 'copy'; readonly recorded: string; readonly again: string }
  /** `row` counts from 1; a side is null where it has no such row. */
  | { readonly kind: 'row'; readonly row: number; readonly recorded: RowValues | null; readonly again: RowValues | null }
  /** More rows differ than are listed, or some could not be held to be shown. */
  | { readonly kind: 'moreRows'; readonly from: number }

export type Compared = {
  readonly number: number
  readonly sql: string
  readonly columns: readonly Column[]
  readonly verdict: 'equal' | 'different' | 'not run' | 'missing' | 'extra'
  /** Why it was not run, or is missing. */
  readonly reason: string | null
  readonly differences: readonly Difference[]
  /** The recording holds none of its result, so only their number was compared; in words. */
  readonly notCompared?: string
}

const rowsShownMax = 5

export type Pairing = {
  readonly recorded: AsyncGenerator<Results>
  readonly again: AsyncGenerator<Results>
  readonly withheld: ReadonlySet<number>
  /** Why the other recording ends early, or null. */
  readonly endedBy: string | null
  readonly options: CompareOptions
}

/** Every statement of either recording once, nearly in order: where they ended in another order, each is told when both have ended. */
export async function* compareSessions({ recorded, again, withheld, endedBy, options }: Pairing): AsyncGenerator<Compared> {
  const waiting = { recorded: new Map<number, Results[]>(), again: new Map<number, Results[]>() }
  const reached = { recorded: -1, again: -1 }
  const done = { recorded: false, again: false }

  function pair(side: 'recorded' | 'again', results: Results): Compared | null {
    const other = side === 'recorded' ? 'again' : 'recorded'
    const partner = waiting[other].get(results.request)
    if (partner === undefined) {
      const own = waiting[side].get(results.request)
      if (own === undefined) waiting[side].set(results.request, [results])
      else own.push(results)
      return null
    }
    const first = partner.shift()!
    if (partner.length === 0) waiting[other].delete(results.request)
    return side === 'recorded' ? compareResults(results, first, options) : compareResults(first, results, options)
  }

  while (!done.recorded || !done.again) {
    const side = done.again || (!done.recorded && reached.recorded <= reached.again) ? 'recorded' : 'again'
    const step = await (side === 'recorded' ? recorded : again).next()
    if (step.done === true) {
      done[side] = true
      continue
    }
    const results = step.value
    reached[side] = Math.max(reached[side], results.request)
    if (side === 'recorded' && withheld.has(results.request)) {
      yield comparedOf(results, 'not run', notRunReason(results))
      continue
    }
    if (side === 'recorded' && done.again && !waiting.again.has(results.request)) {
      yield missing(results)
      continue
    }
    const compared = pair(side, results)
    if (compared !== null) yield compared
  }
  for (const results of [...waiting.recorded.values()].flat()) yield missing(results)
  for (const results of [...waiting.again.values()].flat()) yield comparedOf(results, 'extra', 'it is not in the recording')

  function missing(results: Results): Compared {
    // What had no end in the recording need not have one again.
    const { outcome } = results.statement
    if (outcome === 'unfinished' || outcome === 'skipped') return comparedOf(results, 'equal', null)
    return comparedOf(results, 'missing', endedBy ?? 'the database gave no answer of its own to it')
  }
}

function notRunReason({ statement }: Results): string {
  return statement.redacted === true ? 'redacted: its literals are not in the recording' : 'it depends on a redacted statement'
}

function comparedOf(
  { statement }: Results,
  verdict: Compared['verdict'],
  reason: string | null,
  differences: readonly Difference[] = [],
): Compared {
  return { number: statement.number, sql: statement.sql, columns: statement.columns ?? [], verdict, reason, differences }
}

/** One statement and its other run. */
export function compareResults(recorded: Results, again: Results, options: CompareOptions): Compared {
  const [one, other] = [recorded.statement, again.statement]
  // Nobody knows how it would have ended.
  if (one.outcome === 'unfinished') return comparedOf(recorded, 'equal', null)
  const differences: Difference[] = []
  const differ = (kind: Exclude<Difference['kind'], 'row' | 'moreRows'>, left: string, right: string): void => {
    if (left !== right) differences.push({ kind, recorded: left, again: right })
  }
  if (one.error !== null && other.error !== null) {
    differ(
      'error',
      `${one.error.severity} ${one.error.code}: ${one.error.message}`,
      `${other.error.severity} ${other.error.code}: ${other.error.message}`,
    )
  } else differ('outcome', outcomeText(recorded), outcomeText(again))
  if (differences.length === 0 && one.outcome === 'completed') {
    differ('columns', columnsText(one.columns), columnsText(other.columns))
    if (one.rows === other.rows) differ('tag', one.tag ?? '', other.tag ?? '')
    differ('rowCount', String(one.rows), String(other.rows))
  }
  const notKept = notKeptText(one)
  if (notKept !== null) return { ...comparedOf(recorded, verdictOf(differences), null, differences), notCompared: notKept }
  if (differences.every(({ kind }) => kind === 'rowCount' || kind === 'tag')) differences.push(...rowDifferences(recorded, again, options))
  if (recorded.copyOut?.digest !== again.copyOut?.digest) differences.push(copyDifference(recorded, again))
  return comparedOf(recorded, verdictOf(differences), null, differences)
}

function verdictOf(differences: readonly Difference[]): 'equal' | 'different' {
  return differences.length === 0 ? 'equal' : 'different'
}

function outcomeText({ statement: { outcome, error } }: Results): string {
  return error === null ? outcome : `${outcome}: ${error.severity} ${error.code}: ${error.message}`
}

/** Types of users have other OIDs in another database. */
const firstOwnOid = 16_384

function columnsText(columns: readonly Column[] | null): string {
  if (columns === null) return ''
  return columns.map(({ name, typeOid }) => `${name} ${typeOid >= firstOwnOid ? 'own type' : typeName(typeOid)}`).join(', ')
}

type Comparer = { readonly isIgnored: (column: number) => boolean; readonly text: (results: Results, row: Buffer) => RowValues }

function rowDifferences(recorded: Results, again: Results, options: CompareOptions): Difference[] {
  const columns = recorded.statement.columns ?? []
  const ignored = columns.map(
    ({ name, typeOid }) => options.ignoreColumns.has(name.toLowerCase()) || options.ignoreTypes.has(typeName(typeOid)),
  )
  const comparer: Comparer = {
    isIgnored: (column) => ignored[column] === true,
    text: (results, row) => rowTexts(results, row),
  }
  const differences = options.ignoreOrder ? unorderedDifferences(recorded, again, comparer) : orderedDifferences(recorded, again, comparer)
  const shown = differences.slice(0, rowsShownMax)
  const heldOfBoth = Math.min(recorded.rows.length, again.rows.length)
  const restDiffers = recorded.rest.digest !== again.rest.digest || recorded.rest.rows !== again.rest.rows
  if (differences.length > shown.length || (differences.length === 0 && restDiffers)) {
    const last = shown.at(-1)
    return [...shown, { kind: 'moreRows', from: last?.kind === 'row' ? last.row + 1 : heldOfBoth + 1 }]
  }
  return shown
}

/** One more than is shown is enough. */
function orderedDifferences(recorded: Results, again: Results, comparer: Comparer): Difference[] {
  const differences: Difference[] = []
  const count = Math.max(recorded.rows.length, again.rows.length)
  for (let at = 0; at < count && differences.length <= rowsShownMax; at++) {
    const [one, other] = [recorded.rows[at], again.rows[at]]
    // Beyond what is held of one side nothing can be said of single rows.
    if (one === undefined && recorded.rest.rows > 0) break
    if (other === undefined && again.rest.rows > 0) break
    if (one !== undefined && other !== undefined && isSameRow(recorded, one, again, other, comparer)) continue
    differences.push({
      kind: 'row',
      row: at + 1,
      recorded: one === undefined ? null : comparer.text(recorded, one),
      again: other === undefined ? null : comparer.text(again, other),
    })
  }
  return differences
}

function isSameRow(recorded: Results, one: Buffer, again: Results, other: Buffer, { isIgnored, text }: Comparer): boolean {
  if (one.equals(other)) return true
  const [left, right] = [text(recorded, one), text(again, other)]
  return left.length === right.length && left.every((value, column) => value === right[column] || isIgnored(column))
}

function unorderedDifferences(recorded: Results, again: Results, { isIgnored, text }: Comparer): Difference[] {
  const keyOf = (values: RowValues): string => JSON.stringify(values.map((value, column) => (isIgnored(column) ? null : [value])))
  const counts = new Map<string, number>()
  for (const row of recorded.rows) {
    const key = keyOf(text(recorded, row))
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  const differences: Difference[] = []
  for (const [at, row] of again.rows.entries()) {
    const values = text(again, row)
    const key = keyOf(values)
    const left = counts.get(key) ?? 0
    if (left > 0) counts.set(key, left - 1)
    else if (differences.length <= rowsShownMax) differences.push({ kind: 'row', row: at + 1, recorded: null, again: values })
  }
  for (const [at, row] of recorded.rows.entries()) {
    if (differences.length > 2 * rowsShownMax) break
    const values = text(recorded, row)
    const key = keyOf(values)
    const left = counts.get(key) ?? 0
    if (left === 0) continue
    counts.set(key, left - 1)
    differences.push({ kind: 'row', row: at + 1, recorded: values, again: null })
  }
  return differences
}

function rowTexts({ statement: { columns }, settings }: Results, row: Buffer): RowValues {
  return readDataRow(row).map(({ bytes, cut }, index) => {
    if (bytes === null) return null
    // Of a client that did not ask what the columns are, values are shown as text where they are.
    const column = columns?.[index] ?? { typeOid: 0, typeModifier: -1, format: 'binary' as const }
    return textOf(bytes, column, settings) + (cut ? '…' : '')
  })
}

function copyDifference(recorded: Results, again: Results): Difference {
  const [one, other] = [recorded.copyOut, again.copyOut]
  const lines = [one, other].map((copy) => (copy === null ? [] : copy.head.toString('utf8').split('\n')))
  const at = lines[0]!.findIndex((line, index) => line !== lines[1]![index])
  const side = (index: 0 | 1, bytes: number): string =>
    at < 0 ? `${bytes} bytes` : `${bytes} bytes, line ${at + 1}: ${lines[index]![at] ?? '(none)'}`
  return { kind: 'copy', recorded: side(0, one?.bytes ?? 0), again: side(1, other?.bytes ?? 0) }
}
