/**
 * What a recorder is told at start, after a command line or a pod's environment was read and checked.
 *
 * A recorder is one spool with everything that is recorded into it; it has any number of listeners. `steno proxy` has one, and says all
 * in one piece (`ProxySettings`).
 */
import type { Secret } from '../postgres/authentication/secret.ts'
import type { ConnectionSettings } from '../postgres/connection-string.ts'
import type { RecordingLevel, SessionIdentity } from '../session/identity.ts'
import type { MetricsRegistry } from './metrics-registry.ts'
import type { SpoolLimits } from './spool/spool-writer.ts'
import type { TraceSettings } from './statements/traces-settings.ts'
import type { Dial } from './upstream/dial.ts'

export type Address = { readonly host: string; readonly port: number }

/** One database, and where agents reach it. */
export type ListenerSettings = {
  /** All must be listened on, but one whose family this machine lacks when it is `optional`. */
  readonly addresses: readonly (Address & { readonly optional?: boolean })[]
  /** Where the database is, and in custody as whom. A null user means pass-through. */
  readonly upstream: ConnectionSettings
  /** Databases that an agent may ask for in custody, beside the upstream's own. */
  readonly databases: readonly string[] | 'any'
  /** What an agent must present as its password in custody; null lets anybody in who reaches the listener. */
  readonly agentToken: Secret | null
  readonly allowCleartextPassword: boolean
  /** How the database is reached; directly unless told. */
  readonly dial?: Dial
  /** Asked before each session's connection to the database is opened; refuses it by throwing SessionRefused. */
  readonly admit?: (options: { readonly signal: AbortSignal }) => Promise<void>
}

export type RecorderSettings = {
  readonly listeners: readonly ListenerSettings[]
  readonly storeUrl: string
  /** Whether the store is proven before anything is recorded, or may be away: then the spool alone decides whether traffic passes. */
  readonly storeAtStart?: 'proven' | 'may-be-away'
  readonly spoolFolder: string
  readonly spoolLimits: SpoolLimits
  readonly segment: SegmentLimits
  /** What is kept of results, and whether agents are given them as soon as the spool has it or only when the store has; `results` unless told. */
  readonly level?: RecordingLevel
  /** How long a result waits for the store at level `stored`; 30 s unless told. */
  readonly storeWaitMilliseconds?: number
  readonly onRecordFailure: 'block' | 'continue'
  readonly recordWaitMilliseconds: number
  /** Of all listeners together. */
  readonly connectionsMax: number
  /** How long a connection may take to say who it is. */
  readonly startupMillisecondsMax: number
  /** How long a stopping proxy lets statements end. */
  readonly drainMilliseconds: number
  /** How long it waits then for connections to close, and for the store to take the rest; 6 s and 20 s unless told. */
  readonly endMillisecondsMax?: { readonly close: number; readonly store: number }
  /** Where metrics and health are served; null for nowhere. */
  readonly metricsListen: Address | null
  /** Counts for metrics that somebody else serves; where `metricsListen` names an address they are counted anyway. */
  readonly countsMetrics?: boolean
  /** Counts what goes into the spool, for high-water marks. */
  readonly countsRecords?: boolean
  /** More metrics than the recorder's own; asked when they are made. */
  readonly addMetrics?: (metrics: MetricsRegistry) => void
  /** What standard output is told of each statement; nothing when absent. */
  readonly liveView?: LiveViewSettings | null
  /** How long the store may refuse before `/readyz` says so; a minute unless told. */
  readonly storeFailingMillisecondsMax?: number
  /** Where and how statements are traced; not at all when absent. */
  readonly traces?: TraceSettings | null
  /** What the opening of each session says of the recorder's surroundings; nothing when absent. */
  readonly surroundings?: Pick<SessionIdentity, 'policy' | 'attested'>
  /** Where an operator changes what agents are refused for; the options of `steno proxy` unless told. */
  readonly changedBy?: { readonly databases: string; readonly connections: string }
}

/** What of a recorder's settings may change while it runs. */
export type RecorderUpdate = Pick<RecorderSettings, 'onRecordFailure'> & {
  /** As many as there are, in their order; their addresses stay what they were. */
  readonly listeners: readonly ListenerSettings[]
  readonly spoolLimits: Pick<SpoolLimits, 'unshippedBytesMax' | 'unshippedMillisecondsMax'>
  readonly surroundings: NonNullable<RecorderSettings['surroundings']>
  /** Of the document that says so (session/policy-document.ts). */
  readonly generation: string
}

/** A recorder with one listener at one address. */
export type ProxySettings = Omit<RecorderSettings, 'listeners'> & Omit<ListenerSettings, 'addresses'> & { readonly listen: Address }

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
