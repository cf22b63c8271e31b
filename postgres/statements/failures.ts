/**
 * ErrorResponse: which statement it is about, and what the server skips because of it.
 *
 * An error in the extended protocol makes the server drop everything up to the next Sync. An error at Parse or Bind is about the
 * statement whose Execute was sent behind it; that Execute may come after the error, so the blame waits for it until the Sync.
 */
import { endsSession } from '../messages/error-fields.ts'
import type { ErrorFields, TraceContext } from '../statement.ts'
import {
  abandonOne,
  abandonQuery,
  begin,
  beginExecution,
  beginFunction,
  beginNext,
  end,
  piecesOf,
  type Conversation,
  type Skipping,
  type Text,
} from './conversation.ts'
import { restoreSyncs } from './copy.ts'
import { isSilent, type Entry, type ExecuteEntry, type Portal, type Prepared, type QueryEntry } from './entries.ts'
import { withTypes, type OpenStatement } from './open-statement.ts'
import { createPreview } from './preview.ts'
import { strayEntry } from './stray.ts'
import { malformed } from './texts.ts'

const syntaxError = '42601'

export function fail(conversation: Conversation, error: ErrorFields): void {
  const { queue, handlers } = conversation
  if (conversation.stray !== null || (conversation.untrackedReadies > 0 && !endsSession(error))) {
    failQuery(conversation, strayEntry(conversation), error)
    return
  }
  let silent = 0
  while (silent < queue.length && isSilent(queue.at(silent)!)) silent++
  const head = queue.at(silent)
  if (head === undefined && conversation.lost && !endsSession(error)) {
    failQuery(conversation, strayEntry(conversation), error)
    return
  }
  if (head === undefined || isOver(head) || (head.kind === 'sync' && endsSession(error))) {
    handlers.onSessionError?.(error)
    return
  }
  queue.take(silent)
  failEntry(conversation, head, error)
}

/** True for what has had its final answer and only waits for ReadyForQuery. */
function isOver(entry: Entry): boolean {
  return (entry.kind === 'query' && entry.failed) || (entry.kind === 'function' && entry.answered)
}

function failEntry(conversation: Conversation, head: Entry, error: ErrorFields): void {
  const { names } = conversation
  switch (head.kind) {
    case 'query':
      failQuery(conversation, head, error)
      return
    case 'execute':
      failExecute(conversation, head, error)
      return
    case 'function':
      head.answered = true
      end(conversation, beginFunction(conversation, head), 'failed', error)
      return
    case 'parse':
      blame(conversation, head, head.prepared, null, error)
      return
    case 'bind':
      head.portal.prepared = names.statement(head.portal.statementName) ?? null
      blame(conversation, head, null, head.portal, error)
      return
    case 'describe':
    case 'close': {
      const known = head.target === 'statement' ? names.statement(head.name) : names.portal(head.name)?.prepared
      const text = known ?? { sql: `(${head.kind === 'close' ? 'Close' : 'Describe'} of a ${head.target})`, sqlBytes: 0 }
      const open = begin(conversation, 'protocol', textOf(text), head.origin)
      if (head.target === 'statement') open.statementName = head.name
      else open.portal = head.name
      conversation.queue.shift()
      end(conversation, open, 'failed', error)
      skipToSync(conversation, { preview: createPreview(names), blamed: null })
      return
    }
    case 'sync': {
      const last = conversation.lastExecution
      const text = last?.segment === head.origin.segment ? last.open : { sql: '(Sync)', sqlBytes: 0 }
      const open = begin(conversation, 'protocol', textOf(text), head.origin)
      if ('redacted' in text) open.redacted = text.redacted
      end(conversation, open, 'failed', error)
      return
    }
    case 'copyData':
    case 'copyEnd':
      return
    default:
      head satisfies never
  }
}

type KnownText = { readonly sql: string; readonly sqlBytes: number; readonly sqlTruncated?: boolean; readonly trace?: TraceContext | null }

const textOf = ({ sql, sqlBytes, sqlTruncated = false, trace = null }: KnownText): Text => ({
  sql,
  sqlBytes,
  truncated: sqlTruncated,
  trace,
})

