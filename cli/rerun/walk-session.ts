/**
 * A session's records through the statement tracker, with places counted in the client's requests instead of records, so that a
 * statement says by `place.first` which request it began with.
 */
import { KnownError } from '../../base/errors.ts'
import { createStatementTracker, type StatementTrackerOptions } from '../../postgres/statement-tracker.ts'
import { readLeftOut } from '../../session/left-out.ts'
import { readRecords } from '../../session/read-session.ts'
import { recordFlag, recordType } from '../../session/records.ts'
import type { Store } from '../../session/stores/store.ts'
import type { SessionIdentity } from '../../session/identity.ts'
import { copyTypes, createRequestCutter, type RequestPiece } from './request-frames.ts'

/** The tracker itself holds of longer texts only this much. */
export const textBytesMax = 1024 * 1024
const parametersMax = 65_535

export type WalkHandlers = Pick<StatementTrackerOptions, 'onStatement' | 'onCopyData' | 'onParameterStatus'> & {
  /** A request's first piece: all of it up to `textBytesMax` and some. */
  onRequest?(piece: RequestPiece): void
  /** Traffic is missing here. */
  onGap?(): void
}

/** Yields after each record, when all handlers that it caused were called. @throws RecordingDamaged; what cannot be framed ends it */
export async function* walkSession(store: Store, identity: SessionIdentity, handlers: WalkHandlers): AsyncGenerator<void> {
  const tracker = createStatementTracker({
    serverParameters: identity.serverParameters,
    sqlCharactersMax: textBytesMax,
    parameterBytesMax: textBytesMax,
    parametersMax,
    ...handlers,
  })
  const cutter = createRequestCutter({ heldBytesMax: textBytesMax + 64 })
  let request = 0
  let lastTime = identity.opened
  try {
    for await (const { type, flags, time, payload } of readRecords(store, identity.session)) {
      lastTime = time
      const redacted = (flags & recordFlag.redacted) !== 0
      if (type === recordType.frontend) {
        for (const piece of cutter.push(payload, redacted)) {
          if (piece.first && !copyTypes.has(piece.type)) {
            request = piece.number
            handlers.onRequest?.(piece)
          }
          tracker.frontend(piece.bytes, time, request, piece.redacted)
        }
      } else if (type === recordType.backend) tracker.backend(payload, time, request)
      else if (type === recordType.leftOut) tracker.leftOut(readLeftOut(payload), time, request)
      else if (type === recordType.gap) {
        cutter.reset()
        tracker.gap(time, request)
        handlers.onGap?.()
      }
      yield
    }
  } catch (error) {
    if (!(error instanceof KnownError) || error.code !== 'BAD_FRAME') throw error
  }
  tracker.close(lastTime, request)
  yield
}
