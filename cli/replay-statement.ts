/**
 * Gets from a session's records what its index does not hold of one statement: rows, COPY data, the whole text.
 *
 * Runs the records through the same tracker that wrote the index, from the session's start, since what a message means hangs on
 * those before it. Holds nothing itself; what is handed out is valid during the call only.
 */
import { KnownError } from '../base/errors.ts'
import { createFrameAssembler } from '../postgres/frame-assembler.ts'
import { decodeText, textEncodingOf } from '../postgres/messages/text-encoding.ts'
import type { StatementSummary } from '../postgres/statement.ts'
import { createStatementTracker } from '../postgres/statement-tracker.ts'
import { settingsFrom, type ValueSettings } from '../postgres/values/settings.ts'
import { readLeftOut } from '../session/left-out.ts'
import { recordFlag, recordType, type SessionRecord } from '../session/records.ts'

/** The tracker itself holds of longer texts only this much. */
const sqlCharactersMax = 1024 * 1024
const parameterBytesMax = 64 * 1024

export type ReplayHandlers = {
  /** A DataRow's body, or its head when `wholeBytes` is more. */
  onRow(body: Buffer, wholeBytes: number, settings: ValueSettings): void
  onCopyData(direction: 'in' | 'out', data: Buffer, wholeBytes: number, settings: ValueSettings): void
}

export type Replayed = {
  /** The statement with its text and parameters in full, as far as the recording's frames were held. */
  readonly statement: StatementSummary
  /** The text in which the server counts an error's position: all of a simple query, of which the statement may be a part. */
  readonly queryText: string | null
  /** The session's settings when the statement ended. */
  readonly settings: ValueSettings
  /** Why the records could be followed no further, or null. */
  readonly brokenBy: string | null
}

type PlacedRecord = SessionRecord & { readonly ordinal: number }

/**
 * `records` are the session's from its first to the statement's last; `serverParameters` those of its start-up. Yields after each
 * record, so that what the handlers were given can be passed on before more is read; returns the rest when all are read.
 */
export async function* replayStatement(
  statement: StatementSummary,
  records: AsyncIterable<PlacedRecord>,
  serverParameters: Readonly<Record<string, string>>,
  handlers: ReplayHandlers,
): AsyncGenerator<void, Replayed> {
  const parameters = { ...serverParameters }
  let settings = settingsFrom(parameters)
  let found: StatementSummary | null = null
  const tracker = createStatementTracker({
    serverParameters,
    sqlCharactersMax,
    parameterBytesMax,
    onStatement(summary) {
      if (summary.number === statement.number) found = summary
    },
    onRow(number, row, wholeBytes) {
      if (number === statement.number) handlers.onRow(row, wholeBytes, settings)
    },
    onCopyData(number, direction, data, wholeBytes) {
      if (number === statement.number) handlers.onCopyData(direction, data, wholeBytes, settings)
    },
    onParameterStatus(name, value) {
      parameters[name] = value
      settings = settingsFrom(parameters)
    },
  })
  const queries = findQueryText(statement, () => settings.clientEncoding)
  let brokenBy: string | null = null
  let lastTime = statement.finished
  try {
    for await (const { type, flags, time, payload, ordinal } of records) {
      lastTime = time
      if (type === recordType.frontend) {
        queries.push(payload, ordinal)
        tracker.frontend(payload, time, ordinal, (flags & recordFlag.redacted) !== 0)
      } else if (type === recordType.backend) tracker.backend(payload, time, ordinal)
      else if (type === recordType.leftOut) tracker.leftOut(readLeftOut(payload), time, ordinal)
      else if (type === recordType.gap) {
        queries.reset()
        tracker.gap(time, ordinal)
      }
      yield
    }
    // A portal fetched in part is summed up only when it is dropped, which may be long after its rows.
    tracker.close(lastTime, statement.place.last)
  } catch (error) {
    // What came before is shown all the same; a damaged recording is another matter, and goes to the caller.
    if (!(error instanceof KnownError) || error.code !== 'BAD_FRAME') throw error
    brokenBy = error.message
  }
  return { statement: fuller(statement, found), queryText: queries.text(), settings, brokenBy }
}

/** Only what the index cuts is taken from the replay: the rest is what the index says and `verify` has checked. */
function fuller(statement: StatementSummary, found: StatementSummary | null): StatementSummary {
  if (found === null) return statement
  const { sqlTruncated: _, ...rest } = statement
  const cut = found.sqlTruncated === true ? { sqlTruncated: true as const } : {}
  return { ...rest, ...cut, sql: found.sql, parameters: found.parameters }
}

/** Looks for the Query message that the statement came in. */
function findQueryText(statement: StatementSummary, clientEncoding: () => string) {
  let text: string | null = null
  let began = 0
  let now = 0
  const onlyQueries = new Uint8Array(256).fill(1)
  onlyQueries['Q'.charCodeAt(0)] = 0
  const frames = createFrameAssembler(
    'frontend',
    {
      onFrame(_type, bytes, start, end) {
        if (began === statement.place.first && text === null) {
          const whole = decodeText(textEncodingOf(clientEncoding()), bytes, start, Math.max(start, end - 1))
          if (whole.includes(statement.sql.slice(0, 1_000))) text = whole
        }
        began = now
      },
      onSize() {
        began = now
      },
    },
    { sizeOnly: onlyQueries },
  )
  return {
    push(bytes: Buffer, ordinal: number): void {
      now = ordinal
      if (!frames.midFrame) began = ordinal
      frames.push(bytes)
    },
    reset: (): void => frames.reset(),
    text: (): string | null => (statement.kind === 'query' ? text : statement.sql),
  }
}
