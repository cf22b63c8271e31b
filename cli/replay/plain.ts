/**
 * A session as plain text, statement by statement: for pipes, for dumb terminals, and for people who listen to their screen.
 *
 * No colours, no drawing, no columns that only the eye can follow: each value stands behind its column's name, and NULL reads
 * `name is NULL`, which no text value can look like. Goes once through the recording; holds of each statement that runs at most
 * `rowsMax` rows and `resultBytesMax` bytes.
 */
import type { Writable } from 'node:stream'
import { KnownError } from '../../base/errors.ts'
import { createStatementTracker } from '../../postgres/statement-tracker.ts'
import type { StatementSummary } from '../../postgres/statement.ts'
import { decodeText } from '../../postgres/values/encodings.ts'
import { settingsFrom, type ValueSettings } from '../../postgres/values/settings.ts'
import { typeName } from '../../postgres/values/types.ts'
import { checkClose, checkGap, type Gap, type SessionClose, type SessionIdentity } from '../../session/identity.ts'
import { readLeftOut } from '../../session/left-out.ts'
import { readRecords, stateWithoutEnd } from '../../session/read-session.ts'
import { recordFlag, recordType } from '../../session/records.ts'
import { parseJson } from '../../session/shape.ts'
import type { Store } from '../../session/stores/store.ts'
import { createCopyView } from '../copy-view.ts'
import { errorLines } from '../error-report.ts'
import { notKeptText } from '../not-kept.ts'
import { printLines } from '../print-lines.ts'
import { resultText, sessionLines } from '../show-session.ts'
import { parameterText, sqlLines } from '../show-statement.ts'
import { counted, printableLine } from '../text.ts'
import { shownDuration, shownOffset, shownTime } from '../times.ts'
import { createQueryTexts } from './query-texts.ts'
import { rowTexts } from './statement-result.ts'

const rowsMax = 1_000
const resultBytesMax = 1024 * 1024
/** Results held at once: those of statements that were answered and have not ended, as cursors are. */
const resultsMax = 32

export type PlainOptions = {
  readonly store: Store
  readonly identity: SessionIdentity
  /** The number of the first statement that is printed. */
  readonly from: number
  readonly output: Writable
}

/** @throws RecordingDamaged, StoreUnavailable; what came before is printed */
export async function printPlain({ store, identity, from, output }: PlainOptions): Promise<void> {
  await printLines(plainLines(store, identity, from), output)
}

type Held = { rows: Buffer[]; copies: { direction: 'in' | 'out'; data: Buffer }[]; bytes: number }

export async function* plainLines(store: Store, identity: SessionIdentity, from: number): AsyncGenerator<string> {
  const parameters: Record<string, string> = { ...identity.serverParameters }
  let settings = settingsFrom(parameters)
  let lines: string[] = []
  const held = new Map<number, Held>()
  const queries = createQueryTexts(() => settings.clientEncoding)

  function heldOf(number: number): Held | null {
    const known = held.get(number)
    if (known !== undefined || number < from || held.size >= resultsMax) return known ?? null
    const fresh: Held = { rows: [], copies: [], bytes: 0 }
    held.set(number, fresh)
    return fresh
  }

  const tracker = createStatementTracker({
    serverParameters: identity.serverParameters,
    onStatement(statement) {
      const result = held.get(statement.number) ?? null
      held.delete(statement.number)
      if (statement.number < from) return
      lines.push(...statementText(statement, result, { identity, settings, queryText: queries.of(statement) }))
    },
    onRow(number, row) {
      const result = heldOf(number)
      if (result === null || result.rows.length >= rowsMax || result.bytes >= resultBytesMax) return
      result.rows.push(Buffer.from(row))
      result.bytes += row.length
    },
    onCopyData(number, direction, data) {
      const result = heldOf(number)
      if (result === null || result.bytes >= resultBytesMax) return
      result.copies.push({ direction, data: Buffer.from(data) })
      result.bytes += data.length
    },
    onParameterStatus(name, value) {
      parameters[name] = value
      settings = settingsFrom(parameters)
    },
  })

  let close: SessionClose | null = null
  const gaps: Gap[] = []
  let last = { time: identity.opened, ordinal: 0 }
  // How it ended and its gaps are told last: only then they are known.
  const heading = sessionLines(identity, { close, gaps }).slice(0, -2)
  yield* heading
  try {
    for await (const { type, flags, time, payload, ordinal } of readRecords(store, identity.session)) {
      last = { time, ordinal }
      if (type === recordType.frontend) {
        queries.push(payload, ordinal)
        tracker.frontend(payload, time, ordinal, (flags & recordFlag.redacted) !== 0)
      } else if (type === recordType.backend) tracker.backend(payload, time, ordinal)
      else if (type === recordType.leftOut) tracker.leftOut(readLeftOut(payload), time, ordinal)
      else if (type === recordType.gap) {
        const gap = checkGap(parseJson(payload, 'a gap record'), 'a gap record')
        gaps.push(gap)
        queries.reset()
        tracker.gap(time, ordinal)
        lines.push('', `gap at ${shownOffset(gap.from - identity.opened)}: ${printableLine(gap.reason)}`)
      } else if (type === recordType.sessionClose)
        close = checkClose(parseJson(payload, 'the session-close record'), 'the session-close record')
      yield* lines
      lines = []
    }
    tracker.close(last.time, last.ordinal)
    yield* lines
  } catch (error) {
    if (!(error instanceof KnownError) || error.code !== 'BAD_FRAME') throw error
    yield* [...lines, '', `What follows in the recording cannot be read: ${error.message}`]
  }
  const state = close === null ? { state: await stateWithoutEnd(store, identity.recorder) } : {}
  yield* ['', ...sessionLines(identity, { close, gaps, ...state }).slice(heading.length)]
}

