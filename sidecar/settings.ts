/**
 * What a proxy is told at start, after the command line was read and checked.
 */
import type { Secret } from '../postgres/authentication/secret.ts'
import type { ConnectionSettings } from '../postgres/connection-string.ts'
import type { SpoolLimits } from './spool/spool-writer.ts'
import type { TraceSettings } from './statements/traces-settings.ts'

export type ProxySettings = {
  readonly listen: { readonly host: string; readonly port: number }
  /** Where the database is, and in custody as whom. A null user means pass-through. */
  readonly upstream: ConnectionSettings
  /** Databases that an agent may ask for in custody, beside the upstream's own. */
  readonly databases: readonly string[] | 'any'
  /** What an agent must present as its password in custody; null lets anybody in who reaches the listener. */
  readonly agentToken: Secret | null
  readonly allowCleartextPassword: boolean
  readonly storeUrl: string
  readonly spoolFolder: string
  readonly spoolLimits: SpoolLimits
  readonly segment: SegmentLimits
  readonly onRecordFailure: 'block' | 'continue'
  readonly recordWaitMilliseconds: number
  readonly connectionsMax: number
  /** How long a connection may take to say who it is. */
  readonly startupMillisecondsMax: number
  /** How long a stopping proxy lets statements end. */
  readonly drainMilliseconds: number
  /** Where metrics and health are served; null for nowhere. */
  readonly metricsListen: { readonly host: string; readonly port: number } | null
  /** What standard output is told of each statement; nothing when absent. */
  readonly liveView?: LiveViewSettings | null
  /** How long the store may refuse before `/readyz` says so; a minute unless told. */
  readonly storeFailingMillisecondsMax?: number
  /** Where and how statements are traced; not at all when absent. */
  readonly traces?: TraceSettings | null
}

export type SegmentLimits = {
  /** A session's part is sealed when it has this many bytes of records, */
  readonly bytesMax: number
  /** or when its oldest record is this old. */
  readonly ageMilliseconds: number
}

export const defaultSegmentLimits: SegmentLimits = { bytesMax: 2 * 1024 * 1024, ageMilliseconds: 5_000 }

export type LiveViewSettings = {
  readonly format: 'json' | 'pretty'
  /** How much of each statement's SQL is shown, in UTF-16 units; 0 for none. */
  readonly sqlCharacters: number
}
