/**
 * What a sidecar tells control of its pod, in `POST /v1/facts`: what was measured of the way past it, how its recording does, which policy it goes by.
 *
 * The one shape of it, for who sends and who takes it. A release adds fields and takes none away: control hears sidecars of earlier releases, which do
 * not say all of it, and ignores what it does not know. Names of databases, addresses and fields of policies are the only words in it; no statement, no secret.
 */
import { BadDocument, isObject, list, matching, natural, object, oneOf, optional, parseJson, text, time, type Check } from './shape.ts'

export const podFactsBytesMax = 64 * 1024
/** How often a sidecar speaks though nothing has changed, so that silence means something. */
export const podFactsMilliseconds = 15_000

export type WayFacts = {
  readonly state: 'Closed' | 'Open' | 'Unknown'
  readonly reason: string
  /** Since when the state is so, and when it was measured last (0: nothing is measured); milliseconds since the epoch. */
  readonly since: number
  readonly measured: number
  readonly databases: readonly {
    readonly name: string
    readonly state: 'Closed' | 'Open' | 'Unknown'
    readonly addresses: readonly string[]
  }[]
}

const shippingShown = ['NothingRecorded', 'NothingStored', 'Stored'] as const
export type ShippingShown = (typeof shippingShown)[number]

/**
 * How the recording does. `Shipping`: what is recorded reaches the store. `Failing`: the store has not taken it for a while, and the spool
 * keeps it. `SetAside`: sessions whose rest will never be stored, while others are. `Full`: the spool takes no more, so statements wait and fail,
 * or pass unrecorded where the policy says so.
 */
export type RecordingFacts = {
  readonly state: 'Shipping' | 'Failing' | 'SetAside' | 'Full'
  /** Why, as an error's code: `STORE_UNAVAILABLE`, `SPOOL_FULL`; empty for `Shipping`. */
  readonly code: string
  /**
   * How far `Shipping` is shown, since the sidecar's process began: nothing was recorded, something was and none of it is stored yet, or some is.
   * Absent in what sidecars of earlier releases say.
   */
  readonly shown?: ShippingShown
  readonly unshippedBytes: number
  /** What may wait at most, in bytes. */
  readonly unshippedBytesMax: number
  /** Age of the oldest record that the store does not hold; 0 when it holds all. */
  readonly oldestUnshippedSeconds: number
}

/** The policy that the sidecar goes by: that of its making, or what it took from control since. */
export type PolicyFacts = {
  readonly state: 'in-force' | 'withdrawn'
  /** Of the merged policy; 32 zeros for a withdrawn one. */
  readonly hash: string
  /** In words, what of it waits until the pod is made again. */
  readonly waits: readonly string[]
}

/** `recording` and `policy` are absent in what sidecars of earlier releases say. */
export type PodFacts = { readonly egress: WayFacts; readonly recording?: RecordingFacts; readonly policy?: PolicyFacts }

const state = oneOf('Closed', 'Open', 'Unknown')
const checkWay: Check<WayFacts> = object<WayFacts>({
  state,
  reason: text,
  since: time,
  measured: time,
  databases: list(object<WayFacts['databases'][number]>({ name: text, state, addresses: list(text) })),
})
const checkRecording: Check<RecordingFacts> = object<RecordingFacts>({
  state: oneOf('Shipping', 'Failing', 'SetAside', 'Full'),
  code: matching(/^[A-Z0-9_]{0,64}$/, 'an error code'),
  shown: optional(oneOf(...shippingShown)),
  unshippedBytes: natural,
  unshippedBytesMax: natural,
  oldestUnshippedSeconds: natural,
})
const checkPolicy: Check<PolicyFacts> = object<PolicyFacts>({
  state: oneOf('in-force', 'withdrawn'),
  hash: matching(/^[0-9a-f]{32}$/, 'the hash of a policy'),
  waits: list(text),
})
const checkFacts: Check<PodFacts> = object<PodFacts>({
  egress: checkWay,
  recording: optional(checkRecording),
  policy: optional(checkPolicy),
})

/** @throws BadDocument */
export function podFactsIn(bytes: Buffer): PodFacts {
  const value = parseJson(bytes, 'the message')
  if (!isObject(value)) throw new BadDocument('the message is not an object')
  const facts = checkFacts(value, 'the message')
  natural(Math.trunc(facts.egress.measured), 'the message.egress.measured')
  natural(Math.trunc(facts.egress.since), 'the message.egress.since')
  return facts
}

export function podFactsBytes(facts: PodFacts): Buffer {
  return Buffer.from(JSON.stringify(facts))
}
