/**
 * Follows one session's records: its statements and their index lines, its gaps, its end.
 *
 * Holds the lines of one segment's index and the statement tracker's state. Knows nothing of stores.
 */
import { BadFrame } from '../../postgres/frame-header.ts'
import type { StatementSummary } from '../../postgres/statement.ts'
import { statementJson } from '../../postgres/statement-json.ts'
import { createStatementTracker } from '../../postgres/statement-tracker.ts'
import type { TrackerMemory } from '../../postgres/statements/memory.ts'
import type { Gap, PolicyChange, SessionClose, SessionIdentity } from '../../session/identity.ts'
import { readLeftOut } from '../../session/left-out.ts'
import { recordFlag, recordType, type SessionRecord } from '../../session/records.ts'
import { indexLineOf } from '../../session/statement-index.ts'
import type { SessionTurn } from '../statements/observer.ts'
import { ChunkedBytes } from './chunked-bytes.ts'
import { createPolicyHistory } from './policy-history.ts'

/** What is followed of a record; a decoded one and a cursor both have it. */
export type FollowedRecord = Pick<SessionRecord, 'type' | 'flags' | 'time' | 'payload'>

export function createSessionFollower({
  identity,
  memory,
  onStatement,
  onSession,
}: {
  readonly identity: SessionIdentity
  readonly memory: TrackerMemory
  readonly onStatement: (statement: StatementSummary) => void
  readonly onSession: (what: SessionTurn) => void
}) {
  const { session } = identity
  const gaps: Gap[] = []
  let close: SessionClose | null = null
  let lastTime = 0
  /** The number of the segment that the next statement's index line belongs to. */
  let indexedSegment = 1
  const indexLines = new ChunkedBytes()
  let indexedStatements = 0
  const policies = createPolicyHistory(identity.policy?.hash ?? null)

  const tracker = createStatementTracker({
    serverParameters: identity.serverParameters,
    memory,
    onStatement(statement) {
      indexLines.addText(indexLineOf(session, indexedSegment, statementJson(statement), policies.at(statement.place.first)))
      indexedStatements++
      onStatement(statement)
    },
  })

  /** Behind damage a record may begin amid a frame. What cannot be followed has no line in the index up to the next gap; it is stored all the same. */
  function follow(push: () => void): void {
    try {
      push()
    } catch (error) {
      if (!(error instanceof BadFrame)) throw error
    }
  }

  return {
    /** Takes the next record, which has that place in the session. */
    track(record: FollowedRecord, ordinal: number): void {
      lastTime = record.time
      switch (record.type) {
        case recordType.sessionOpen:
          onSession({ kind: 'opened' })
          break
        case recordType.frontend:
          follow(() => tracker.frontend(record.payload, record.time, ordinal, (record.flags & recordFlag.redacted) !== 0))
          break
        case recordType.backend:
          follow(() => tracker.backend(record.payload, record.time, ordinal))
          break
        case recordType.leftOut:
          tracker.leftOut(readLeftOut(record.payload), record.time, ordinal)
          break
        case recordType.gap:
          tracker.gap(record.time, ordinal)
          gaps.push(JSON.parse(record.payload.toString('utf8')) as Gap)
          break
        case recordType.policyChange:
          policies.changed(ordinal, (JSON.parse(record.payload.toString('utf8')) as PolicyChange).policy.hash)
          break
        case recordType.sessionClose:
          tracker.close(record.time, ordinal)
          close = JSON.parse(record.payload.toString('utf8')) as SessionClose
          onSession({ kind: 'closed', close })
          break
        default:
      }
    },
    /** From here on lines belong to the segment of that number; those before it are forgotten. */
    beginIndex(segment: number): void {
      indexedSegment = segment
      indexLines.clear()
      indexedStatements = 0
    },
    index: (): Buffer => Buffer.concat(indexLines.pieces()),
    get indexBytes(): number {
      return indexLines.length
    },
    get indexedStatements(): number {
      return indexedStatements
    },
    get gaps(): readonly Gap[] {
      return gaps
    },
    /** What the session-close record says; null before it. */
    get close(): SessionClose | null {
      return close
    },
    /** Time of the last record, in milliseconds since the epoch; 0 before the first. */
    get lastTime(): number {
      return lastTime
    },
    /** What the tracker holds, in characters and bytes. */
    get weight(): number {
      return tracker.weight
    },
  }
}
