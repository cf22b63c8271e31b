/**
 * `steno show`: what a recorded session was, and what one of its statements said and was told.
 *
 * Reads the store and prints; how things look is in `show-session.ts`, `show-statement.ts`, `grid.ts` and `show-json.ts`.
 */
import { Command, InvalidArgumentError } from 'commander'
import { KnownError } from '../base/errors.ts'
import type { Column } from '../postgres/statement.ts'
import { readDataRow } from '../postgres/values/data-row.ts'
import { decodeText } from '../postgres/values/encodings.ts'
import type { ValueSettings } from '../postgres/values/settings.ts'
import { textOf } from '../postgres/values/text-of.ts'
import { isRightAligned } from '../postgres/values/types.ts'
import { readDeliveredUnstored, stretchesOf, type DeliveredUnstored } from '../session/delivered-unstored.ts'
import { checkClose, checkGap, type Gap, type SessionClose, type SessionIdentity } from '../session/identity.ts'
import {
  createLostSessions,
  findSession,
  readIdentity,
  readRecords,
  readSessionManifest,
  readStatements,
  stateWithoutEnd,
} from '../session/read-session.ts'
import { recordType } from '../session/records.ts'
import { parseJson } from '../session/shape.ts'
import type { Store } from '../session/stores/store.ts'
import { paletteFor, type ColourOptions, type Palette } from './colour.ts'
import { createCopyView } from './copy-view.ts'
import { errorLines } from './error-report.ts'
import { createGrid, type GridColumn } from './grid.ts'
import { findLostAsAWhole, lostSessionLines } from './lost-session.ts'
import { notKeptText } from './not-kept.ts'
import { printPaged, type PagerOptions } from './pager.ts'
import { replayStatement, type Replayed } from './replay-statement.ts'
import { jsonLine, showHelp } from './show-json.ts'
import { type Ending, labelled, sessionLines, statementHead, statementLines } from './show-session.ts'
import { parameterLines, sqlLines, statementHeadLines } from './show-statement.ts'
import { checkStatementLine, type StatementLine } from './statement-line.ts'
import { addNewestOptions, checkNewestOptions, wantedSession, type NewestOptions } from './search/newest.ts'
import { openStoreFromOptions, storeOption, type StoreOptions } from './store-option.ts'

const rowsMaxDefault = 1_000
const widthDefault = 120

export class StatementNotFound extends KnownError {
  readonly code = 'STATEMENT_NOT_FOUND'
  readonly remedy = 'Run `steno show` without --statement: it lists the statements with their numbers.'
  readonly safeToRetry = true
}

export type ShowOptions = ColourOptions & {
  readonly statement?: number
  readonly rowsMax?: number
  readonly null: string
  readonly json?: true
}

export function command(): Command {
  const own = new Command('show')
    .description('show a recorded session, or one of its statements with its rows')
    .argument('<session>', "a session's id, the beginning of one, or `last`")
    .option('--statement <n>', 'show this statement: SQL, parameters, rows, errors', wholeNumber)
    .option('--rows-max <n>', `print at most so many rows (default ${rowsMaxDefault}; with --json all)`, wholeNumber)
    .option('--null <text>', 'what NULL is shown as', '')
    .option('--json', 'print JSON, one object per line')
    .addOption(storeOption())
  return addNewestOptions(own)
    .addHelpText('after', showHelp)
    .action(async (wanted: string, options: ShowOptions & NewestOptions & StoreOptions & PagerOptions) => {
      checkNewestOptions(wanted, options)
      const store = await openStoreFromOptions(options)
      await printPaged(show(store, await wantedSession(store, wanted, options), options), options)
    })
}

/**
 * What the command prints, line by line. `wanted` is an id, the beginning of one, or `last`.
 * @throws SessionNotFound, SessionAmbiguous, StatementNotFound, RecordingDamaged, StoreUnavailable
 */
export async function* show(store: Store, wanted: string, options: ShowOptions): AsyncGenerator<string> {
  const session = await findSession(store, wanted)
  const lost = await findLostAsAWhole(store, session)
  if (lost !== null && options.statement !== undefined)
    throw new StatementNotFound(`nothing of session ${session} is stored: it was lost with its recorder`)
  if (lost !== null) return yield* options.json === true ? [jsonLine({ type: 'session', ...lost })] : lostSessionLines(lost)
  if (options.statement === undefined) yield* showSession(store, session, options)
  else yield* showStatement(store, session, options.statement, options)
}

