/**
 * Says to a database what a recorded client said, in its order and with its pauses for answers.
 *
 * The bytes go as they were recorded: simple queries, Parse, Bind with its very formats, Execute, COPY data, Flush and Sync. Where the
 * recorded client had an answer before it went on, the answer to the same request is awaited here. When the database behaves
 * otherwise the conversation stays in step: COPY data that nobody asked for is left out, and COPY data that was never sent is refused.
 */
import { createFrameAssembler } from '../../postgres/frame-assembler.ts'
import { encodeMessage } from '../../postgres/startup-messages.ts'
import { readRecords } from '../../session/read-session.ts'
import { recordFlag, recordType } from '../../session/records.ts'
import type { Store } from '../../session/stores/store.ts'
import { createAnswerQueue, type AnswerQueue } from './answer-queue.ts'
import type { Client } from './client.ts'
import type { Plan } from './plan.ts'
import { copyTypes, createRequestCutter, type RequestPiece } from './request-frames.ts'

const cancelMillisecondsMax = 5_000

export type RunOptions = {
  readonly store: Store
  readonly session: string
  readonly plan: Plan
  readonly client: Client
  /** What the client's `onMessage` is told goes in here. */
  readonly live: AnswerQueue
  readonly waitMillisecondsMax: number
  readonly signal: AbortSignal
}

/** `reason` is why not all was said and answered, null when all was. */
export type RunEnd = { readonly reason: string | null }

/** @throws RecordingDamaged */
export async function runAgain({ store, session, plan, client, live, waitMillisecondsMax, signal }: RunOptions): Promise<RunEnd> {
  const recorded = createAnswerQueue()
  const cutter = createRequestCutter()
  const answers = recordedAnswers(recorded)
  let lastSent = -1
  let isCopyWithheld = false
  let timedOut = false

  const gone = (): boolean => timedOut || client.closed || signal.aborted

  async function until(isSettled: () => boolean): Promise<void> {
    while (!isSettled() && !gone()) {
      if (live.copyIn && !recorded.copyIn) await refuseCopy()
      timedOut = !(await client.next(waitMillisecondsMax)) && !isSettled()
    }
    if (!timedOut || client.closed) return
    // The database must not go on with what nobody waits for.
    await client.cancel()
    const deadline = Date.now() + cancelMillisecondsMax
    while (!isSettled() && !client.closed && Date.now() < deadline) await client.next(cancelMillisecondsMax)
  }

  async function refuseCopy(): Promise<void> {
    live.sent('f', lastSent)
    await client.send(encodeMessage('f', Buffer.from('no COPY data was recorded here\0')))
  }

  /** False when the message is not to be sent. */
  async function begin({ type, number }: RequestPiece): Promise<boolean> {
    if (type === 'X') return false
    if (copyTypes.has(type)) {
      if (isCopyWithheld) return false
      if (!recorded.copyIn) return true // The client did not wait for the server to ask.
      await until(() => live.copyIn || live.firstOpen > number)
      return live.copyIn
    }
    if (type === 'Q' || type === 'E') isCopyWithheld = plan.withheld.has(number)
    const awaited = Math.min(recorded.settled, live.lastFlushed)
    await until(() => live.firstOpen > awaited)
    if (live.copyIn && type !== 'S' && type !== 'H') await refuseCopy()
    return !plan.withheld.has(number)
  }

  let isSending = false
  for await (const { type, flags, payload } of readRecords(store, session)) {
    if (type === recordType.backend) answers.push(payload)
    if (type !== recordType.frontend) continue
    for (const piece of cutter.push(payload, (flags & recordFlag.redacted) !== 0)) {
      if (piece.first) isSending = await begin(piece)
      if (gone()) return ending()
      if (isSending) {
        if (piece.last) {
          live.sent(piece.type, piece.number)
          lastSent = piece.number
        }
        await client.send(piece.bytes)
      }
      if (piece.last) recorded.sent(piece.type, piece.number)
    }
  }
  // What the recorded client did not wait for, as the last words of one that vanished, is not waited for here.
  const awaited = Math.min(recorded.settled, live.lastFlushed)
  await until(() => live.firstOpen > awaited)
  return ending()

  function ending(): RunEnd {
    if (timedOut) return { reason: `no answer came within ${waitMillisecondsMax / 1000} s` }
    if (signal.aborted) return { reason: 'it was interrupted' }
    if (!client.closed || (live.firstOpen === Infinity && lastSent >= plan.requests - 1)) return { reason: null }
    const said = client.lastError
    return { reason: said === null ? 'the connection was lost' : `${said.severity}: ${said.message}` }
  }
}

function recordedAnswers(queue: AnswerQueue) {
  return createFrameAssembler(
    'backend',
    { onFrame: () => undefined, onSize: (type) => queue.answered(String.fromCharCode(type)) },
    { sizeOnly: new Uint8Array(256).fill(1) },
  )
}
