/**
 * What control tells one running pod of its policy: a signed document, and the check that a recorder holds it against before it believes it.
 *
 * Signed with control's key, which the pod pins from its admission on. Documents of a pod have an order, by `generation` and then `time`,
 * and a recorder takes only what is higher than the highest it took, so whoever kept an older one cannot bring it back. Says what new sessions
 * may reach and by which policy statements are judged; holds no secret. Knows nothing of Kubernetes' objects, and reads no clock.
 */
import type { KeyObject } from 'node:crypto'
import { KnownError, messageOf } from '../base/errors.ts'
import type { RecorderKey } from './recorder-key.ts'
import { BadDocument, list, matching, natural, object, oneOf, ordinal, text, time, type Check } from './shape.ts'
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

export type PolicyDocument = {
  readonly type: 'policy'
  readonly version: 1
  readonly podUid: string
  readonly podNamespace: string
  readonly podName: string
  /** A whole number in decimal that only rises: a revision of the cluster's store (Kubernetes, ObjectMeta.resourceVersion). */
  readonly generation: string
  /** When it was signed, in milliseconds since the epoch. Of two of one generation the later is the higher. */
  readonly time: number
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
    readonly level: 'results' | 'stored'
    readonly onFailure: 'block' | 'continue'
    readonly spoolBytesMax: number
    readonly spoolAgeMillisecondsMax: number
  }
  readonly enforcement: { readonly mode: 'Relay' | 'CredentialsOnly'; readonly onOpenPath: 'Block' | 'Report' }
  readonly databases: readonly PolicyDatabase[]
}

/** Where a document stands among those of its pod. */
export type PolicyOrder = Pick<PolicyDocument, 'generation' | 'time'>

const generationPattern = /^(?:0|[1-9][0-9]{0,19})$/

const checkDocument: Check<PolicyDocument> = object<PolicyDocument>({
  type: oneOf('policy'),
  version: oneOf(1),
  podUid: text,
  podNamespace: text,
  podName: text,
  generation: matching(generationPattern, 'a whole number in decimal'),
  time,
  state: oneOf('in-force', 'withdrawn'),
  reason: text,
  policy: object<PolicyDocument['policy']>({ names: list(text), hash: matching(/^[0-9a-f]{32}$/, 'a hash of a policy') }),
  recording: object<PolicyDocument['recording']>({
    level: oneOf('results', 'stored'),
    onFailure: oneOf('block', 'continue'),
    spoolBytesMax: natural,
    spoolAgeMillisecondsMax: natural,
  }),
  enforcement: object<PolicyDocument['enforcement']>({
    mode: oneOf('Relay', 'CredentialsOnly'),
    onOpenPath: oneOf('Block', 'Report'),
  }),
  databases: list(
    object<PolicyDatabase>({
      name: text,
      hosts: list(text),
      port: ordinal,
      databaseNames: list(text),
      tlsMode: oneOf('disable', 'require', 'verify-ca', 'verify-full'),
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
  fields: Omit<PolicyDocument, 'type' | 'version'>,
  key: Pick<RecorderKey, 'sign'>,
): { readonly bytes: Buffer; readonly sha256: string } {
  const { podUid, podNamespace, podName, generation, state, reason, policy, recording, enforcement, databases } = fields
  const document: PolicyDocument = {
    ...{ type: 'policy', version: 1, podUid, podNamespace, podName, generation, time: fields.time },
    ...{ state, reason, policy, recording, enforcement, databases },
  }
  return signDocument(document, key)
}

/**
 * The document in `bytes`, when it is for `pod`, signed by one of `publicKeys`, and not lower than `known` (null: none is known yet). One that
 * is as high as the known one is the known one again.
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
  if (known !== null && comparePolicyOrder(document, known) < 0)
    throw new PolicyDocumentRefused('older', `its generation ${document.generation} is below ${known.generation}, or it was signed earlier`)
  return document
}

/** Negative when `a` is lower than `b`, positive when it is higher. */
export function comparePolicyOrder(a: PolicyOrder, b: PolicyOrder): number {
  const [first, second] = [BigInt(a.generation), BigInt(b.generation)]
  return first === second ? a.time - b.time : first < second ? -1 : 1
}

function readChecked(bytes: Buffer, publicKeys: readonly KeyObject[]): PolicyDocument {
  try {
    const signed = readSignedDocument(bytes, 'policy')
    if (!publicKeys.some((key) => signed.isSignedBy(key)))
      throw new PolicyDocumentRefused('key', 'no key that this pod trusts has signed it')
    return checkDocument(signed.value, 'the policy document')
  } catch (error) {
    if (error instanceof BadDocument) throw new PolicyDocumentRefused('damaged', messageOf(error), error)
    throw error
  }
}
