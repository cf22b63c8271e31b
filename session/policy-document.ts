/**
 * What control tells one running pod of its policy: a signed document, and the check that a recorder holds it against before it believes it.
 *
 * Signed with control's key, which the pod pins from its admission on. A document says up to which revision of each kind of object it knows
 * the cluster, and a recorder takes none that knows less of any kind than the one that it has: neither a control that lags behind another nor
 * whoever kept an older document can bring an older policy back.
 *
 * A control of a later release may say a value that this one does not know, as a further recording level. The document is taken all the same: to
 * refuse it would leave the pod with a policy that nobody wants any more, hosts, databases and all. The unknown value counts as the strictest that
 * is known, so that nothing is opened by what was not understood, and `unknown` says which it was, so that the pod is not said to follow it. An
 * unknown `state` or version, on which everything else hangs, is refused as anything damaged is.
 *
 * Says what new sessions may reach and by which policy statements are judged;
 * holds no secret. Knows nothing of Kubernetes' objects, and reads no clock.
 */
import type { KeyObject } from 'node:crypto'
import { KnownError, messageOf } from '../base/errors.ts'
import { recordingLevels, type RecordingLevel } from './identity.ts'
import type { RecorderKey } from './recorder-key.ts'
import { BadDocument, isObject, list, matching, natural, object, oneOf, optional, ordinal, text, time, type Check } from './shape.ts'
import { readSignedDocument, signDocument } from './signed-document.ts'

/** A policy with all its databases is an object of etcd's, which takes 1.5 MiB; one for a pod whose configuration fits its environment is far smaller. */
export const policyDocumentBytesMax = 1024 * 1024

/** One database that new sessions may be opened to, by the policy's name for it. */
export type PolicyDatabase = {
  readonly name: string
  /** Names and addresses; `*.example.com` means any name below. */
  readonly hosts: readonly string[]
  readonly port: number
  /** The first is what agents get that name none. */
  readonly databaseNames: readonly string[]
  /** A floor: a recorder never goes below the one that it was admitted with. */
  readonly tlsMode: 'disable' | 'require' | 'verify-ca' | 'verify-full'
}

/**
 * Revisions of the cluster's store (Kubernetes, ObjectMeta.resourceVersion) as whole numbers in decimal: every change up to them is in, and none
 * after them. For each kind by itself: the watches of one control are not equally far, and what one of them has heard says nothing of another.
 */
export type PolicyPositions = {
  readonly sessionPolicies: string
  readonly clusterSessionPolicies: string
  /** Those that are opted in. */
  readonly namespaces: string
  /** Of the pod itself, by whose labels policies are chosen. */
  readonly pod: string
}

export type PolicyDocument = {
  readonly type: 'policy'
  readonly version: 1
  readonly podUid: string
  readonly podNamespace: string
  readonly podName: string
  /**
   * The highest revision that control had heard of, as a whole number in decimal: for people, and for recorders of releases before there were
   * `positions`, which go by it.
   */
  readonly generation: string
  /** When it was signed, in milliseconds since the epoch. Of two that know equally much the later counts. */
  readonly time: number
  /** Missing in documents of releases before. */
  readonly positions?: PolicyPositions
  /** `withdrawn`: no session may be opened, and open ones end. */
  readonly state: 'in-force' | 'withdrawn'
  /** Why, for people; empty when there is nothing to say. */
  readonly reason: string
  readonly policy: {
    /** `shop/orders`, `ClusterSessionPolicy/floor`. */
    readonly names: readonly string[]
    /** 32 hexadecimal digits over all that judges. */
    readonly hash: string
  }
  readonly recording: {
    readonly level: RecordingLevel
    readonly onFailure: 'block' | 'continue'
    readonly spoolBytesMax: number
    readonly spoolAgeMillisecondsMax: number
  }
  readonly enforcement: { readonly mode: 'Relay' | 'CredentialsOnly'; readonly onOpenPath: 'Block' | 'Report' }
  readonly databases: readonly PolicyDatabase[]
  /** Never signed: the reader says it, and leaves it out when it knew every value. */
  readonly unknown?: readonly UnknownValue[]
}

/** A value of a later release, and what it was taken for: the strictest of those that are known. */
export type UnknownValue = {
  /** `recording.level`, `tls.mode of orders`. */
  readonly field: string
  readonly value: string
  readonly takenAs: string
}

/** Where a document stands among those of its pod. */
export type PolicyOrder = Pick<PolicyDocument, 'generation' | 'time' | 'positions'>

const revision = matching(/^(?:0|[1-9][0-9]{0,19})$/, 'a whole number in decimal')
const checkPositions: Check<PolicyPositions> = object<PolicyPositions>({
  sessionPolicies: revision,
  clusterSessionPolicies: revision,
  namespaces: revision,
  pod: revision,
})