function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.')
  return Number(text)
}

async function* showSession(store: Store, session: string, options: ShowOptions): AsyncGenerator<string> {
  const { json } = options
  const colours = paletteFor(options)
  const identity = await readIdentity(store, session)
  const ending = await readEnding(store, identity)
  if (json === true) yield jsonLine({ type: 'session', identity, ...ending })
  else yield* [...sessionLines(identity, ending), '', colours.bold(statementHead)]
  const width = process.stdout.columns ?? widthDefault
  let judgedBy = identity.policy?.hash
  for await (const statement of readStatements(store, session, checkStatementLine)) {
    if (json === true) yield jsonLine({ type: 'statement', ...statement })
    else {
      if (statement.policy !== undefined && statement.policy !== judgedBy) yield labelled('policy', `${statement.policy} from here on`)
      judgedBy = statement.policy ?? judgedBy
      yield* statementLines(statement, identity.opened, width, colours)
    }
  }
}

/** From the manifest; a session that has none yet tells it by its records. */
async function readEnding(store: Store, { session, recorder, level }: SessionIdentity): Promise<Ending> {
  const manifest = await readSessionManifest(store, session)
  // What was delivered unstored stands in the records alone, and at this level only.
  const ending = manifest === null ? null : ({ ...closedAs(manifest), gaps: manifest.gaps, lost: null } as const)
  if (ending !== null && level !== 'stored') return ending
  let close: SessionClose | null = null
  const gaps: Gap[] = []
  const delivered: DeliveredUnstored[] = []
  let records = 0
  for await (const { type, payload } of readRecords(store, session)) {
    records += 1
    if (type === recordType.gap) gaps.push(checkGap(parseJson(payload, 'a gap record'), 'a gap record'))
    if (type === recordType.deliveredUnstored) delivered.push(readDeliveredUnstored(payload))
    if (type === recordType.sessionClose) close = checkClose(parseJson(payload, 'the session-close record'), 'the session-close record')
  }
  const unstored = delivered.length === 0 ? {} : { deliveredUnstored: stretchesOf(delivered) }
  if (ending !== null) return { ...ending, ...unstored }
  let statements = 0
  for await (const _ of readStatements(store, session)) statements += 1
  const lost = close === null ? await createLostSessions(store).part(recorder, session, { records, statements }) : null
  if (close !== null) return { ...closedAs({ close }), gaps, lost, ...unstored }
  return { state: lost === null ? await stateWithoutEnd(store, recorder) : 'lost', close, gaps, lost, ...unstored }
}

function closedAs({
  close,
  recovered = false,
}: {
  readonly close: SessionClose
  readonly recovered?: boolean
}): Pick<Ending, 'state' | 'close'> {
  return { state: recovered || close.recovered ? 'recovered' : 'closed', close }
}

async function findStatement(store: Store, session: string, number: number): Promise<StatementLine> {
  for await (const statement of readStatements(store, session, checkStatementLine)) {
    if (statement.number === number) return statement
  }
  throw new StatementNotFound(`session ${session} has no statement ${number}`)
}

async function* showStatement(store: Store, session: string, number: number, options: ShowOptions): AsyncGenerator<string> {
  const identity = await readIdentity(store, session)
  const indexed = await findStatement(store, session, number)
  if (options.json === true) yield* statementDocuments(store, identity, indexed, options)
  else yield* statementText(store, identity, indexed, options)
}

