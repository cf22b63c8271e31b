/**
 * The statements of one session with their rows and COPY data, as JSON lines in one pass over its records.
 *
 * The index says which statements fit and what their columns are; the records have the rows. Both are in the order in which statements
 * ended, so they are read side by side: a statement's line comes before its rows, and each row says which statement it belongs to. Held
 * are one segment, the rows of one record, and a note per statement whose line was read and whose rows may still come.
 */
import { KnownError } from '../../base/errors.ts'
import { createStatementTracker } from '../../postgres/statement-tracker.ts'
import type { Column } from '../../postgres/statement.ts'
import { readDataRow } from '../../postgres/values/data-row.ts'
import { settingsFrom, type ValueSettings } from '../../postgres/values/settings.ts'
import { textOf } from '../../postgres/values/text-of.ts'
import type { SessionIdentity } from '../../session/identity.ts'
import { readLeftOut } from '../../session/left-out.ts'
import { readRecords, readStatements } from '../../session/read-session.ts'
import { recordFlag, recordType } from '../../session/records.ts'
import type { Store } from '../../session/stores/store.ts'
import { safeJson, statementDocument } from '../search/statement-document.ts'
import { checkStatementLine, type StatementLine } from '../statement-line.ts'

/** The records of a session can be followed only so far. */
export class RowsUnreadable extends KnownError {
  readonly code = 'ROWS_UNREADABLE'
  readonly remedy = 'What came before was exported. `steno verify` tells whether the recording was changed.'
  readonly safeToRetry = true
}

export type SessionRows = {
  readonly store: Store
  readonly identity: SessionIdentity
  readonly passes: (line: StatementLine) => boolean
}

type Piece =
  | { readonly kind: 'row'; readonly number: number; readonly body: Buffer; readonly wholeBytes: number; readonly settings: ValueSettings }
  | { readonly kind: 'copy'; readonly number: number; readonly direction: 'in' | 'out'; readonly data: string; readonly bytes: number }
  | { readonly kind: 'end'; readonly number: number }

/** A client need not ask what the columns are; such values are shown as text if they are, else in hexadecimal. */
const undescribed = { typeOid: 0, typeModifier: -1, format: 'binary' } as const

/** Lines without their ends. @throws RecordingDamaged, RowsUnreadable behind the lines of all statements */
export async function* sessionRowLines({ store, identity, passes }: SessionRows): AsyncGenerator<string> {
  const { session } = identity
  const statements = (): AsyncGenerator<StatementLine> => readStatements(store, session, checkStatementLine)
  const recordsEnd = await endOfRows(statements(), passes)
  const index = statements()
  /** Of a statement whose line was read and which has not ended in the records: its columns, or that it does not fit. */
  const ahead = new Map<number, readonly Column[] | null | 'unwanted'>()

  /** Reads on in the index, to the statement's line or to the end. */
  async function* untilLineOf(number: number): AsyncGenerator<string> {
    while (!ahead.has(number)) {
      const next = await index.next()
      if (next.done === true) return
      const line = next.value
      const fits = passes(line)
      ahead.set(line.number, fits ? line.columns : 'unwanted')
      if (fits) yield statementDocument({ identity, line })
    }
  }

  let pieces: Piece[] = []
  const parameters = { ...identity.serverParameters }
  let settings = settingsFrom(parameters)
  const isWanted = (number: number): boolean => ahead.get(number) !== 'unwanted'
  const tracker = createStatementTracker({
    serverParameters: identity.serverParameters,
    onStatement: ({ number }) => pieces.push({ kind: 'end', number }),
    onRow(number, row, wholeBytes) {
      if (isWanted(number)) pieces.push({ kind: 'row', number, body: Buffer.from(row), wholeBytes, settings })
    },
    onCopyData(number, direction, data, bytes) {
      if (isWanted(number)) pieces.push({ kind: 'copy', number, direction, data: data.toString('base64'), bytes })
    },
    onParameterStatus(name, value) {
      parameters[name] = value
      settings = settingsFrom(parameters)
    },
  })

  let broken: KnownError | null = null
  try {
    for await (const { type, flags, time, payload, ordinal } of recordsEnd === 0 ? [] : readRecords(store, session, { to: recordsEnd })) {
      try {
        if (type === recordType.frontend) tracker.frontend(payload, time, ordinal, (flags & recordFlag.redacted) !== 0)
        else if (type === recordType.backend) tracker.backend(payload, time, ordinal)
        else if (type === recordType.leftOut) tracker.leftOut(readLeftOut(payload), time, ordinal)
        else if (type === recordType.gap) tracker.gap(time, ordinal)
      } catch (error) {
        if (!(error instanceof KnownError) || error.code !== 'BAD_FRAME') throw error
        broken = error
      }
      const now = pieces
      pieces = []
      for (const piece of now) {
        yield* untilLineOf(piece.number)
        const columns = ahead.get(piece.number)
        if (piece.kind === 'end') ahead.delete(piece.number)
        else if (columns !== undefined && columns !== 'unwanted') yield pieceLine(session, piece, columns)
      }
      if (broken !== null) break
    }
    for await (const line of index) if (passes(line)) yield statementDocument({ identity, line })
  } finally {
    await index.return(undefined)
  }
  if (broken !== null) throw new RowsUnreadable(`its rows can be read no further: ${broken.message}`, { cause: broken })
}

/** Behind the last record that has rows of a statement that fits; 0 when there is none. */
async function endOfRows(statements: AsyncGenerator<StatementLine>, passes: (line: StatementLine) => boolean): Promise<number> {
  let end = 0
  for await (const line of statements) {
    if ((line.rows > 0 || line.copy !== undefined) && passes(line)) end = Math.max(end, line.place.last + 1)
  }
  return end
}

function pieceLine(session: string, piece: Exclude<Piece, { readonly kind: 'end' }>, columns: readonly Column[] | null): string {
  const { number: statement } = piece
  if (piece.kind === 'copy') {
    const { direction, data, bytes } = piece
    return safeJson({ type: 'copy', session, statement, direction, data, bytes })
  }
  const values = readDataRow(piece.body).map(({ bytes, cut }, index) =>
    bytes === null ? null : textOf(bytes, columns?.[index] ?? undescribed, piece.settings) + (cut ? '…' : ''),
  )
  return safeJson({ type: 'row', session, statement, values, ...(piece.body.length < piece.wholeBytes ? { cut: true } : {}) })
}