type Values<T extends string> = { readonly known: readonly T[]; readonly strictest: T }
const levels: Values<RecordingLevel> = { known: recordingLevels, strictest: 'stored' }
const onFailures: Values<PolicyDocument['recording']['onFailure']> = { known: ['block', 'continue'], strictest: 'block' }
const modes: Values<PolicyDocument['enforcement']['mode']> = { known: ['Relay', 'CredentialsOnly'], strictest: 'Relay' }
const onOpenPaths: Values<PolicyDocument['enforcement']['onOpenPath']> = { known: ['Block', 'Report'], strictest: 'Block' }
const tlsModes: Values<PolicyDatabase['tlsMode']> = {
  known: ['disable', 'require', 'verify-ca', 'verify-full'],
  strictest: 'verify-full',
}
/** What looks like the name of a value, and is not merely damaged. */
const valuePattern = /^[A-Za-z][A-Za-z0-9-]{0,62}$/

const checkDocument: Check<Omit<PolicyDocument, 'unknown'>> = object<Omit<PolicyDocument, 'unknown'>>({
  type: oneOf('policy'),
  version: oneOf(1),
  podUid: text,
  podNamespace: text,
  podName: text,
  generation: revision,
  time,
  positions: optional(checkPositions),
  state: oneOf('in-force', 'withdrawn'),
  reason: text,
  policy: object<PolicyDocument['policy']>({ names: list(text), hash: matching(/^[0-9a-f]{32}$/, 'a hash of a policy') }),
  recording: object<PolicyDocument['recording']>({
    level: oneOf(...levels.known),
    onFailure: oneOf(...onFailures.known),
    spoolBytesMax: natural,
    spoolAgeMillisecondsMax: natural,
  }),
  enforcement: object<PolicyDocument['enforcement']>({
    mode: oneOf(...modes.known),
    onOpenPath: oneOf(...onOpenPaths.known),
  }),
  databases: list(
    object<PolicyDatabase>({
      name: text,
      hosts: list(text),
      port: ordinal,
      databaseNames: list(text),
      tlsMode: oneOf(...tlsModes.known),
    }),
  ),
})

const remedies = {
  damaged: 'Look at what stands between the sidecar and control; both must be of this release or of the two minor releases before it.',
  key: 'Make the pod anew: it trusts the key that control had when the pod was admitted. When it lasts, see who answers as steno-control.',
  pod: 'See who answers as steno-control: it sends what was signed for another pod.',
  older: 'Nothing, when control has just been replaced: it catches up. When it lasts, see who answers as steno-control.',
} as const

/** A document is not taken, and what is in force stays in force. `why` tells the cases apart for counting and tests. */
export class PolicyDocumentRefused extends KnownError {
  readonly code = 'POLICY_DOCUMENT_REFUSED'
  readonly remedy: string
  readonly safeToRetry = true
  readonly why: keyof typeof remedies
  constructor(why: keyof typeof remedies, what: string, cause?: unknown) {
    super(`a policy document is refused: ${what}`, cause === undefined ? undefined : { cause })
    this.why = why
    this.remedy = remedies[why]
  }
}

export function sealPolicyDocument(
  fields: Omit<PolicyDocument, 'type' | 'version' | 'unknown'>,
  key: Pick<RecorderKey, 'sign'>,
): { readonly bytes: Buffer; readonly sha256: string } {
  const { podUid, podNamespace, podName, generation, positions, state, reason, policy, recording, enforcement, databases } = fields
  const document: PolicyDocument = {
    ...{ type: 'policy', version: 1, podUid, podNamespace, podName, generation, time: fields.time },
    ...(positions === undefined ? {} : { positions }),
    ...{ state, reason, policy, recording, enforcement, databases },
  }
  return signDocument(document, key)
}

/**
 * The document in `bytes`, when it is for `pod`, signed by one of `publicKeys`, and not behind `known` (null: none is known yet).
 * @throws PolicyDocumentRefused
 */
export function readPolicyDocument(
  bytes: Buffer,
  {
    pod,
    publicKeys,
    known,
  }: {
    readonly pod: Pick<PolicyDocument, 'podUid' | 'podNamespace' | 'podName'>
    readonly publicKeys: readonly KeyObject[]
    readonly known: PolicyOrder | null
  },
): PolicyDocument {
  if (bytes.length > policyDocumentBytesMax) throw new PolicyDocumentRefused('damaged', `it has ${bytes.length} bytes`)
  const document = readChecked(bytes, publicKeys)
  if (document.podUid !== pod.podUid || document.podNamespace !== pod.podNamespace || document.podName !== pod.podName)
    throw new PolicyDocumentRefused('pod', `it is for pod ${document.podNamespace}/${document.podName} (${document.podUid})`)
  if (known !== null && placeAfter(known, document) === 'behind')
    throw new PolicyDocumentRefused(
      'older',
      `it knows less of the cluster than the one before, or it was signed earlier (${placeText(document)} after ${placeText(known)})`,
    )
  return document
}

