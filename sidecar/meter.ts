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
  sessionsSetAside: number
  readonly connectionsRejected: Record<RejectionReason, number>
}

export type Meter = ReturnType<typeof createMeter>

/** A gap or a refusal is logged this often, however many statements it hits. */
const repeatMilliseconds = 60_000

/** Codes by which control asks for patience (webhook/control/refusal.ts): tries that come too close say this, whatever the first one met. */
const pacing: readonly string[] = ['TOO_MANY_UPLOADS', 'BUSY', 'STOPPING']
const pacedMilliseconds = 60_000

export function createMeter({ log, now = () => performance.now() }: { readonly log: Log; readonly now?: () => number }) {
  const counts: Counts = {
    connections: 0,
    sessions: 0,
    statementsRefused: 0,
    gaps: 0,
    segmentsStored: 0,
    storeFailures: 0,
    sessionsSetAside: 0,
    connectionsRejected: { authentication: 0, upstream: 0, protocol: 0, policy: 0, limit: 0, recording: 0, gone: 0 },
  }
  let lastRefusalLogged = 0
  let lastGapLogged = 0
  const counted = new WeakSet<object>()
  let storeFailure = { code: '', at: -Infinity }

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
    storeFailed(code: string): void {
      counts.storeFailures++
      if (pacing.includes(code) && now() - storeFailure.at < pacedMilliseconds) return
      storeFailure = { code, at: now() }
    },
    /** Why the store refused last; empty when it never did. That control asks for patience hides no cause that is a minute old. */
    get storeFailureCode(): string {
      return storeFailure.code
    },
    sessionSetAside(): void {
      counts.sessionsSetAside++
    },
  }
}
