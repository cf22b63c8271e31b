/**
 * What the proxy counts, and a log line for what an operator must notice.
 *
 * Plain numbers; `metrics.ts` gives them Prometheus' form when somebody asks. Says nothing of statements; the recording does.
 */
import type { Log } from '../base/log.ts'
import type { SpoolRefusal } from './spool/spool-writer.ts'

export const rejectionReasons = ['authentication', 'upstream', 'protocol', 'policy', 'limit', 'recording', 'gone'] as const
export type RejectionReason = (typeof rejectionReasons)[number]

export type Counts = {
  connections: number
  sessions: number
  statementsRefused: number
  gaps: number
  segmentsStored: number
  storeFailures: number
  readonly connectionsRejected: Record<RejectionReason, number>
}

export type Meter = ReturnType<typeof createMeter>

/** A gap or a refusal is logged this often, however many statements it hits. */
const repeatMilliseconds = 60_000

export function createMeter({ log }: { readonly log: Log }) {
  const counts: Counts = {
    connections: 0,
    sessions: 0,
    statementsRefused: 0,
    gaps: 0,
    segmentsStored: 0,
    storeFailures: 0,
    connectionsRejected: { authentication: 0, upstream: 0, protocol: 0, policy: 0, limit: 0, recording: 0, gone: 0 },
  }
  let lastRefusalLogged = 0
  let lastGapLogged = 0
  const counted = new WeakSet<object>()

  return {
    counts: counts as Readonly<Counts>,
    connectionAccepted(): void {
      counts.connections++
    },
    sessionOpened(): void {
      counts.sessions++
    },
    connectionRejected(reason: RejectionReason): void {
      counts.connectionsRejected[reason]++
    },
    /** A batch of statements was refused because it could not be recorded. */
    refused(session: string, refusal: SpoolRefusal): void {
      counts.statementsRefused++
      if (Date.now() - lastRefusalLogged < repeatMilliseconds) return
      lastRefusalLogged = Date.now()
      log.error({ session, cause: refusal.code }, `statements are refused: ${refusal.message}`)
    },
    /** Called for each piece of an open gap; counts the gap once. */
    gapped(gap: object, session: string, refusal: SpoolRefusal): void {
      if (counted.has(gap)) return
      counted.add(gap)
      counts.gaps++
      if (Date.now() - lastGapLogged < repeatMilliseconds) return
      lastGapLogged = Date.now()
      log.error({ session, cause: refusal.code }, `traffic passes unrecorded, as --on-record-failure continue says: ${refusal.message}`)
    },
    segmentsStored(count: number): void {
      counts.segmentsStored += count
    },
    storeFailed(): void {
      counts.storeFailures++
    },
  }
}
