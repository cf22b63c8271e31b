/**
 * What one statement was told, read from the recording by its place: rows as text, COPY data, the text that an error points into.
 *
 * Starts reading where the conversation had come to rest before the statement, which is nearly always its own first record, and checks
 * what it got against the index; when that does not fit (pipelines, cursors left open, frames cut in the middle) it reads again from
 * the session's start. Holds at most `rowsMax` rows, and of values as much as the limits here say.
 */
import type { Column } from '../../postgres/statement.ts'
import { readDataRow } from '../../postgres/values/data-row.ts'
import { decodeText } from '../../postgres/values/encodings.ts'
import type { ValueSettings } from '../../postgres/values/settings.ts'
import { settingsFrom } from '../../postgres/values/settings.ts'
import { textOf } from '../../postgres/values/text-of.ts'
import { isRightAligned } from '../../postgres/values/types.ts'
import type { SessionIdentity } from '../../session/identity.ts'
import { readRecords } from '../../session/read-session.ts'
import type { Store } from '../../session/stores/store.ts'
import { createCopyView } from '../copy-view.ts'
import type { GridColumn, GridRow } from '../grid.ts'
import { replayStatement, type Replayed } from '../replay-statement.ts'
import type { StatementLine } from '../statement-line.ts'
import type { SettingsHistory } from './settings-history.ts'
import type { StatementList } from './statement-list.ts'

/** Longer values are cut: a screen shows less, and `steno show --statement` shows all. */
const valueCharactersMax = 4096
const charactersMax = 4 * 1024 * 1024
const copyBytesMax = 256 * 1024
/** How far back a place of rest is looked for. */
const stepsBackMax = 100
/** DataRow's type and length, which the index counts and the row's body leaves out. */
const frameHeaderBytes = 5

export type CopiedData = { readonly direction: 'in' | 'out'; readonly lines: readonly string[]; readonly bytesRead: number }

export type StatementResult = {
  /** As the index has it, with text and parameters in full as far as the recording's frames were held. */
  readonly statement: StatementLine
  readonly columns: readonly GridColumn[]
  readonly rows: readonly GridRow[]
  readonly copies: readonly CopiedData[]
  /** The text in which an error's position counts, or null. */
  readonly queryText: string | null
  readonly settings: ValueSettings
  /** Why the recording could be followed no further, or null. */
  readonly brokenBy: string | null
}

export type ResultReader = {
  /** @throws RecordingDamaged, StoreUnavailable, and `signal`'s reason */
  read(statement: StatementLine, options: ReadOptions): Promise<StatementResult>
}

export type ReadOptions = {
  readonly rowsMax: number
  readonly signal: AbortSignal
  /**
   * Gets the result at once where all that came before would have to be read to know the session's settings (time zone, encoding):
   * shown by the settings that are known, which are the right ones unless the session changed them.
   */
  onEarly(result: StatementResult): void
}

export type ResultReaderOptions = {
  readonly store: Store
  readonly identity: SessionIdentity
  readonly statements: StatementList
  readonly settings: SettingsHistory
}

export function createResultReader({ store, identity, statements, settings: history }: ResultReaderOptions): ResultReader {
  /** The nearest number at or below `statement`'s before whose first record everything earlier had ended, or null. */
  async function placeOfRest(statement: StatementLine): Promise<StatementLine | null> {
    let candidate = statement
    for (let step = 0; step < stepsBackMax; step++) {
      if (candidate.number === 1) return null
      const before = await statements.statement(candidate.number - 1)
      if (before === null) return null
      if (before.place.last < candidate.place.first) return candidate
      candidate = before
    }
    return null
  }

  async function attempt(
    statement: StatementLine,
    from: { readonly place: number; readonly numbersBefore: number; readonly parameters: Readonly<Record<string, string>> },
    rowsMax: number,
    signal: AbortSignal,
  ): Promise<{ readonly result: StatementResult; readonly fits: boolean }> {
    const collected = createCollector(statement, rowsMax)
    const records = readRecords(store, identity.session, { from: from.place, to: statement.place.last + 1 })
    const numbered = { ...statement, number: statement.number - from.numbersBefore }
    const replay = replayStatement(numbered, records, from.parameters, collected.handlers)
    // An error's position needs the whole; rows that nobody asked for do not.
    const mayStopEarly = statement.error === null && statement.notices.length === 0 && statement.sqlTruncated !== true
    let replayed: Replayed | null = null
    for (;;) {
      const step = await replay.next()
      signal.throwIfAborted()
      if (step.done === true) {
        replayed = step.value
        break
      }
      if (mayStopEarly && collected.full) {
        await replay.return({ statement: numbered, queryText: null, settings: collected.settings(), brokenBy: null })
        break
      }
    }
    const settings = replayed?.settings ?? settingsFrom(from.parameters)
    const result: StatementResult = {
      statement: fuller(statement, replayed?.statement),
      ...collected.result(),
      queryText: replayed?.queryText ?? (statement.kind === 'query' ? null : statement.sql),
      settings,
      brokenBy: replayed?.brokenBy ?? null,
    }
    const isWhole = statement.notKept !== undefined || (collected.rows === statement.rows && collected.bytesFit())
    const fits = replayed === null || (replayed.brokenBy === null && isWhole)
    return { result, fits }
  }

  return {
    async read(statement, { rowsMax, signal, onEarly }) {
      const rest = await placeOfRest(statement)
      if (rest !== null) {
        const from = { place: rest.place.first, numbersBefore: rest.number - 1 }
        const { parameters, exact } = history.known(from.place)
        const early = await attempt(statement, { ...from, parameters }, rowsMax, signal)
        if (early.fits) {
          if (exact) return early.result
          onEarly(early.result)
          const exactly = await history.at(from.place, signal)
          if (exactly === parameters) return early.result
          return (await attempt(statement, { ...from, parameters: exactly }, rowsMax, signal)).result
        }
      }
      return (await attempt(statement, { place: 0, numbersBefore: 0, parameters: identity.serverParameters }, rowsMax, signal)).result
    },
  }
}

