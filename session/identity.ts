/**
 * Who spoke to what, as the session-open, session-close, gap and policy-change records say it.
 *
 * Old readers keep fields they do not know and ignore them. `attested` and `asserted` are kept apart on purpose:
 * the first was checked by somebody the agent does not control, the second is only what the agent said of itself.
 */
import { dictionary, flag, natural, nullable, object, oneOf, optional, text, time, type Check } from './shape.ts'
import { sessionIdCheck } from './session-id.ts'

/** From least to most: without the content of results; with it; with it, and given to the agent only when the store has it. */
export const recordingLevels = ['statements', 'results', 'stored'] as const
export type RecordingLevel = (typeof recordingLevels)[number]

export type SessionIdentity = {
  readonly version: 1
  /** UUID version 7: sorts by the time the session opened. */
  readonly session: string
  readonly engine: 'postgresql'
  readonly mode: 'custody' | 'pass-through'
  /** Milliseconds since the epoch. */
  readonly opened: number
  /** The recorder's id, which is the fingerprint of the key that signs its ledger. */
  readonly recorder: string
  readonly client: { readonly address: string; readonly port: number; readonly tls: string | null }
  readonly upstream: { readonly host: string; readonly port: number; readonly tls: string | null }
  readonly user: string
  readonly database: string
  readonly protocol: '3.0' | '3.2'
  /** ParameterStatus values at start-up: server_version, client_encoding, TimeZone, DateStyle, IntervalStyle, … */
  readonly serverParameters: Readonly<Record<string, string>>
  readonly versions: { readonly steno: string; readonly node: string }
  readonly policy: { readonly name: string; readonly hash: string } | null
  /** What the recorder was told to keep of results; absent in recordings that are older, which keep all. */
  readonly level?: RecordingLevel
  /** Facts checked outside the agent's reach: pod UID, ServiceAccount, owner, image digest. */
  readonly attested: Readonly<Record<string, string>>
  /** What the agent says of itself: application_name, OIDC subject, groups. */
  readonly asserted: Readonly<Record<string, string>>
  /** What was asked for when the session began; absent in recordings that are older. */
  readonly startup?: StartupParameters
  readonly trace: { readonly traceId: string; readonly spanId: string } | null
}

/** Parameters of the StartupMessage, but `user` and `database`; values that may be credentials are replaced. */
export type StartupParameters = {
  /** As the agent sent them. Asserted: a database may refuse or overrule them. */
  readonly agent: Readonly<Record<string, string>>
  /** What the operator's connection string adds in custody: its `options` come behind the agent's, and win. */
  readonly operator: Readonly<Record<string, string>>
}

export type SessionClose = {
  /** Milliseconds since the epoch. */
  readonly closed: number
  readonly reason:
    | 'terminated'
    | 'client-gone'
    | 'upstream-gone'
    | 'protocol-error'
    | 'recording-failed'
    | 'shutdown'
    | 'killed'
    | 'way-closed'
  /** More about the reason, in words; never SQL. */
  readonly detail?: string
  /** True when a later start of the recorder wrote this for a process that was killed. */
  readonly recovered: boolean
}

/** Traffic that passed unrecorded because the policy says `continue`; both framings start anew behind it. */
export type Gap = {
  readonly from: number
  readonly to: number
  readonly frontendBytes: number
  readonly backendBytes: number
  readonly reason: string
}

/** From this record on the session's statements are judged by another policy than before. */
export type PolicyChange = {
  /** Milliseconds since the epoch. */
  readonly changed: number
  /** As the session's identity has it; null when there is none. */
  readonly before: SessionIdentity['policy']
  readonly policy: NonNullable<SessionIdentity['policy']>
  /** Of the document that said so (policy-document.ts). */
  readonly generation: string
}

const policy = object<NonNullable<SessionIdentity['policy']>>({ name: text, hash: text })
const endpoint = { port: natural, tls: nullable(text) }

/** @throws BadDocument; fields that this version does not know pass */
export const checkIdentity: Check<SessionIdentity> = object<SessionIdentity>({
  version: oneOf(1),
  session: sessionIdCheck,
  engine: oneOf('postgresql'),
  mode: oneOf('custody', 'pass-through'),
  opened: time,
  recorder: text,
  client: object<SessionIdentity['client']>({ address: text, ...endpoint }),
  upstream: object<SessionIdentity['upstream']>({ host: text, ...endpoint }),
  user: text,
  database: text,
  protocol: oneOf('3.0', '3.2'),
  serverParameters: dictionary(text),
  versions: object<SessionIdentity['versions']>({ steno: text, node: text }),
  policy: nullable(policy),
  level: optional(oneOf(...recordingLevels)),
  attested: dictionary(text),
  asserted: dictionary(text),
  startup: optional(object<StartupParameters>({ agent: dictionary(text), operator: dictionary(text) })),
  trace: nullable(object<NonNullable<SessionIdentity['trace']>>({ traceId: text, spanId: text })),
})

export const checkPolicyChange: Check<PolicyChange> = object<PolicyChange>({
  changed: time,
  before: nullable(policy),
  policy,
  generation: text,
})

export const checkClose: Check<SessionClose> = object<SessionClose>({
  closed: time,
  reason: oneOf('terminated', 'client-gone', 'upstream-gone', 'protocol-error', 'recording-failed', 'shutdown', 'killed', 'way-closed'),
  detail: optional(text),
  recovered: flag,
})

export const checkGap: Check<Gap> = object<Gap>({ from: time, to: time, frontendBytes: natural, backendBytes: natural, reason: text })
