/** Runs a written conversation through a tracker and gives what it said, for tests. */
import { createStatementTracker, type StatementTrackerOptions } from '../statement-tracker.ts'
import type { ErrorFields, StatementSummary } from '../statement.ts'

export type Step = readonly ['client' | 'server', ...Buffer[]] | readonly ['gap'] | readonly ['close']

export type Tracked = {
  statements: StatementSummary[]
  rows: [statement: number, row: string][]
  copied: [statement: number, direction: string, data: string][]
  sessionErrors: ErrorFields[]
  notices: [message: string, statement: number | null][]
}

/** Each step comes a second after the one before, at the place of its index. */
export function track(steps: readonly Step[], options: Partial<StatementTrackerOptions> = {}): Tracked {
  const tracked: Tracked = { statements: [], rows: [], copied: [], sessionErrors: [], notices: [] }
  const tracker = createStatementTracker({
    onStatement: (statement) => tracked.statements.push(statement),
    onRow: (statement, row) => tracked.rows.push([statement, row.toString('latin1')]),
    onCopyData: (statement, direction, data) => tracked.copied.push([statement, direction, data.toString('latin1')]),
    onSessionError: (fields) => tracked.sessionErrors.push(fields),
    onNotice: (fields, statement) => tracked.notices.push([fields.message, statement]),
    ...options,
  })
  for (const [place, step] of steps.entries()) {
    const time = place * 1000
    if (step[0] === 'gap') tracker.gap(time, place)
    else if (step[0] === 'close') tracker.close(time, place)
    else {
      const bytes = Buffer.concat(step.slice(1) as Buffer[])
      if (step[0] === 'client') tracker.frontend(bytes, time, place, false)
      else tracker.backend(bytes, time, place)
    }
  }
  return tracked
}

/** One line per statement: number, kind, outcome, tag, rows, text. */
export function lines({ statements }: Pick<Tracked, 'statements'>): string[] {
  return statements.map(({ number, kind, outcome, tag, rows, sql, error }) => {
    const end = error === null ? outcome : `${outcome} ${error.code}`
    return `${number} ${kind} ${end}${tag === null ? '' : ` [${tag}]`}${rows > 0 ? ` ${rows} rows` : ''}: ${sql}`
  })
}