/** A replay from the middle does not know what was prepared before it, so only a text that goes on where the index cut it is taken. */
function fuller(indexed: StatementLine, replayed: Replayed['statement'] | undefined): StatementLine {
  if (replayed === undefined) return indexed
  const longer = indexed.sqlTruncated === true && replayed.sql.startsWith(indexed.sql)
  const { sqlTruncated, ...rest } = indexed
  const cut = longer ? replayed.sqlTruncated : sqlTruncated
  return {
    ...rest,
    ...(cut === true ? { sqlTruncated: true as const } : {}),
    sql: longer ? replayed.sql : indexed.sql,
    parameters: indexed.parameters.map((parameter, index) => {
      const whole = replayed.parameters[index]
      const fits = parameter.truncated === true && whole?.format === parameter.format && whole.bytes === parameter.bytes
      return fits ? { ...whole, typeOid: parameter.typeOid } : parameter
    }),
  }
}

/** A client need not ask what the columns are; such values are shown as text if they are, else in hexadecimal. */
const undescribed = { typeOid: 0, typeModifier: -1, format: 'binary' } as const

function createCollector(statement: StatementLine, rowsMax: number) {
  let columns: readonly GridColumn[] | null = statement.columns === null ? null : statement.columns.map(gridColumn)
  const rows: GridRow[] = []
  const copies: Partial<Record<'in' | 'out', { view: ReturnType<typeof createCopyView>; bytesRead: number }>> = {}
  let rowCount = 0
  let rowBytes = 0
  let copyBytes = 0
  let characters = 0
  let lastSettings: ValueSettings | null = null
  return {
    get rows(): number {
      return rowCount
    },
    /** More would only be counted. */
    get full(): boolean {
      return rowCount > rowsMax || characters >= charactersMax || copyBytes > copyBytesMax
    },
    settings: (): ValueSettings => lastSettings ?? settingsFrom({}),
    handlers: {
      onRow(body: Buffer, wholeBytes: number, settings: ValueSettings): void {
        rowCount++
        rowBytes += wholeBytes + frameHeaderBytes
        lastSettings = settings
        if (rows.length >= rowsMax || characters >= charactersMax) return
        const values = rowTexts(statement, body, settings)
        columns ??= values.map((_, index) => ({ name: `column ${index + 1}`, align: 'left' }))
        for (const value of values) characters += value?.length ?? 0
        rows.push(values)
      },
      onCopyData(direction: 'in' | 'out', data: Buffer, wholeBytes: number, settings: ValueSettings): void {
        copyBytes += wholeBytes
        const decode = (bytes: Buffer): string => decodeText(bytes, settings.clientEncoding)
        copies[direction] ??= { view: createCopyView({ direction, linesMax: copyBytesMax, decode }), bytesRead: 0 }
        const copied = copies[direction]
        const room = copyBytesMax - copied.bytesRead
        if (room <= 0) return
        const head = data.subarray(0, room)
        copied.view.push(head, head.length)
        copied.bytesRead += head.length
      },
    },
    bytesFit: (): boolean => statement.columns === null || statement.copy !== undefined || rowBytes === statement.resultBytes,
    result: (): Pick<StatementResult, 'columns' | 'rows' | 'copies'> => ({
      columns: columns ?? [],
      rows,
      copies: (['in', 'out'] as const).flatMap((direction) => {
        const copied = copies[direction]
        // The view's own first line counts what it was given, which is not all.
        return copied === undefined ? [] : [{ direction, lines: [...copied.view.lines()].slice(1), bytesRead: copied.bytesRead }]
      }),
    }),
  }
}

function gridColumn({ name, typeOid }: Column): GridColumn {
  return { name, align: isRightAligned(typeOid) ? 'right' : 'left' }
}

/** The row's values as psql shows them, a mark behind one that was cut. */
export function rowTexts({ columns }: { readonly columns: readonly Column[] | null }, body: Buffer, settings: ValueSettings): GridRow {
  return readDataRow(body).map(({ bytes, cut }, index) => {
    if (bytes === null) return null
    const shown = textOf(bytes, columns?.[index] ?? undescribed, settings)
    if (shown.length <= valueCharactersMax) return cut ? `${shown}…` : shown
    return `${shown.slice(0, valueCharactersMax)}… (cut: ${shown.length} characters)`
  })
}
