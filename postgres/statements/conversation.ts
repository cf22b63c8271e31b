/**
 * The state of one session's tracking, and the making and ending of statements in it.
 *
 * `answers.ts`, `failures.ts`, `copy.ts` and `requests.ts` are the moves; this holds what they share.
 */
import { splitStatements } from '../sql-statements.ts'
import type { ErrorFields, Place, StatementKind, StatementOutcome, StatementSummary, TraceContext } from '../statement.ts'
import { traceContextOf } from '../trace-context.ts'
import { withResultFormats, type Notification } from '../messages/backend.ts'
import {
  isSilent,
  type Entry,
  type ExecuteEntry,
  type FunctionEntry,
  type Origin,
  type Portal,
  type Prepared,
  type QueryEntry,
} from './entries.ts'
import { ExpectedQueue } from './expected-queue.ts'
import type { TrackerMemory } from './memory.ts'
import { createSessionNames, type SessionNames, type SessionSettings } from './names.ts'
import { limitText, summarise, withTypes, type OpenStatement } from './open-statement.ts'
import type { Preview } from './preview.ts'
import { readSqlCommand } from './sql-commands.ts'
import { malformed, preparedBeforeGap } from './texts.ts'

export type Handlers = {
  /** A statement is final. Order is that of ends; `number` is that of beginnings. */
  onStatement(statement: StatementSummary): void
  /** A DataRow's body, or its first MiB, valid during the call only; `wholeBytes` is the body's length. */
  onRow?(statement: number, row: Buffer, wholeBytes: number): void
  /**
   * A CopyData's body, or its first MiB, valid during the call only. `data` is empty when the client sent more than 1 MiB of it
   * before the server asked.
   */
  onCopyData?(statement: number, direction: 'in' | 'out', data: Buffer, wholeBytes: number): void
  /** Every NoticeResponse; `statement` is null when it belongs to none that has begun. */
  onNotice?(fields: ErrorFields, statement: number | null): void
  onNotification?(notification: Notification): void
  onParameterStatus?(name: string, value: string): void
  /** An error outside any statement, as 57P01 when an administrator ends an idle session. */
  onSessionError?(fields: ErrorFields): void
}

export type Limits = {
  readonly sqlCharactersMax: number
  readonly parameterBytesMax: number
  readonly parametersMax: number
  readonly noticesMax: number
}

/** An error at Parse or Bind whose Execute may still come, and what was skipped behind it. */
export type Skipping = {
  readonly preview: Preview
  /** Waits for the Execute that it belongs to; null when it found it or never had one. */
  blamed: {
    readonly open: OpenStatement
    readonly prepared: Prepared | null
    readonly portal: Portal | null
    readonly error: ErrorFields
  } | null
}

export type Conversation = {
  readonly handlers: Handlers
  readonly limits: Limits
  readonly settings: SessionSettings
  readonly queue: ExpectedQueue
  readonly names: SessionNames
  readonly memory: TrackerMemory
  /** As the last ReadyForQuery said. */
  transaction: 'I' | 'T' | 'E'
  /** Syncs that the client sent. */
  segment: number
  /** Set while the server drops messages up to a Sync that the client has yet to send. */
  skipping: Skipping | null
  /** A gap came, and no ReadyForQuery since. */
  lost: boolean
  /** ReadyForQuery messages that answer requests which are no longer tracked. */
  untrackedReadies: number
  /** Takes answers that belong to nothing the tracker saw, up to the next ReadyForQuery. */
  stray: QueryEntry | null
  /** The statement that the server is answering. */
  current: OpenStatement | null
  /** The statement for which the client is sending COPY data. */
  copyIn: OpenStatement | null
  /** Notices that came before their statement began. */
  notices: ErrorFields[]
  /** The last execution that the server began: what a failing Sync is most likely about, within the same segment. */
  lastExecution: { readonly open: OpenStatement; readonly segment: number } | null
  /** Of a function's value that is not kept and has not ended. */
  functionBytesLeftOut: number
  time: number
  place: Place
  nextNumber: number
}