function failQuery(conversation: Conversation, entry: QueryEntry, error: ErrorFields): void {
  if (entry.failed) {
    conversation.handlers.onSessionError?.(error)
    return
  }
  const pieces = piecesOf(conversation, entry)
  let { open } = entry
  if (open === null && entry.completed === 0 && pieces.length > 1 && error.code === syntaxError) {
    // Nothing of the text was run: the server reads all of it before it runs the first statement.
    entry.begun = pieces.length
    open = begin(conversation, 'query', { sql: entry.text, sqlBytes: entry.textBytes, truncated: entry.truncated }, entry.origin)
  }
  open ??= beginNext(conversation, entry)
  entry.open = null
  const { copySyncs } = open
  end(conversation, open, 'failed', error)
  if (copySyncs > 0 && entry !== conversation.stray) restoreSyncs(conversation, open, 1)
  if (entry.begun < pieces.length) abandonQuery(conversation, entry, 'skipped')
  entry.failed = true
}

function failExecute(conversation: Conversation, entry: ExecuteEntry, error: ErrorFields): void {
  const { queue, names } = conversation
  const portal = names.portal(entry.portal)
  const open = entry.open ?? portal?.open ?? beginExecution(conversation, entry, portal)
  if (portal !== undefined) portal.open = null
  queue.shift()
  end(conversation, open, 'failed', error)
  if (open.copySyncs > 0) restoreSyncs(conversation, open, 0)
  const preview = createPreview(names)
  if (portal !== undefined) preview.wasExecuted(portal)
  skipToSync(conversation, { preview, blamed: null })
}

/** Begins a failed statement that is the Parse's or Bind's until its Execute is found. */
function blame(conversation: Conversation, entry: Entry, prepared: Prepared | null, portal: Portal | null, error: ErrorFields): void {
  const known = prepared ?? portal?.prepared ?? { sql: conversation.names.unknownText(), sqlBytes: 0 }
  const origin = blamedOrigin(prepared, portal)
  const open = begin(conversation, 'protocol', textOf(known), origin)
  open.statementName = prepared?.name ?? portal!.statementName
  if (portal !== null) {
    describePortal(open, portal)
    if (portal.malformed) open.sql += malformed('Bind')
  } else open.redacted = prepared!.origin.redacted
  const preview = createPreview(conversation.names)
  preview.apply(entry)
  conversation.queue.shift()
  skipToSync(conversation, { preview, blamed: { open, prepared, portal, error } })
}

function blamedOrigin(prepared: Prepared | null, portal: Portal | null): Prepared['origin'] {
  if (prepared !== null) return prepared.origin
  const { origin } = portal!
  const parsed = portal!.prepared
  if (parsed === null || parsed.counted || parsed.origin.segment !== origin.segment) return origin
  parsed.counted = true
  return parsed.origin
}

function describePortal(open: OpenStatement, portal: Portal): void {
  open.portal = portal.name
  open.parameters = withTypes(portal.parameters, portal.prepared?.parameterTypes ?? [])
  open.redacted = portal.origin.redacted || (portal.prepared?.origin.redacted ?? false)
}

function skipToSync(conversation: Conversation, skipping: Skipping): void {
  const { queue } = conversation
  for (let entry; (entry = queue.head) !== undefined;) {
    if (entry.kind === 'sync') {
      settleBlame(conversation, skipping)
      return
    }
    queue.shift()
    skipEntry(conversation, skipping, entry)
  }
  conversation.skipping = skipping
}

/** A message that the server dropped, or will drop, because it skips to the next Sync. */
export function skipEntry(conversation: Conversation, skipping: Skipping, entry: Entry): void {
  const { blamed, preview } = skipping
  if (blamed !== null && entry.kind === 'execute') {
    const portal = preview.portal(entry.portal)
    if (portal !== undefined && (portal === blamed.portal || (blamed.prepared !== null && portal.prepared === blamed.prepared))) {
      blamed.open.kind = 'execute'
      preview.wasExecuted(portal)
      describePortal(blamed.open, portal)
      settleBlame(conversation, skipping)
      return
    }
  }
  abandonOne(conversation, entry, preview, 'skipped')
}

/** Ends the failed statement, whether or not an Execute was found for it. */
export function settleBlame(conversation: Conversation, skipping: Skipping): void {
  const { blamed } = skipping
  if (blamed === null) return
  skipping.blamed = null
  end(conversation, blamed.open, 'failed', blamed.error, blamed.open.lastTime)
}
