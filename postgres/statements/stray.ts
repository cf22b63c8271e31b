/**
 * Answers that belong to nothing the tracker saw: kept as statements of their own, up to the next ReadyForQuery.
 */
import type { Conversation } from './conversation.ts'
import type { QueryEntry } from './entries.ts'
import { sentInGap, unasked } from './texts.ts'

/** The entry that takes them: as a simple query whose text is not known. It stands beside the queue, not in it. */
export function strayEntry(conversation: Conversation): QueryEntry {
  const { time, place, segment } = conversation
  conversation.stray ??= {
    kind: 'query',
    text: conversation.lost ? sentInGap : unasked,
    textBytes: 0,
    truncated: false,
    origin: { time, place, redacted: false, segment },
    pieces: [],
    trace: null,
    begun: 0,
    completed: 0,
    failed: false,
    open: null,
  }
  return conversation.stray
}
