/**
 * What the client says: each message becomes an expectation of the server's answer, or is known to be dropped by the server.
 *
 * The queue holds at most `entriesMax` entries and `weightMax` characters, or less while memory is scarce. Beyond the characters, texts and values are left out
 * and named as such; beyond the entries, what is in flight ends as unfinished, as after a gap.
 */
import {
  cutText,
  decodeBind,
  decodeExecute,
  decodeFunctionCall,
  decodeParse,
  decodeQuery,
  decodeTarget,
  type BindMessage,
  type Body,
} from '../messages/frontend.ts'
import { abandon, abandonQuery, traceOf, type Conversation } from './conversation.ts'
import { copyEndFromClient, copyFromClient } from './copy.ts'
import { expectsReady, isSilent, weightOf, type BindEntry, type Entry, type Origin, type ParseEntry, type QueryEntry } from './entries.ts'
import { settleBlame, skipEntry } from './failures.ts'
import { scarceQueue, type Amount } from './memory.ts'
import { createPreview } from './preview.ts'
import { malformed, tooMuchInFlight } from './texts.ts'

const ample: Amount = { entriesMax: 128 * 1024, weightMax: 16 * 1024 * 1024 }

export function request(conversation: Conversation, type: number, body: Body, origin: Origin): void {
  switch (type) {
    case 0x64: // CopyData
      copyFromClient(conversation, body.bytes.subarray(body.start, body.end), body.wholeBytes)
      return
    case 0x63: // CopyDone
    case 0x66: // CopyFail
      copyEndFromClient(conversation)
      return
    case 0x53: // Sync
      sync(conversation, origin)
      return
    default: {
      const entry = entryOf(conversation, type, body, origin)
      if (entry !== null) expect(conversation, entry)
    }
  }
}

/** The expectation that a message raises; null for Flush and Terminate, which raise none. */
function entryOf(conversation: Conversation, type: number, body: Body, origin: Origin): Entry | null {
  const { settings, limits } = conversation
  const { encoding } = settings
  switch (type) {
    case 0x51: {
      // Query. Cut only after it was split, so that its last statement has its text too.
      const query = decodeQuery(encoding, body, Number.MAX_SAFE_INTEGER)
      const text = query.malformed ? query.sql + malformed('Query') : query.sql
      return {
        kind: 'query',
        text,
        textBytes: query.sqlBytes,
        truncated: query.truncated,
        origin,
        pieces: null,
        trace: undefined,
        begun: 0,
        completed: 0,
        failed: false,
        open: null,
      }
    }
    case 0x50: {
      const parse = decodeParse(encoding, body, limits.sqlCharactersMax)
      const sql = parse.malformed ? parse.sql + malformed('Parse') : parse.sql
      // sqlcommenter appends, so of a long text the part that is cut off is the one to look at.
      const wholeSql = parse.truncated ? decodeParse(encoding, body, Number.MAX_SAFE_INTEGER).sql : parse.sql
      return {
        kind: 'parse',
        prepared: {
          name: parse.name,
          sql,
          sqlBytes: parse.sqlBytes,
          sqlTruncated: parse.truncated,
          trace: traceOf(conversation, wholeSql),
          parameterTypes: parse.parameterTypes,
          columns: undefined,
          origin,
          counted: false,
          uncertain: false,
        },
      }
    }
    case 0x42:
      return bindEntry(decodeBind(encoding, body, limits), origin)
    case 0x45:
      return { kind: 'execute', portal: decodeExecute(encoding, body), origin, open: null }
    case 0x44:
      return { kind: 'describe', ...decodeTarget(encoding, body), origin }
    case 0x43:
      return { kind: 'close', ...decodeTarget(encoding, body), origin }
    case 0x46: {
      const call = decodeFunctionCall(encoding, body, limits)
      const text = `(call of the function with OID ${call.functionOid})${call.malformed ? malformed('FunctionCall') : ''}`
      return { kind: 'function', text, parameters: call.parameters, origin, answered: false }
    }
    default:
      return null
  }
}

function bindEntry(bind: BindMessage, origin: Origin): BindEntry {
  const { portal: name, statement: statementName, parameters, resultFormats, malformed: isMalformed } = bind
  const state = { prepared: null, columns: undefined, open: null, executions: 0 }
  return { kind: 'bind', portal: { name, statementName, parameters, resultFormats, origin, malformed: isMalformed, ...state } }
}

/** A Bind that was too long to be held, and was read in parts. */
export function requestBind(conversation: Conversation, bind: BindMessage, origin: Origin): void {
  expect(conversation, bindEntry(bind, origin))
}

function expect(conversation: Conversation, entry: Entry): void {
  if (conversation.skipping !== null) skipEntry(conversation, conversation.skipping, entry)
  else add(conversation, entry)
}

function add(conversation: Conversation, entry: Entry): void {
  const { memory, queue } = conversation
  const { entriesMax, weightMax } = memory.isScarce ? scarceQueue : ample
  if (queue.length >= entriesMax) loseTrack(conversation)
  const weight = weightOf(entry)
  queue.push(weight > 0 && queue.weight + weight > weightMax ? withoutContent(conversation, entry) : entry)
}

/** One long text alone is kept unless memory is scarce; beside others that wait it has no room. */
function withoutContent({ memory, queue }: Conversation, entry: Entry): Entry {
  if (queue.weight === 0 && !memory.isScarce) return entry
  if (entry.kind === 'query') return withoutText(entry)
  if (entry.kind === 'parse') return withoutPreparedText(entry)
  if (entry.kind === 'bind') return withoutValues(entry)
  return entry
}

const withoutText = (entry: QueryEntry): QueryEntry => ({ ...entry, text: tooMuchInFlight, textBytes: 0, truncated: false, pieces: [] })

const withoutPreparedText = (entry: ParseEntry): ParseEntry => ({
  kind: 'parse',
  prepared: { ...entry.prepared, name: cutText(entry.prepared.name, 63), sql: tooMuchInFlight, sqlBytes: 0, sqlTruncated: false },
})

const withoutValues = (entry: BindEntry): BindEntry => ({ kind: 'bind', portal: { ...entry.portal, parameters: [] } })

/** The Sync at which the server takes messages again, unless it is reading COPY data, when it drops Syncs. */
function sync(conversation: Conversation, origin: Origin): void {
  conversation.segment++
  if (conversation.copyIn !== null) {
    conversation.copyIn.copySyncs++
    return
  }
  if (conversation.skipping !== null) {
    settleBlame(conversation, conversation.skipping)
    conversation.skipping = null
  }
  add(conversation, { kind: 'sync', origin, doubtful: false })
}

/** Ends all that is in flight: what is answered to it from here on cannot be told apart. */
export function loseTrack(conversation: Conversation): void {
  const { queue } = conversation
  for (let index = 0; index < queue.length; index++) {
    const entry = queue.at(index)!
    if (expectsReady(entry) && !isSilent(entry)) conversation.untrackedReadies++
  }
  endInFlight(conversation)
  conversation.names.afterGap()
  conversation.lost = true
}

/** Ends what has no answer yet as unfinished, in order. */
export function endInFlight(conversation: Conversation): void {
  const { queue } = conversation
  if (conversation.stray !== null) {
    const { stray } = conversation
    conversation.stray = null
    if (stray.open !== null) abandonQuery(conversation, stray, 'unfinished')
  }
  if (conversation.skipping !== null) settleBlame(conversation, conversation.skipping)
  conversation.skipping = null
  abandon(conversation, queue.take(queue.length), createPreview(conversation.names), 'unfinished')
  conversation.current = null
  conversation.copyIn = null
  conversation.notices = []
}
