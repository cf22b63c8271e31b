/** A statement that was found, as one line of text: session, in a cluster its pod, number, time, duration, what became of it, SQL. */
import { resultText } from '../show-session.ts'
import { printableLine, shorten } from '../text.ts'
import { shownDuration } from '../times.ts'
import { podOf } from './filters.ts'
import type { Match } from './scan.ts'

/** A pod's name is not cut: it is what tells sessions of one database user apart. */
const cells = { pod: 24, number: 6, duration: 12, result: 17 } as const
/** However narrow the terminal, so much of the SQL is shown. */
const sqlCellsMin = 40

/** The time is UTC. Nothing that a recording holds can colour the line or end it. */
export function matchLine({ identity, line }: Match, width: number): string {
  const pod = podOf(identity)
  const head = [
    line.session,
    ...(pod === null ? [] : [printableLine(`${pod.namespace}/${pod.name}`).padEnd(cells.pod)]),
    String(line.number).padStart(cells.number),
    new Date(line.started).toISOString(),
    shownDuration(Math.max(0, line.finished - line.started)).padStart(cells.duration),
    shorten(printableLine(resultText(line)), cells.result).padEnd(cells.result),
  ].join('  ')
  return `${head}  ${shorten(oneLine(line.sql), Math.max(sqlCellsMin, width - head.length - 2))}`
}

/** White space that the SQL does not need is one space, so that the line shows as much as it can. */
function oneLine(sql: string): string {
  const text = printableLine(sql.slice(0, sqlCharactersMax).trim().replace(/\s+/g, ' '))
  return text === '' ? '(empty)' : text
}

/** A terminal shows far less. */
const sqlCharactersMax = 4_096