export function createConversation(handlers: Handlers, limits: Limits, settings: SessionSettings, memory: TrackerMemory): Conversation {
  const conversation: Conversation = {
    handlers,
    limits,
    settings,
    memory,
    queue: new ExpectedQueue(),
    names: createSessionNames({
      memory,
      onPortalGone: (portal) => {
        const open = portal.open!
        portal.open = null
        // A fetch that was answered without its Sync: what still comes of it is another statement's.
        const { head } = conversation.queue
        if (head?.kind === 'execute' && head.open === open) head.open = null
        end(conversation, open, 'suspended', null, open.lastTime)
      },
    }),
    transaction: 'I',
    segment: 0,
    skipping: null,
    lost: false,
    untrackedReadies: 0,
    stray: null,
    current: null,
    copyIn: null,
    notices: [],
    lastExecution: null,
    functionBytesLeftOut: 0,
    time: 0,
    place: 0,
    nextNumber: 1,
  }
  return conversation
}

export type Text = {
  readonly sql: string
  readonly sqlBytes: number
  readonly truncated: boolean
  /** Read from `sql` when it is not given. */
  readonly trace?: TraceContext | null
}

/** Begins a statement: it has its number from here on. */
export function begin(conversation: Conversation, kind: StatementKind, text: Text, origin: Origin): OpenStatement {
  const { notices } = conversation
  const open: OpenStatement = {
    number: conversation.nextNumber++,
    kind,
    sql: text.sql,
    sqlBytes: text.sqlBytes,
    sqlTruncated: text.truncated,
    redacted: origin.redacted,
    preparedSql: null,
    statementName: '',
    portal: '',
    parameters: [],
    columns: null,
    tag: null,
    rows: 0,
    resultBytes: 0,
    notKept: null,
    copy: null,
    copySyncs: 0,
    notices,
    trace: text.trace === undefined ? traceOf(conversation, text.sql) : text.trace,
    transactionBefore: conversation.transaction,
    started: origin.time,
    first: origin.place,
    lastTime: conversation.time,
  }
  if (notices.length > 0) conversation.notices = []
  else open.notices = []
  limitText(open, conversation.limits.sqlCharactersMax)
  const command = readSqlCommand(open.sql, conversation.settings.standardConformingStrings)
  if (command !== null) open.preparedSql = conversation.names.textBehind(command)
  return open
}

/** Ends a statement and hands its summary out. */
export function end(
  conversation: Conversation,
  open: OpenStatement,
  outcome: StatementOutcome,
  error: ErrorFields | null = null,
  time: number = conversation.time,
): void {
  if (conversation.current === open) conversation.current = null
  if (conversation.copyIn === open) conversation.copyIn = null
  conversation.handlers.onStatement(summarise(open, outcome, error, time, conversation.place))
}

/** Begins the execution of `portal`, which may not be known. */
export function beginExecution(conversation: Conversation, entry: ExecuteEntry, portal: Portal | undefined): OpenStatement {
  const { names } = conversation
  if (portal === undefined) {
    const cursor = names.cursor(entry.portal)
    const sql = cursor?.sql ?? names.unknownText()
    const open = begin(
      conversation,
      'execute',
      { sql, sqlBytes: cursor === undefined ? 0 : Buffer.byteLength(sql), truncated: false },
      entry.origin,
    )
    open.portal = entry.portal
    return open
  }
  const { prepared } = portal
  let sql = prepared?.sql ?? names.unknownText()
  if (prepared?.uncertain === true) sql = preparedBeforeGap + sql
  if (portal.malformed) sql += malformed('Bind')
  let origin = portal.executions === 0 ? portal.origin : entry.origin
  if (prepared !== null && !prepared.counted && prepared.origin.segment === origin.segment) {
    origin = prepared.origin
    prepared.counted = true
  }
  const open = begin(
    conversation,
    'execute',
    { sql, sqlBytes: prepared?.sqlBytes ?? 0, truncated: prepared?.sqlTruncated ?? false, trace: prepared?.trace ?? null },
    origin,
  )
  open.redacted = portal.origin.redacted || (prepared?.origin.redacted ?? false)
  open.statementName = portal.statementName
  open.portal = portal.name
  open.parameters = withTypes(portal.parameters, prepared?.parameterTypes ?? [])
  if (portal.columns !== undefined) open.columns = portal.columns
  else if (prepared?.columns) open.columns = withResultFormats(prepared.columns, portal.resultFormats)
  return open
}

