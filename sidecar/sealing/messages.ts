/** What the connection thread and the sealing thread say to each other in words. */
import type { SharedCounts } from '../metrics-shared.ts'
import type { LiveViewSettings, SegmentLimits } from '../settings.ts'
import type { SharedSpoolPosition } from '../spool/spool-position.ts'
import type { TraceOutcome } from '../statements/traces-queue.ts'
import type { TraceSettings } from '../statements/traces-settings.ts'

export type SealingWork = {
  readonly storeUrl: string
  readonly spoolFolder: string
  /** The running process's spool. */
  readonly epoch: number
  readonly position: SharedSpoolPosition
  readonly limits: SegmentLimits
  readonly stenoVersion: string
  /** Null when standard output is told nothing. */
  readonly liveView?: LiveViewSettings | null
  /** Where the thread adds up what `/metrics` shows; null when nobody asks. */
  readonly counts?: SharedCounts | null
  /** Null when statements are not traced. */
  readonly traces?: TraceSettings | null
  readonly start: SealingStart
  /** Agents wait for the store: the thread has the priority of the connections. */
  readonly isAwaited?: boolean
  /** See `hasten`; 0 for not. */
  readonly hastenedUntil?: number
  /** Since when the thread's start has waited for traffic, in milliseconds since the epoch; left out where it has not. */
  readonly deferredSince?: number
}

export type SealingStart =
  /** The process's first: spools of processes that are gone are recovered before the own one is followed. */
  | { readonly kind: 'first' }
  /** The one before ended because there was nothing to do: everything before `position` is stored and no session was open. */
  | { readonly kind: 'woken'; readonly position: number; readonly lastEntryTime: number }
  /** The one before failed: what it had stored is taken over. */
  | { readonly kind: 'failed' }

export type FromSealer =
  | {
      readonly kind: 'log'
      readonly level: 'info' | 'warn' | 'error'
      readonly text: string
      readonly fields: Readonly<Record<string, string | number>>
    }
  | { readonly kind: 'stored'; readonly segments: number }
  /** `code` is that of the error, or of the system's. */
  | { readonly kind: 'store-failed'; readonly code: string }
  /** A session's records are set aside in the spool folder, and no store will have the rest of it. */
  | { readonly kind: 'set-aside' }
  | { readonly kind: 'recovered' }
  /** What was in the spool when somebody asked to ship it is stored and in the ledger. */
  | { readonly kind: 'shipped' }
  /**
   * The answer to `store`: everything in the spool before this position is stored and in the ledger, but for what `unstorable` named
   * before.
   */
  | { readonly kind: 'stored-to'; readonly position: number }
  /** Records of this session in the running process's spool will never be stored; null where nobody knows whose are lost. */
  | { readonly kind: 'unstorable'; readonly session: number | null }
  /** What became of spans since the last of these. */
  | { readonly kind: 'traced'; readonly outcome: TraceOutcome }
  /** There is nothing to do, and the thread ends. `lastEntryTime`: when its last ledger entry was made, in milliseconds since the epoch. */
  | { readonly kind: 'idle'; readonly lastEntryTime: number }
  | { readonly kind: 'stopped' }

export type ToSealer =
  | { readonly kind: 'stop' }
  /** End at once, whatever is left: nobody waits any more. */
  | { readonly kind: 'end' }
  /** Seal what is there now, whatever its age and size. */
  | { readonly kind: 'ship' }
  /** Agents wait for what is in the spool now: seal and store it at once. Answered by `stored-to`. */
  | { readonly kind: 'store' }
  /** Until then, in milliseconds since the epoch, little may wait: the end is near. */
  | { readonly kind: 'hasten'; readonly until: number }
