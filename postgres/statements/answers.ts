/**
 * What the server says: each answer moves the statement at the head of the queue on.
 *
 * An answer that does not fit the head ends what stands before the entry that it fits; one that fits none is kept as a statement
 * of its own (`stray.ts`). So no order of messages is an error here, and every ReadyForQuery finds back to the requests.
 */
import { headerBytes } from '../frame-header.ts'
import {
  decodeNotification,
  decodeParameterDescription,
  decodeParameterStatus,
  decodeRowDescription,
  decodeTag,
} from '../messages/backend.ts'
import { decodeErrorFields } from '../messages/error-fields.ts'
import { textEncodingOf } from '../messages/text-encoding.ts'
import {
  abandon,
  abandonOne,
  abandonQuery,
  beginExecution,
  beginFunction,
  beginNext,
  end,
  takeNotice,
  type Conversation,
} from './conversation.ts'
import { beginCopy, copyFromServer, passDoubtOn } from './copy.ts'
import {
  expectsReady,
  isSilent,
  takes,
  type DescribeEntry,
  type Entry,
  type ExecuteEntry,
  type FunctionEntry,
  type QueryEntry,
  type SyncEntry,
} from './entries.ts'
import { fail } from './failures.ts'
import type { OpenStatement } from './open-statement.ts'
import { applyCommand } from './naming-commands.ts'
import { createPreview } from './preview.ts'
import { strayEntry } from './stray.ts'

type Executing = QueryEntry | ExecuteEntry

/** A backend message; its body, or the head of it, is `bytes` from `start` to `stop`. */
export function answer(conversation: Conversation, type: number, bytes: Buffer, start: number, stop: number, frameBytes: number): void {
  const { settings } = conversation
  switch (type) {
    case 0x5a: // ReadyForQuery
      ready(conversation, stop > start ? bytes[start]! : 0)
      return
    case 0x45: // ErrorResponse
      fail(conversation, decodeErrorFields(bytes.subarray(start, stop), settings.encoding))
      return
    case 0x4e: // NoticeResponse
      takeNotice(conversation, decodeErrorFields(bytes.subarray(start, stop), settings.encoding))
      return
    case 0x41: // NotificationResponse
      conversation.handlers.onNotification?.(decodeNotification(settings.encoding, bytes, start, stop))
      return
    case 0x53: {
      const [name, value] = decodeParameterStatus(settings.encoding, bytes, start, stop)
      applySetting(conversation, name, value)
      conversation.handlers.onParameterStatus?.(name, value)
      return
    }
    default: {
      const entry = expected(conversation, type)
      if (entry !== null) take(conversation, entry, type, bytes, start, stop, frameBytes)
    }
  }
}

/** Takes over a setting on which the reading of later texts depends. */
export function applySetting({ settings }: Conversation, name: string, value: string): void {
  if (name === 'client_encoding') settings.encoding = textEncodingOf(value)
  else if (name === 'standard_conforming_strings') settings.standardConformingStrings = value !== 'off'
}

/** A DataRow of which only the size is known. */
export function countRow(conversation: Conversation, frameBytes: number): void {
  const open = conversation.current ?? executing(conversation, 0x44)
  if (open === null) return
  open.rows++
  open.resultBytes += frameBytes
}

/** A CopyData from the server of which only the size is known. */
export function countCopyData(conversation: Conversation, data: Buffer, wholeBytes: number, frameBytes: number): void {
  const open = conversation.current ?? executing(conversation, 0x64)
  if (open !== null) copyFromServer(conversation, open, data, wholeBytes, frameBytes)
}

/** Messages of which the recording holds only the size; `messages` of them ended. See `session/left-out.ts`. */
export function leaveOut(conversation: Conversation, type: number, messages: number, bytes: number): void {
  if (type === 0x56) {
    leaveFunctionOut(conversation, messages, bytes)
    return
  }
  const open = conversation.current ?? executing(conversation, type)
  if (open === null) return
  open.resultBytes += bytes
  countNotKept(open, messages, bytes)
  if (type === 0x44) open.rows += messages
  else {
    open.copy ??= { direction: 'out', messages: 0, bytes: 0 }
    open.copy.messages += messages
    open.copy.bytes += bytes - headerBytes * messages
  }
}

function leaveFunctionOut(conversation: Conversation, messages: number, bytes: number): void {
  conversation.functionBytesLeftOut += bytes
  if (messages === 0) return
  const wholeBytes = conversation.functionBytesLeftOut
  conversation.functionBytesLeftOut = 0
  const entry = expected(conversation, 0x56)
  if (entry?.kind === 'function') takeFunctionResult(conversation, entry, wholeBytes, { messages, bytes: wholeBytes })
}