type TextOptions = { readonly identity: SessionIdentity; readonly settings: ValueSettings; readonly queryText: string | null }

function* statementText(statement: StatementSummary, held: Held | null, options: TextOptions): Generator<string> {
  const { number, started, finished, decision, redacted, notices, error } = statement
  const { identity, settings, queryText } = options
  const took = shownDuration(Math.max(0, finished - started))
  yield ''
  yield `statement ${number}, ${shownOffset(started - identity.opened)} (${shownTime(started)}), took ${took}, ${printableLine(resultText(statement))}`
  if (statement.transactionBefore !== 'I')
    yield statement.transactionBefore === 'T' ? 'inside a transaction' : 'inside a failed transaction'
  if (decision.rule !== '(none)') yield printableLine(`decision: ${decision.kind}, by rule ${decision.rule}`)
  if (redacted === true) yield 'its literals were replaced before it was recorded, because it carries a credential'
  yield* sqlLines(statement)
  for (const [index, parameter] of statement.parameters.entries()) {
    const shown = parameterText(parameter, settings)
    const value = shown === null ? 'is NULL' : `= ${printableLine(shown)}`
    yield `parameter ${index + 1} (${printableLine(typeName(parameter.typeOid))}, ${parameter.format}) ${value}`
  }
  const text = redacted === true ? null : queryText
  for (const notice of notices) yield* errorLines(notice, text, { context: false })
  if (error !== null) yield* errorLines(error, text, { context: true })
  const notKept = notKeptText(statement)
  if (notKept !== null) yield notKept
  yield* copyText(statement, held, settings)
  yield* rowText(statement, held, settings)
}

function* rowText(statement: StatementSummary, held: Held | null, settings: ValueSettings): Generator<string> {
  const rows = held?.rows ?? []
  for (const [index, row] of rows.entries()) {
    yield `row ${index + 1}`
    const values = rowTexts(statement, row, settings)
    for (const [column, value] of values.entries()) {
      const name = printableLine(statement.columns?.[column]?.name ?? `column ${column + 1}`)
      yield value === null ? `  ${name} is NULL` : `  ${name}: ${printableLine(value)}`
    }
  }
  if (statement.columns === null && statement.rows === 0) return
  if (statement.notKept !== undefined) return
  const more = statement.rows - rows.length
  if (more === 0) yield `${counted(statement.rows, 'row')} in all`
  else
    yield `${counted(more, 'more row')}, ${statement.rows} in all: steno show --statement ${statement.number} --rows-max ${statement.rows} has them`
}

function* copyText({ copy, number, notKept }: StatementSummary, held: Held | null, settings: ValueSettings): Generator<string> {
  if (copy === undefined) return
  yield `COPY ${copy.direction}: ${counted(copy.messages, 'message')}, ${counted(copy.bytes, 'byte')}`
  let shownBytes = 0
  for (const direction of ['in', 'out'] as const) {
    const decode = (bytes: Buffer): string => decodeText(bytes, settings.clientEncoding)
    const view = createCopyView({ direction, linesMax: resultBytesMax, decode })
    const pieces = held?.copies.filter((piece) => piece.direction === direction) ?? []
    for (const { data } of pieces) {
      view.push(data, data.length)
      shownBytes += data.length
    }
    // The view's first line counts what it was given; the whole is said above.
    if (pieces.length > 0) yield* [...view.lines()].slice(1)
  }
  if (copy.bytes > shownBytes && notKept === undefined)
    yield `${counted(copy.bytes - shownBytes, 'more byte')}: steno show --statement ${number} has them`
}