/** Begins the next statement of a simple query; where the text holds no further one, all of it stands for it. */
export function beginNext(conversation: Conversation, entry: QueryEntry): OpenStatement {
  const pieces = piecesOf(conversation, entry)
  const piece = pieces[entry.begun++]
  if (piece === undefined)
    return begin(conversation, 'query', { sql: entry.text, sqlBytes: entry.textBytes, truncated: entry.truncated }, entry.origin)
  const isLast = entry.begun === pieces.length
  const isAll = pieces.length === 1 && piece.text.length === entry.text.length
  let sqlBytes = isAll ? entry.textBytes : Buffer.byteLength(piece.text)
  const truncated = isLast && entry.truncated
  // Of a text held in part, the part that is missing counts to the last statement that was seen.
  if (truncated && !isAll) sqlBytes += entry.textBytes - Buffer.byteLength(entry.text)
  // What the whole text does not carry, none of its parts does.
  const whole = queryTrace(conversation, entry)
  const trace = whole === null ? null : (traceOf(conversation, piece.text) ?? whole)
  return begin(conversation, 'query', { sql: piece.text, sqlBytes, truncated, trace }, entry.origin)
}

/** What comments outside a statement carry, as behind the last semicolon, is said of all statements of the text that have none of their own. */
function queryTrace(conversation: Conversation, entry: QueryEntry): TraceContext | null {
  if (entry.trace === undefined) entry.trace = traceOf(conversation, entry.text)
  return entry.trace
}

export function traceOf({ settings }: Pick<Conversation, 'settings'>, sql: string): TraceContext | null {
  return traceContextOf(sql, settings)
}

export function piecesOf(conversation: Conversation, entry: QueryEntry): NonNullable<QueryEntry['pieces']> {
  entry.pieces ??= splitStatements(entry.text, { standardConformingStrings: conversation.settings.standardConformingStrings })
  return entry.pieces
}

export function beginFunction(conversation: Conversation, entry: FunctionEntry): OpenStatement {
  const open = begin(conversation, 'function', { sql: entry.text, sqlBytes: 0, truncated: false }, entry.origin)
  open.parameters = entry.parameters
  return open
}

/** Ends every statement of entries that the server did not execute, or whose answers are not known. */
export function abandon(conversation: Conversation, entries: readonly Entry[], preview: Preview, outcome: 'skipped' | 'unfinished'): void {
  for (const entry of entries) abandonOne(conversation, entry, preview, outcome)
}

export function abandonOne(conversation: Conversation, entry: Entry, preview: Preview, outcome: 'skipped' | 'unfinished'): void {
  switch (entry.kind) {
    case 'execute': {
      const portal = preview.portal(entry.portal)
      if (portal !== undefined && preview.wasExecuted(portal)) return
      // A skipped fetch of a portal that was fetched in part is no statement of its own.
      if (outcome === 'skipped' && entry.open === null && portal?.open) return
      const open = entry.open ?? portal?.open ?? beginExecution(conversation, entry, portal)
      if (portal?.open === open) portal.open = null
      end(conversation, open, outcome)
      return
    }
    case 'query':
      abandonQuery(conversation, entry, outcome)
      return
    case 'function':
      if (!entry.answered) end(conversation, beginFunction(conversation, entry), outcome)
      return
    default:
      preview.apply(entry)
  }
}

/** Ends the statements of a simple query that were not answered. */
export function abandonQuery(conversation: Conversation, entry: QueryEntry, outcome: 'skipped' | 'unfinished'): void {
  if (entry.open !== null) {
    end(conversation, entry.open, outcome)
    entry.open = null
  }
  if (entry.failed) return
  const expected = Math.max(1, piecesOf(conversation, entry).length)
  while (entry.begun < expected) end(conversation, beginNext(conversation, entry), outcome)
}

/** Keeps a notice for the statement it belongs to. */
export function takeNotice(conversation: Conversation, fields: ErrorFields): void {
  const { current, handlers, limits, memory, queue } = conversation
  const kept = current?.notices ?? conversation.notices
  const head = queue.head
  const belongs = current !== null || (head !== undefined && !isSilent(head) && head.kind !== 'sync')
  if (belongs && kept.length < (memory.isScarce ? 1 : limits.noticesMax)) kept.push(fields)
  handlers.onNotice?.(fields, current?.number ?? null)
}