function countNotKept(open: OpenStatement, messages: number, bytes: number): void {
  open.notKept ??= { messages: 0, bytes: 0 }
  open.notKept.messages += messages
  open.notKept.bytes += bytes
}

function executing(conversation: Conversation, type: number): OpenStatement | null {
  const entry = expected(conversation, type)
  return entry !== null && (entry.kind === 'query' || entry.kind === 'execute') ? opened(conversation, entry) : null
}

/** The entry that an answer of `type` is for, or null when it can be for none and carries no result. */
function expected(conversation: Conversation, type: number): Entry | null {
  const { queue } = conversation
  if (conversation.stray !== null || conversation.untrackedReadies > 0) return orStray(conversation, type)
  const { head } = queue
  if (head !== undefined && takes(head, type)) return head
  let silent = 0
  while (silent < queue.length && isSilent(queue.at(silent)!)) silent++
  const behindSilent = queue.at(silent)
  if (behindSilent === undefined || !takes(behindSilent, type)) {
    if (conversation.lost) return orStray(conversation, type)
    const index = queue.find((entry) => takes(entry, type), silent)
    if (index < 0) return orStray(conversation, type)
    silent = index
  }
  abandon(conversation, queue.take(silent), createPreview(conversation.names), 'unfinished')
  conversation.current = null
  return queue.head!
}

function orStray(conversation: Conversation, type: number): QueryEntry | null {
  // The answers to Parse, Bind, Describe and Close say nothing without their requests.
  switch (type) {
    case 0x54: // RowDescription
    case 0x44: // DataRow
    case 0x43: // CommandComplete
    case 0x49: // EmptyQueryResponse
    case 0x47: // CopyInResponse
    case 0x48: // CopyOutResponse
    case 0x57: // CopyBothResponse
    case 0x64: // CopyData
      return strayEntry(conversation)
    default:
      return null
  }
}

function take(
  conversation: Conversation,
  entry: Entry,
  type: number,
  bytes: Buffer,
  start: number,
  stop: number,
  frameBytes: number,
): void {
  switch (entry.kind) {
    case 'query':
    case 'execute':
      takeResult(conversation, entry, type, bytes, start, stop, frameBytes)
      return
    case 'parse':
      leave(conversation)
      conversation.names.prepare(entry.prepared)
      return
    case 'bind':
      leave(conversation)
      entry.portal.prepared = conversation.names.statement(entry.portal.statementName) ?? null
      conversation.names.bind(entry.portal)
      return
    case 'close':
      leave(conversation)
      conversation.names.close(entry.target, entry.name)
      return
    case 'describe':
      takeDescription(conversation, entry, type, bytes, start, stop)
      return
    case 'function':
      takeFunctionResult(conversation, entry, frameBytes)
      return
    case 'sync':
    case 'copyData':
    case 'copyEnd':
      return
    default:
      entry satisfies never
  }
}

/** The head has its last answer. */
function leave({ queue }: Conversation): void {
  const entry = queue.shift()
  const next = queue.head
  // A Sync behind what was answered is certain, whatever was doubted before.
  if (next?.kind === 'sync' && next.doubtful && entry !== undefined && !isSilent(entry)) next.doubtful = false
}

function takeDescription(conversation: Conversation, entry: DescribeEntry, type: number, bytes: Buffer, start: number, stop: number): void {
  const { names, settings } = conversation
  const prepared = entry.target === 'statement' ? names.statement(entry.name) : names.portal(entry.name)?.prepared
  if (type === 0x74) {
    if (prepared) prepared.parameterTypes = decodeParameterDescription(bytes, start, stop)
    return
  }
  const columns = type === 0x54 ? decodeRowDescription(settings.encoding, bytes, start, stop) : null
  if (prepared) prepared.columns = columns
  const portal = entry.target === 'portal' ? names.portal(entry.name) : undefined
  if (portal !== undefined) portal.columns = columns
  leave(conversation)
}

function takeFunctionResult(
  conversation: Conversation,
  entry: FunctionEntry,
  frameBytes: number,
  notKept: OpenStatement['notKept'] = null,
): void {
  entry.answered = true
  const open = beginFunction(conversation, entry)
  open.resultBytes = frameBytes
  open.notKept = notKept
  end(conversation, open, 'completed')
}

