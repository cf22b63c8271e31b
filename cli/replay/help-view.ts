/** The list of keys, as the player shows it and as docs/replay.md has it. Pure. */
import { cellsOf, line, span, type Line } from './styled-text.ts'

export const keyTable: readonly (readonly [keys: string, does: string])[] = [
  ['space', 'play or pause, in the time in which it happened'],
  ['+ -', 'play faster or slower, 0.1 to 1000 times'],
  ['i', 'cut idle times to 2 s, or play them in full'],
  ['up down j k', 'the statement before, the next'],
  ['PgUp PgDn Home End', 'a page, the first, the last statement'],
  ['Tab Enter', 'move into the detail and back: the same keys scroll it'],
  ['left right h l', 'move wide rows sideways'],
  ['r', 'scroll the detail to what is behind the SQL'],
  ['m', 'read more rows'],
  ['/', 'search the SQL; small letters find capitals too'],
  ['t', 'the next statement that names a table'],
  ['f F', 'the next failure, the one before'],
  ['n N', 'the next of what was searched for, the one before'],
  ['g', 'go to a time: 90, 1:30, 2026-11-21 09:00:00'],
  [':', 'go to a statement by its number'],
  ['Esc', 'stop a search, leave the detail, forget the search'],
  ['Ctrl-L Ctrl-Z', 'draw again, suspend'],
  ['q', 'quit'],
]

const keyCells = 20

/** Two columns; narrower than they need, the second goes on beyond the edge. */
export function helpLines(width: number): Line[] {
  const cells = Math.min(keyCells, Math.floor(width / 3))
  return keyTable.map(([keys, does]) => line(span(keys.padEnd(cells), 'bold'), span(cellsOf(keys) >= cells ? ' ' : ''), does))
}
