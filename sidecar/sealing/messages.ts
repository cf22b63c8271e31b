/** What the connection thread and the sealing thread say to each other in words. */
import type { SegmentLimits } from '../settings.ts'
import type { SharedSpoolPosition } from '../spool/spool-position.ts'

export type SealingWork = {
  readonly storeUrl: string
  readonly spoolFolder: string
  /** The running process's spool. */
  readonly epoch: number
  readonly position: SharedSpoolPosition
  readonly limits: SegmentLimits
  readonly stenoVersion: string
  /** True when an earlier sealing thread of this process ended before its time. */
  readonly isRestart: boolean
}

export type FromSealer =
  | { readonly kind: 'log'; readonly level: 'info' | 'warn' | 'error'; readonly text: string; readonly fields: Readonly<Record<string, string | number>> }
  | { readonly kind: 'stored'; readonly segments: number }
  | { readonly kind: 'store-failed' }
  | { readonly kind: 'stopped' }

export type ToSealer = { readonly kind: 'stop' }