/** The statement that `entry` is executing now, begun where it was not. */
function opened(conversation: Conversation, entry: Executing): OpenStatement {
  let { open } = entry
  if (open === null) {
    if (entry.kind === 'query') open = beginNext(conversation, entry)
    else {
      const portal = conversation.names.portal(entry.portal)
      open = portal?.open ?? beginExecution(conversation, entry, portal)
      conversation.lastExecution = { open, segment: entry.origin.segment }
    }
    entry.open = open
  }
  conversation.current = open
  return open
}

function takeResult(
  conversation: Conversation,
  entry: Executing,
  type: number,
  bytes: Buffer,
  start: number,
  stop: number,
  frameBytes: number,
): void {
  const open = opened(conversation, entry)
  switch (type) {
    case 0x44: // DataRow
      open.rows++
      open.resultBytes += frameBytes
      conversation.handlers.onRow?.(open.number, bytes.subarray(start, stop), frameBytes - 5)
      return
    case 0x54: // RowDescription
      open.columns = decodeRowDescription(conversation.settings.encoding, bytes, start, stop)
      return
    case 0x43: // CommandComplete
      open.tag = decodeTag(bytes, start, stop)
      complete(conversation, entry, open)
      return
    case 0x49: // EmptyQueryResponse
      complete(conversation, entry, open)
      return
    case 0x73: // PortalSuspended
      suspend(conversation, entry, open)
      return
    case 0x47: // CopyInResponse
      beginCopy(conversation, open, 'in', entry !== conversation.stray)
      return
    case 0x48: // CopyOutResponse
      beginCopy(conversation, open, 'out', entry !== conversation.stray)
      return
    case 0x57: // CopyBothResponse
      beginCopy(conversation, open, 'both', entry !== conversation.stray)
      return
    case 0x64: // CopyData
      copyFromServer(conversation, open, bytes.subarray(start, stop), frameBytes - 5, frameBytes)
      return
    default: // CopyDone: CommandComplete follows.
  }
}

function complete(conversation: Conversation, entry: Executing, open: OpenStatement): void {
  if (entry.kind === 'query') {
    entry.open = null
    entry.completed++
  } else {
    const portal = conversation.names.portal(entry.portal)
    if (portal !== undefined) {
      portal.open = null
      portal.executions++
    }
    leave(conversation)
  }
  applyCommand(conversation, open)
  end(conversation, open, 'completed')
}

function suspend(conversation: Conversation, entry: Executing, open: OpenStatement): void {
  if (entry.kind === 'query') return
  open.lastTime = conversation.time
  const { names } = conversation
  const portal = names.portal(entry.portal)
  if (portal !== undefined) portal.open = open
  // A cursor, or a portal that was bound unseen: what is fetched next belongs to the same statement.
  else names.bind({ ...unseenPortal, name: entry.portal, origin: entry.origin, parameters: [], open })
  conversation.current = null
  leave(conversation)
}

const unseenPortal = { statementName: '', prepared: null, resultFormats: [], columns: undefined, malformed: false, executions: 0 }

function ready(conversation: Conversation, status: number): void {
  const { names, stray } = conversation
  if (conversation.notices.length > 0) conversation.notices = []
  if (stray !== null) {
    conversation.stray = null
    if (stray.open !== null) abandonQuery(conversation, stray, 'unfinished')
  }
  if (conversation.untrackedReadies > 0) conversation.untrackedReadies--
  else if (stray === null || !conversation.lost) answerReady(conversation)
  conversation.lost = conversation.untrackedReadies > 0
  conversation.current = null
  conversation.copyIn = null
  if (status === 0x49) {
    conversation.transaction = 'I'
    names.endTransaction()
  } else if (status === 0x54) conversation.transaction = 'T'
  else if (status === 0x45) conversation.transaction = 'E'
}

/** Takes away what this ReadyForQuery answers, and what stands before it unanswered. */
function answerReady(conversation: Conversation): void {
  const { queue, names } = conversation
  const index = queue.find(expectsReady)
  if (index < 0) return
  if (index > 0) abandon(conversation, queue.take(index), createPreview(names), 'unfinished')
  const entry = queue.shift() as QueryEntry | SyncEntry | FunctionEntry
  switch (entry.kind) {
    case 'sync':
      if (entry.doubtful) passDoubtOn(conversation)
      return
    case 'query':
      if (!entry.failed) abandonQuery(conversation, entry, 'unfinished')
      names.afterSimpleQuery()
      return
    case 'function':
      if (!entry.answered) abandonOne(conversation, entry, createPreview(names), 'unfinished')
      return
    default:
      entry satisfies never
  }
}
