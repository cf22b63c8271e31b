/**
 * Errors and notices as psql prints them at its default verbosity: severity, message, the line that the position points to,
 * DETAIL, HINT, CONTEXT.
 *
 * Which part of a long line is shown follows `reportErrorPosition` of libpq. Severities are shown untranslated, and the query
 * of an error inside a function is not kept by recordings, so no QUERY is shown.
 */
import type { ErrorFields } from '../postgres/statement.ts'
import { displayWidth, printable, printableLine } from './text.ts'

const lineCellsMax = 60
/** As near to the end of the shown part as the position may come. */
const rightCellsMin = 10

/** `sql` is the text that the position counts in, null where that is not known; `context` is left out of notices by psql. */
export function errorLines(fields: ErrorFields, sql: string | null, { context }: { readonly context: boolean }): string[] {
  const position = Number(fields.position ?? '0')
  const shownLine = sql === null || !Number.isInteger(position) || position < 1 ? [] : positionLines(sql, position - 1)
  const parts: [name: string, value: string | undefined][] = [
    ['DETAIL', fields.detail],
    ['HINT', fields.hint],
    ['CONTEXT', context ? fields.where : undefined],
  ]
  return [
    ...printable(`${fields.severity}:  ${fields.message}`).split('\n'),
    ...shownLine,
    ...parts.flatMap(([name, value]) => (value === undefined ? [] : printable(`${name}:  ${value}`).split('\n'))),
  ]
}

type Character = { readonly shown: string; readonly cells: number }

/** `LINE n: …` and a caret below the character at `position`, which counts characters from 0; nothing when the text is shorter. */
function positionLines(sql: string, position: number): string[] {
  const all = Array.from(sql) // The server counts code points.
  if (position > all.length) return []
  let lineNumber = 1
  let first = 0
  for (let at = 0; at < position; at++) {
    const character = all[at]
    if (character !== '\n' && character !== '\r') continue
    if (character === '\r' || all[at - 1] !== '\r') lineNumber++
    first = at + 1
  }
  let end = position
  while (end < all.length && all[end] !== '\n' && all[end] !== '\r') end++
  const characters = all.slice(first, end).map(characterOf)
  const cut = cutAround(characters, position - first)
  const head = `LINE ${lineNumber}: ${cut.from > 0 ? '...' : ''}`
  const text = characters.slice(cut.from, cut.to).map(({ shown }) => shown)
  const before = cellsOf(characters.slice(cut.from, position - first))
  return [`${head}${text.join('')}${cut.to < characters.length ? '...' : ''}`, `${' '.repeat(head.length + before)}^`]
}

function characterOf(character: string): Character {
  const shown = character === '\t' ? ' ' : printableLine(character)
  return { shown, cells: Math.max(1, displayWidth(shown)) }
}

function cellsOf(characters: readonly Character[]): number {
  return characters.reduce((cells, character) => cells + character.cells, 0)
}

/** The part of a line that is shown: cut on the right if that is enough, else on both sides of the position. */
function cutAround(characters: readonly Character[], position: number): { readonly from: number; readonly to: number } {
  const offsets = [0]
  for (const { cells } of characters) offsets.push(offsets.at(-1)! + cells)
  let from = 0
  let to = characters.length
  if (offsets[to]! <= lineCellsMax) return { from, to }
  if (lineCellsMax < offsets[position]! + rightCellsMin) {
    while (offsets[position]! + rightCellsMin < offsets[to]!) to--
    while (offsets[to]! - offsets[from]! > lineCellsMax) from++
  } else {
    while (offsets[to]! > lineCellsMax) to--
  }
  return { from, to }
}
