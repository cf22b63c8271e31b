/** The whole screen as lines, from a state and a size. Pure. */
import { shownOffset, shownTime } from '../times.ts'
import { detailLines, detailOf, detailTitle } from './detail-view.ts'
import { helpLines } from './help-view.ts'
import { layoutOf, type Size } from './layout.ts'
import { listHead, listLines, ruleLine } from './list-view.ts'
import type { Marks } from './marks.ts'
import { clockOf } from './playback.ts'
import type { PlayerState, PromptKind } from './state.ts'
import { cut, emptyLine, line, lineCells, shortened, span, type Line } from './styled-text.ts'

/** As many lines as the screen has rows, none wider than it. */
export function screenOf(state: PlayerState, size: Size, marks: Marks): Line[] {
  const { columns, rows } = size
  const layout = layoutOf(size, state.focus)
  const lines: Line[] = !layout.fits
    ? [line('A larger window'), line('is needed. q quits')]
    : state.help
      ? [barLine(state), ...fill(helpLines(columns), rows - 2), line(span('any key closes the help', 'dim'))]
      : [
          barLine(state),
          ...(layout.hasListHead ? [listHead(state)] : []),
          ...listLines(state, layout.listRows, columns, marks),
          ...(layout.hasTitle ? [ruleLine(titleText(state, size), columns, marks, state.focus === 'detail')] : []),
          ...detailLines(state, layout.detailRows, columns),
          statusLine(state, columns, marks),
        ]
  return fill(lines, rows).map((shown) => cut(shown, 0, columns))
}

function fill(lines: readonly Line[], count: number): Line[] {
  return Array.from({ length: Math.max(0, count) }, (_, index) => lines[index] ?? emptyLine)
}

function barLine({ identity, complete }: PlayerState): Line {
  const { session, user, database, opened } = identity
  const more = complete ? '' : '  still being recorded'
  return { ...line(` ${user}@${database}  ${shownTime(opened).replace(/\.\d+/, '')}${more}  session ${session}`), selected: true }
}

/** What the statement was, and how far the detail is scrolled when it is longer than its place. */
function titleText(state: PlayerState, size: Size): string {
  const { detailRows } = layoutOf(size, state.focus)
  const { lines, cells } = detailOf(state, size.columns)
  const last = Math.min(lines.length, state.detailTop + detailRows)
  const down = lines.length > detailRows ? `, lines ${state.detailTop + 1}-${last}/${lines.length}` : ''
  const aside = cells > size.columns ? `, column ${state.sideways + 1}/${cells}` : ''
  return `${detailTitle(state)}${down}${aside}`
}

const promptHeads: Readonly<Record<PromptKind, string>> = { search: '/', table: 'table: ', time: 'time: ', statement: ':' }

/** The longest that there is room for is shown. */
const hints = ['space plays  ? help  q quits', '? help  q quits', '? help']

function statusLine(state: PlayerState, width: number, marks: Marks): Line {
  if (state.prompt !== null) {
    const whole = line(span(promptHeads[state.prompt.kind], 'bold'), state.prompt.text, span(' ', 'bar'))
    return cut(whole, Math.max(0, lineCells(whole) - width), width)
  }
  const said =
    state.searching !== null
      ? span(`searching ${state.searching}, Esc stops`, 'warning')
      : state.message !== null
        ? span(state.message.text, state.message.style)
        : span(playbackText(state, marks))
  const shown = shortened(line(said), width)
  const room = width - lineCells(shown) - 2
  const hint = hints.find(({ length }) => length <= room)
  return hint === undefined ? shown : line(...shown.spans, ' '.repeat(room + 2 - hint.length), span(hint, 'dim'))
}

function playbackText(state: PlayerState, marks: Marks): string {
  const { playing, speed, capsIdle } = state.playback
  const of = state.lastsMilliseconds === null ? '' : ` of ${shownOffset(state.lastsMilliseconds)}`
  const parts = [
    `${playing ? marks.playing : marks.paused} ${speed}x`,
    `${shownOffset(clockOf(state))}${of}`,
    `${state.selected}/${state.count}`,
    ...(capsIdle ? ['idle max 2 s'] : []),
  ]
  return parts.join('  ')
}