async function* statementText(
  store: Store,
  identity: SessionIdentity,
  indexed: StatementLine,
  options: ShowOptions,
): AsyncGenerator<string> {
  const rowsMax = options.rowsMax ?? rowsMaxDefault
  let grid = indexed.columns === null ? null : createGrid({ columns: indexed.columns.map(gridColumn), rowsMax, nullText: options.null })
  const copies: Partial<Record<'in' | 'out', ReturnType<typeof createCopyView>>> = {}
  const records = readRecords(store, identity.session, { to: indexed.place.last + 1 })
  const replay = replayStatement(indexed, records, identity.serverParameters, {
    onRow(body, _wholeBytes, settings) {
      const values = rowTexts(indexed, body, settings)
      grid ??= createGrid({
        columns: values.map((_, index) => ({ name: `column ${index + 1}`, align: 'left' })),
        rowsMax,
        nullText: options.null,
      })
      grid.push(values)
    },
    onCopyData(direction, data, wholeBytes, settings) {
      copies[direction] ??= createCopyView({ direction, linesMax: rowsMax, decode: (bytes) => decodeText(bytes, settings.clientEncoding) })
      copies[direction].push(data, wholeBytes)
    },
  })
  const replayed = await finish(replay)
  const { statement, settings, brokenBy } = replayed
  const colours = paletteFor(options)
  yield* [...statementHeadLines({ ...indexed, ...statement }, identity.session, identity.opened), '', ...sqlLines(statement), '']
  const parameters = parameterLines(statement.parameters, settings, options.null)
  if (parameters.length > 0) yield* [...parameters, '']
  yield* messageLines(replayed, colours)
  for (const copy of [copies.in, copies.out]) if (copy !== undefined) yield* copy.lines()
  const notKept = notKeptText(indexed)
  if (notKept !== null) {
    // The last line counts the rows that were found, of which there are none.
    if (grid !== null) yield* [...grid.lines()].slice(0, -1)
    yield `(${notKept})`
  } else if (grid !== null) yield* grid.lines()
  if (brokenBy !== null) yield `(what follows in the recording cannot be read: ${brokenBy})`
}

function* messageLines({ statement, queryText }: Replayed, colours: Palette): Generator<string> {
  // Replacing literals moved what a position points to.
  const text = statement.redacted === true ? null : queryText
  for (const notice of statement.notices) yield* errorLines(notice, text, { context: false })
  if (statement.error !== null) yield* errorLines(statement.error, text, { context: true }).map(colours.red)
}

/** A client need not ask what the columns are; such values are shown as text if they are, else in hexadecimal. */
const undescribed = { typeOid: 0, typeModifier: -1, format: 'binary' } as const

function gridColumn({ name, typeOid }: Column): GridColumn {
  return { name, align: isRightAligned(typeOid) ? 'right' : 'left' }
}

/** The row's values as psql shows them, a mark behind one that the recording's reader cut. */
function rowTexts({ columns }: StatementLine, body: Buffer, settings: ValueSettings): (string | null)[] {
  return readDataRow(body).map(({ bytes, cut }, index) => {
    if (bytes === null) return null
    const column = columns?.[index] ?? undescribed
    return textOf(bytes, column, settings) + (cut ? '…' : '')
  })
}

async function* statementDocuments(
  store: Store,
  identity: SessionIdentity,
  indexed: StatementLine,
  options: ShowOptions,
): AsyncGenerator<string> {
  const rowsMax = options.rowsMax ?? Infinity
  yield jsonLine({ type: 'statement', ...indexed })
  let rowsShown = 0
  let rows = 0
  let lines: string[] = []
  const records = readRecords(store, identity.session, { to: indexed.place.last + 1 })
  const replay = replayStatement(indexed, records, identity.serverParameters, {
    onRow(body, wholeBytes, settings) {
      rows++
      if (rowsShown >= rowsMax) return
      rowsShown++
      lines.push(jsonLine({ type: 'row', values: rowTexts(indexed, body, settings), ...(body.length < wholeBytes ? { cut: true } : {}) }))
    },
    onCopyData(direction, data, wholeBytes) {
      lines.push(jsonLine({ type: 'copy', direction, data: data.toString('base64'), bytes: wholeBytes }))
    },
  })
  for (;;) {
    const step = await replay.next()
    yield* lines // Before the next record is read, so that a large result is never held.
    lines = []
    if (step.done !== true) continue
    yield jsonLine({ type: 'end', rows, rowsShown, brokenBy: step.value.brokenBy })
    return
  }
}

async function finish<Result>(steps: AsyncGenerator<void, Result>): Promise<Result> {
  for (;;) {
    const step = await steps.next()
    if (step.done === true) return step.value
  }
}