/**
 * Where a document stands after the one that is known. `behind`: it knows less of some kind of object, however much more of another, or as much and
 * was signed earlier. Where one of the two has no positions, generations are compared instead.
 */
export function placeAfter(known: PolicyOrder, document: PolicyOrder): 'behind' | 'same' | 'ahead' {
  const [before, after] = [revisionsOf(known), revisionsOf(document)]
  const differences =
    before.length === after.length
      ? after.map((reached, at) => reached - (before[at] ?? 0n))
      : [BigInt(document.generation) - BigInt(known.generation)]
  if (differences.some((difference) => difference < 0n)) return 'behind'
  if (differences.some((difference) => difference > 0n)) return 'ahead'
  return document.time === known.time ? 'same' : document.time < known.time ? 'behind' : 'ahead'
}

/** Always in one order. */
export function positionsText({ sessionPolicies, clusterSessionPolicies, namespaces, pod }: PolicyPositions): string {
  return [sessionPolicies, clusterSessionPolicies, namespaces, pod].join(',')
}

/** What `positionsText` wrote; null for anything else. */
export function positionsIn(written: string): PolicyPositions | null {
  const [sessionPolicies = '', clusterSessionPolicies = '', namespaces = '', pod = '', ...more] = written.split(',')
  try {
    return more.length > 0 ? null : checkPositions({ sessionPolicies, clusterSessionPolicies, namespaces, pod }, 'the positions')
  } catch (error) {
    if (error instanceof BadDocument) return null
    throw error
  }
}

/** Whether `reached` is, in each kind, where `awaited` is, or beyond. */
export function hasReached(reached: PolicyPositions, awaited: PolicyPositions): boolean {
  const [has, wants] = [reached, awaited].map((positions) => positionsText(positions).split(',').map(BigInt)) as [bigint[], bigint[]]
  return has.every((one, at) => one >= (wants[at] ?? 0n))
}

function revisionsOf({ generation, positions }: PolicyOrder): bigint[] {
  return (positions === undefined ? [generation] : positionsText(positions).split(',')).map(BigInt)
}

function placeText({ generation, positions }: PolicyOrder): string {
  return positions === undefined ? `generation ${generation}` : `positions ${positionsText(positions)}`
}

function readChecked(bytes: Buffer, publicKeys: readonly KeyObject[]): PolicyDocument {
  try {
    const signed = readSignedDocument(bytes, 'policy')
    if (!publicKeys.some((key) => signed.isSignedBy(key)))
      throw new PolicyDocumentRefused('key', 'no key that this pod trusts has signed it')
    const { value, unknown } = takenStrictly(signed.value)
    const document = checkDocument(value, 'the policy document')
    return unknown.length === 0 ? document : { ...document, unknown }
  } catch (error) {
    if (error instanceof BadDocument) throw new PolicyDocumentRefused('damaged', messageOf(error), error)
    throw error
  }
}

/** The document with the strictest value in place of each that is not known. What is no document at all is left to the check. */
function takenStrictly(value: unknown): { readonly value: unknown; readonly unknown: readonly UnknownValue[] } {
  const unknown: UnknownValue[] = []
  const fieldsOf = (fields: unknown, places: Readonly<Record<string, readonly [Values<string>, string]>>): unknown => {
    if (!isObject(fields)) return fields
    const taken: Record<string, unknown> = { ...fields }
    for (const [name, [{ known, strictest }, field]] of Object.entries(places)) {
      const found = fields[name]
      if (typeof found !== 'string' || known.includes(found) || !valuePattern.test(found)) continue
      unknown.push({ field, value: found, takenAs: strictest })
      taken[name] = strictest
    }
    return taken
  }
  if (!isObject(value)) return { value, unknown }
  // What a document says of itself under that name is not the reader's word.
  const said = Object.fromEntries(Object.entries(value).filter(([name]) => name !== 'unknown'))
  const { recording, enforcement, databases } = said
  const taken = {
    ...said,
    recording: fieldsOf(recording, { level: [levels, 'recording.level'], onFailure: [onFailures, 'recording.onFailure'] }),
    enforcement: fieldsOf(enforcement, { mode: [modes, 'enforcement.mode'], onOpenPath: [onOpenPaths, 'enforcement.onOpenPath'] }),
    databases: Array.isArray(databases)
      ? databases.map((database: unknown) =>
          fieldsOf(database, { tlsMode: [tlsModes, `tls.mode of ${isObject(database) ? String(database['name']) : ''}`] }),
        )
      : databases,
  }
  return { value: unknown.length === 0 ? said : taken, unknown }
}
