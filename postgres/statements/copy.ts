/**
 * COPY: whose data it is, and which Syncs the server dropped.
 *
 * While it reads COPY data the server ignores Flush and Sync, so that a Sync which a client sent right behind its Execute brings no
 * ReadyForQuery. After an error during COPY nobody but the server knows which Syncs it had read by then: such a Sync stays in
 * the queue as doubtful, and the next answer shows whether it counted.
 */
import type { Conversation } from './conversation.ts'
import type { CopyDataEntry, SyncEntry } from './entries.ts'
import type { OpenStatement } from './open-statement.ts'

/** Of data sent before the server asked, so much content is kept; of the rest only sizes. */
const heldBytesMax = 1024 * 1024
const nothing = Buffer.alloc(0)
/** A client has no reason to send more Syncs than this within one COPY. */
const doubtfulMax = 16

/** The server asks for data (`in`), announces some (`out`), or both, for `open`, whose entry is the queue's head. */
export function beginCopy(conversation: Conversation, open: OpenStatement, direction: 'in' | 'out' | 'both', entryInQueue: boolean): void {
  open.copy ??= { direction, messages: 0, bytes: 0 }
  if (direction === 'out') return
  conversation.copyIn = open
  const { queue } = conversation
  const first = entryInQueue ? 1 : 0
  let index = first
  for (; index < queue.length; index++) {
    const entry = queue.at(index)!
    if (entry.kind === 'sync') open.copySyncs++
    else if (entry.kind === 'copyData') deliver(conversation, open, entry)
    else {
      conversation.copyIn = null
      if (entry.kind === 'copyEnd') index++
      break
    }
  }
  queue.remove(first, index - first)
}

function deliver({ handlers }: Conversation, open: OpenStatement, entry: CopyDataEntry): void {
  open.copy!.messages += entry.messages
  open.copy!.bytes += entry.bytes
  for (const { data, wholeBytes } of entry.held) handlers.onCopyData?.(open.number, 'in', data, wholeBytes)
}

/** CopyData from the client. `data` is empty where only sizes are wanted. */
export function copyFromClient(conversation: Conversation, data: Buffer, wholeBytes: number): void {
  const { copyIn, queue, handlers } = conversation
  if (copyIn !== null) {
    copyIn.copy!.messages++
    copyIn.copy!.bytes += wholeBytes
    handlers.onCopyData?.(copyIn.number, 'in', data, wholeBytes)
    return
  }
  // Without a statement that may ask for it the server drops it: the rest of a COPY that failed.
  if (conversation.skipping !== null || queue.executions === 0) return
  let entry = queue.last
  if (entry?.kind !== 'copyData') {
    entry = { kind: 'copyData', messages: 0, bytes: 0, held: [], heldBytes: 0 }
    queue.push(entry)
  }
  entry.messages++
  entry.bytes += wholeBytes
  if (handlers.onCopyData === undefined) return
  // The constant keeps a flood of empty messages from being held for nothing.
  const cost = data.length + 64
  const isHeld = entry.heldBytes + cost <= heldBytesMax
  if (!isHeld && entry.heldBytes >= 2 * heldBytesMax) return
  entry.heldBytes += isHeld ? cost : 64
  entry.held.push({ data: isHeld ? Buffer.from(data) : nothing, wholeBytes })
}

/** CopyDone or CopyFail from the client. */
export function copyEndFromClient(conversation: Conversation): void {
  if (conversation.copyIn !== null) conversation.copyIn = null
  else if (conversation.skipping === null && conversation.queue.executions > 0) conversation.queue.push({ kind: 'copyEnd' })
}

/** CopyData from the server. */
export function copyFromServer(
  conversation: Conversation,
  open: OpenStatement,
  data: Buffer,
  wholeBytes: number,
  frameBytes: number,
): void {
  open.copy ??= { direction: 'out', messages: 0, bytes: 0 }
  open.copy.messages++
  open.copy.bytes += wholeBytes
  open.resultBytes += frameBytes
  conversation.handlers.onCopyData?.(open.number, 'out', data, wholeBytes)
}

/** After a COPY failed: the Syncs it may have swallowed come back as doubtful, before the entry at `index`. */
export function restoreSyncs(conversation: Conversation, open: OpenStatement, index: number): void {
  const origin = { time: conversation.time, place: conversation.place, redacted: false, segment: conversation.segment }
  for (let count = Math.min(open.copySyncs, doubtfulMax); count > 0; count--) {
    conversation.queue.insert(index, { kind: 'sync', origin, doubtful: true })
  }
  open.copySyncs = 0
}

/**
 * A doubtful Sync had its ReadyForQuery. If a Sync behind it was on its way already, the answer may have been that one's: the
 * doubt moves on to it.
 */
export function passDoubtOn({ queue }: Conversation): void {
  const index = queue.find((entry) => entry.kind === 'sync')
  if (index >= 0) (queue.at(index) as SyncEntry).doubtful = true
}
