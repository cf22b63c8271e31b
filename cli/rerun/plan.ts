/**
 * What of a recorded session can be said again: reads what the client said once, before anything is run.
 *
 * A message whose literals were replaced before it was recorded cannot be sent again, nor what depends on it: the Bind of such a
 * prepared statement, the Execute of such a portal, the COPY data of such a COPY. Holds the numbers of those requests and the names
 * that are affected; knows nothing of SQL, so what an SQL-level EXECUTE depends on is not followed.
 */
import { KnownError } from '../../base/errors.ts'
import { BodyReader } from '../../postgres/messages/body-reader.ts'
import { headerBytes } from '../../postgres/frame-header.ts'
import { readRecords } from '../../session/read-session.ts'
import { recordFlag, recordType } from '../../session/records.ts'
import type { Store } from '../../session/stores/store.ts'
import { copyTypes, createRequestCutter, type RequestPiece } from './request-frames.ts'

export type Plan = {
  /** Requests that are not sent again, by number. */
  readonly withheld: ReadonlySet<number>
  /** All requests that were recorded, but for Terminate. */
  readonly requests: number
}

/** Part of what was said is not in the recording. */
export class SessionNotWhole extends KnownError {
  readonly code = 'SESSION_NOT_WHOLE'
  readonly remedy = '`steno show` names the gaps; what can be read of the session, `steno replay --as sql` writes as a script.'
  readonly safeToRetry = true
}

/** @throws SessionNotWhole when the recording has a gap; RecordingDamaged, BadFrame */
export async function planOf(store: Store, session: string): Promise<Plan> {
  const cutter = createRequestCutter()
  const withheld = new Set<number>()
  const judge = createJudge()
  let requests = 0
  let head: RequestPiece | null = null
  for await (const { type, flags, payload } of readRecords(store, session)) {
    if (type === recordType.gap)
      throw new SessionNotWhole(`traffic of session ${session} passed unrecorded, so it cannot be run again as it was`)
    if (type !== recordType.frontend) continue
    for (const piece of cutter.push(payload, (flags & recordFlag.redacted) !== 0)) {
      if (copyTypes.has(piece.type)) continue
      if (piece.first) head = { ...piece, bytes: piece.last ? piece.bytes : Buffer.from(piece.bytes) }
      if (!piece.last || head === null) continue
      if (piece.type !== 'X') requests++
      if (judge({ ...head, redacted: piece.redacted })) withheld.add(piece.number)
      head = null
    }
  }
  return { withheld, requests }
}

/** Tells of each request, in order, whether it must be withheld. */
export function createJudge(): (request: RequestPiece) => boolean {
  const statements = new Set<string>()
  const portals = new Set<string>()
  const note = (names: Set<string>, name: string, isWithheld: boolean): boolean => {
    if (isWithheld) names.add(name)
    else names.delete(name)
    return isWithheld
  }
  return ({ type, bytes, redacted }) => {
    const reader = new BodyReader(bytes, headerBytes, bytes.length)
    const name = (): string => {
      const start = reader.at
      return bytes.toString('latin1', start, reader.textEnd())
    }
    switch (type) {
      case 'P':
        return note(statements, name(), redacted)
      case 'B': {
        const portal = name()
        return note(portals, portal, redacted || statements.has(name()))
      }
      case 'E':
        return portals.has(name())
      case 'D':
      case 'C': {
        const names = reader.uint8() === 0x53 ? statements : portals
        const target = name()
        const isWithheld = names.has(target)
        if (type === 'C') names.delete(target)
        return isWithheld
      }
      default:
        return redacted
    }
  }
}
