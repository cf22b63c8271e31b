/** What came of running a session again, as lines for people or as JSON. Data in, lines out. */
import { createGrid } from '../grid.ts'
import { counted, printable, printableLine, shorten } from '../text.ts'
import { isRightAligned } from '../../postgres/values/types.ts'
import type { Compared, Difference } from './compare.ts'

export type Totals = { [Verdict in Compared['verdict']]: number }

export const noTotals = (): Totals => ({ equal: 0, different: 0, 'not run': 0, missing: 0, extra: 0 })

/** Nothing that was run came out otherwise. */
export const isAlike = ({ different, missing, extra }: Totals): boolean => different + missing + extra === 0

const names: Readonly<Record<Exclude<Difference['kind'], 'row' | 'moreRows'>, string>> = {
  outcome: 'it ended otherwise',
  error: 'the error differs',
  tag: 'the tag differs',
  columns: 'the columns differ',
  rowCount: 'the number of rows differs',
  copy: 'the COPY data differs',
}
const verdicts: Readonly<Record<Compared['verdict'], string>> = {
  equal: 'equal',
  different: 'different',
  'not run': 'not run',
  missing: 'no result',
  extra: 'not recorded',
}

/** Nothing for a statement that came out alike. */
export function comparedLines(compared: Compared, { width, nullText }: { readonly width: number; readonly nullText: string }): string[] {
  const { number, sql, verdict, reason, differences } = compared
  if (verdict === 'equal') return []
  const why = reason === null ? '' : ` (${printableLine(reason)})`
  const lines = [
    `statement ${number}: ${verdicts[verdict]}${why}`,
    shorten(`  ${printableLine(sql.trim().replaceAll(/\s+/g, ' '))}`, width),
  ]
  for (const difference of differences) {
    if (difference.kind === 'row' || difference.kind === 'moreRows') continue
    lines.push(`  ${names[difference.kind]}`)
    lines.push(`  - ${printableLine(difference.recorded)}`, `  + ${printableLine(difference.again)}`)
  }
  const rows = differences.filter((difference) => difference.kind === 'row')
  if (rows.length > 0) lines.push('  rows differ: - as recorded, + as run again', ...rowLines(compared, rows, nullText))
  const more = differences.find((difference) => difference.kind === 'moreRows')
  if (more !== undefined) lines.push(`  more rows differ from row ${more.from} on`)
  return [...lines, '']
}

function rowLines({ columns }: Compared, rows: readonly (Difference & { kind: 'row' })[], nullText: string): string[] {
  const count = Math.max(columns.length, ...rows.map(({ recorded, again }) => Math.max(recorded?.length ?? 0, again?.length ?? 0)))
  const grid = createGrid({
    columns: [
      { name: 'row', align: 'right' },
      ...Array.from({ length: count }, (_, index) => ({
        name: columns[index]?.name ?? `column ${index + 1}`,
        align: isRightAligned(columns[index]?.typeOid ?? 0) ? ('right' as const) : ('left' as const),
      })),
    ],
    rowsMax: Infinity,
    nullText,
  })
  for (const { row, recorded, again } of rows) {
    if (recorded !== null) grid.push([`- ${row}`, ...recorded])
    if (again !== null) grid.push([`+ ${row}`, ...again])
  }
  // The last line counts the grid's own rows, which are sides here.
  return [...grid.lines()].slice(0, -1).map((line) => `  ${line}`)
}

export function totalsLine(totals: Totals): string {
  const parts = (Object.keys(totals) as Compared['verdict'][])
    .filter((verdict) => totals[verdict] > 0 || verdict === 'equal')
    .map((verdict) => `${totals[verdict]} ${verdicts[verdict]}`)
  const sum = Object.values(totals).reduce((one, other) => one + other, 0)
  return `${counted(sum, 'statement')}: ${parts.join(', ')}`
}

/** What a recording at level `statements` leaves a comparison without. */
export const notComparedLine = (statements: number): string =>
  `of ${counted(statements, 'statement')} only the number of rows was compared: their rows are not kept, recording level statements`

/** Why a strict comparison finds differences that nobody made. */
export const volatileHint =
  'Times, random numbers, sequences, transaction ids and process ids differ from run to run: --ignore-column and --ignore-type leave\n' +
  'them out, --ignore-order lets rows come in any order.'

export function jsonLine(document: object): string {
  return JSON.stringify(document).replace(
    /[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** One line of a plan or an ending, made safe. */
export const plainLine = (label: string, text: string): string => `${label.padEnd(11)}${printable(text)}`
