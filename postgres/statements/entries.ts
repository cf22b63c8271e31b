/**
 * What the client sent and the server has yet to answer: the entries of the queue of expected answers.
 */
import type { BoundParameter } from '../messages/frontend.ts'
import type { SqlStatementText } from '../sql-statements.ts'
import type { Column, Place, TraceContext } from '../statement.ts'
import type { OpenStatement } from './open-statement.ts'

/** When and where a message came. `segment` counts the Syncs before it: the server skips to the next after an error. */
export type Origin = { readonly time: number; readonly place: Place; readonly redacted: boolean; readonly segment: number }

/** A prepared statement, by Parse or by SQL. */
export type Prepared = {
  readonly name: string
  readonly sql: string
  readonly sqlBytes: number
  readonly sqlTruncated: boolean
  /** What the whole text's comments carry, also where `sql` is cut. */
  readonly trace: TraceContext | null
  /** From Parse, then from ParameterDescription; 0 where neither says it. */
  parameterTypes: readonly number[]
  /** As last described: null for no result, undefined when nobody asked. */
  columns: readonly Column[] | null | undefined
  readonly origin: Origin
  /** True once an execution counts this Parse as its first message. */
  counted: boolean
  /** A gap came after it, in which another may have taken its name. */
  uncertain: boolean
}

export type Portal = {
  readonly name: string
  readonly statementName: string
  /** Resolved when the server has bound it; null when the statement is not known. */
  prepared: Prepared | null
  readonly parameters: BoundParameter[]
  readonly resultFormats: readonly number[]
  columns: readonly Column[] | null | undefined
  readonly origin: Origin
  readonly malformed: boolean
  /** The statement that fetched a part of it, and may fetch on. */
  open: OpenStatement | null
  /** Times an execution ended with all rows. */
  executions: number
}

export type ParseEntry = { readonly kind: 'parse'; readonly prepared: Prepared }
export type BindEntry = { readonly kind: 'bind'; readonly portal: Portal }
export type DescribeEntry = {
  readonly kind: 'describe'
  readonly target: 'statement' | 'portal'
  readonly name: string
  readonly origin: Origin
}
export type CloseEntry = { readonly kind: 'close'; readonly target: 'statement' | 'portal'; readonly name: string; readonly origin: Origin }
export type ExecuteEntry = { readonly kind: 'execute'; readonly portal: string; readonly origin: Origin; open: OpenStatement | null }
export type SyncEntry = {
  readonly kind: 'sync'
  readonly origin: Origin
  /** The server may have dropped it, in copy mode: an answer to what came later shows that it did. */
  doubtful: boolean
}
export type QueryEntry = {
  readonly kind: 'query'
  readonly text: string
  readonly textBytes: number
  readonly truncated: boolean
  readonly origin: Origin
  /** The statements of the text, once the server began to answer. */
  pieces: readonly SqlStatementText[] | null
  /** What the whole text's comments carry; undefined until a statement without its own asks. */
  trace: TraceContext | null | undefined
  /** How many of them were begun. */
  begun: number
  completed: number
  failed: boolean
  open: OpenStatement | null
}
export type FunctionEntry = {
  readonly kind: 'function'
  readonly text: string
  readonly parameters: BoundParameter[]
  readonly origin: Origin
  answered: boolean
}
/** COPY data that the client sent before the server asked for it. Expects no answer. */
export type CopyDataEntry = {
  readonly kind: 'copyData'
  messages: number
  bytes: number
  readonly held: { readonly data: Buffer; readonly wholeBytes: number }[]
  heldBytes: number
}
/** CopyDone or CopyFail before the server asked for data. Expects no answer of its own. */
export type CopyEndEntry = { readonly kind: 'copyEnd' }

export type Entry =
  | ParseEntry
  | BindEntry
  | DescribeEntry
  | CloseEntry
  | ExecuteEntry
  | SyncEntry
  | QueryEntry
  | FunctionEntry
  | CopyDataEntry
  | CopyEndEntry

/** True when nothing is lost if the server never answers it. */
export function isSilent(entry: Entry): boolean {
  return entry.kind === 'copyData' || entry.kind === 'copyEnd' || (entry.kind === 'sync' && entry.doubtful)
}

/** True for what the server answers with a ReadyForQuery of its own. */
export function expectsReady(entry: Entry): boolean {
  return entry.kind === 'sync' || entry.kind === 'query' || entry.kind === 'function'
}

/** True when the server may answer `entry` with a message of `type`, errors and asynchronous ones left out. */
export function takes(entry: Entry, type: number): boolean {
  switch (entry.kind) {
    case 'parse':
      return type === 0x31 // 1
    case 'bind':
      return type === 0x32 // 2
    case 'close':
      return type === 0x33 // 3
    case 'describe':
      return type === 0x54 || type === 0x6e || type === 0x74 // T n t
    case 'execute':
      return isExecutionAnswer(type) || type === 0x73 // s
    case 'query':
      return !entry.failed && (isExecutionAnswer(type) || type === 0x54) // T
    case 'function':
      return type === 0x56 && !entry.answered // V
    case 'sync':
    case 'copyData':
    case 'copyEnd':
      return false
    default:
      return entry satisfies never
  }
}

/** D C I G H W d c */
function isExecutionAnswer(type: number): boolean {
  return (
    type === 0x44 || type === 0x43 || type === 0x49 || type === 0x47 || type === 0x48 || type === 0x57 || type === 0x64 || type === 0x63
  )
}

/** Characters and bytes that an entry keeps alive. */
export function weightOf(entry: Entry): number {
  switch (entry.kind) {
    case 'parse':
      return preparedWeight(entry.prepared)
    case 'bind':
      return portalWeight(entry.portal)
    case 'query':
      return entry.text.length
    case 'function':
      return parametersWeight(entry.parameters)
    default:
      return 0
  }
}

export function preparedWeight(prepared: Prepared): number {
  return prepared.sql.length + prepared.name.length
}

function portalWeight(portal: Portal): number {
  return portal.name.length + parametersWeight(portal.parameters)
}

/** The same once its statement is known, whose text lives on with it when the statement itself has gone. */
export function boundPortalWeight(portal: Portal): number {
  return portalWeight(portal) + (portal.prepared?.sql.length ?? 0)
}

function parametersWeight(parameters: readonly BoundParameter[]): number {
  let weight = 0
  for (const { value } of parameters) weight += 64 + (value === null ? 0 : value.length)
  return weight
}
