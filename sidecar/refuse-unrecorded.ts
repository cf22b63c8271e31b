/**
 * What an agent is told when its statement could not be recorded and was therefore not sent to the database.
 *
 * Where nothing else is under way the statement fails and the session lives on. Otherwise (an open transaction, a pipeline,
 * half a message) only the end of the session tells the truth, because the database would go on from a different state.
 */
import { encodeErrorResponse, encodeReadyForQuery } from '../postgres/startup-messages.ts'
import { frameLength, headerBytes } from '../postgres/frame-header.ts'
import type { SpoolRefusal } from './spool/spool-writer.ts'

export type RefusalAnswer =
  | { readonly kind: 'answered'; readonly bytes: Buffer; readonly answers: number }
  | { readonly kind: 'ended'; readonly bytes: Buffer }

const query = 'Q'.charCodeAt(0)
const sync = 'S'.charCodeAt(0)
const functionCall = 'F'.charCodeAt(0)
const terminate = 'X'.charCodeAt(0)

/**
 * `batch`: the frontend bytes that were held back, or null when the session is not between two statements.
 * `answersOwed`: ReadyForQuery messages the agent waits for, those for `batch` included.
 * `framesOpen`: frames the agent sent since nothing was under way, `batch` included: more than it holds went on to the database,
 * which waits for the rest of them.
 */
export function refuseUnrecorded({
  batch,
  answersOwed,
  framesOpen,
  refusal,
}: {
  readonly batch: Buffer | null
  readonly answersOwed: number
  readonly framesOpen: number
  readonly refusal: SpoolRefusal
}): RefusalAnswer {
  const isFull = ['ENOSPC', 'EDQUOT', 'SPOOL_FULL', 'SPOOL_OLD'].includes(refusal.code)
  const error = (severity: 'ERROR' | 'FATAL'): Buffer =>
    encodeErrorResponse({
      severity,
      code: isFull ? '53100' : '58030', // disk_full, io_error
      message: `steno could not record this statement, so it was not executed: ${refusal.message}`,
      detail: 'Nothing of it was sent to the database.',
      hint: 'Try again once the operator of steno has made room for recordings; no statement passes unrecorded.',
    })
  const { answers, frames } = batch === null ? { answers: 0, frames: 0 } : wholeBatches(batch)
  if (answers === 0 || answers !== answersOwed || frames !== framesOpen) return { kind: 'ended', bytes: error('FATAL') }
  const answer = Buffer.concat([error('ERROR'), encodeReadyForQuery('I')])
  return { kind: 'answered', answers, bytes: Buffer.concat(Array.from({ length: answers }, () => answer)) }
}

/** How many ReadyForQuery `bytes` asks for, and its frames; 0 unless it consists of whole batches that each end in asking for one. */
function wholeBatches(bytes: Buffer): { readonly answers: number; readonly frames: number } {
  const none = { answers: 0, frames: 0 }
  let answers = 0
  let frames = 0
  let endsBatch = false
  for (let at = 0; at < bytes.length;) {
    if (bytes.length - at < headerBytes) return none
    const type = bytes[at]!
    if (type === terminate) return none
    endsBatch = type === query || type === sync || type === functionCall
    if (endsBatch) answers++
    frames++
    at += frameLength('frontend', bytes, at)
    if (at > bytes.length) return none
  }
  return endsBatch ? { answers, frames } : none
}
