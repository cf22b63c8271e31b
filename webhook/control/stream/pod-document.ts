/**
 * The signed document that tells a pod of its policy, and whether it would tell something else than the one before.
 *
 * Pure but for the signature. What it says is `session/policy-document.ts`'s; what is meant for the pod comes from the merge.
 */
import { hash } from 'node:crypto'
import { defaultEnforcement, defaultRecording } from '../../../crds/defaults.ts'
import type { MergedPolicy } from '../../../crds/merge.ts'
import { bytesOf } from '../../../crds/quantity.ts'
import { recordingOf } from '../../../injection/sidecar-config-of.ts'
import { policyDocumentBytesMax, sealPolicyDocument, type PolicyDocument, type PolicyPositions } from '../../../session/policy-document.ts'
import type { PodIdentity } from '../../../cluster/identity/pod.ts'
import type { ControlKey } from '../control-key.ts'
import type { PolicyNow } from './policy-index.ts'

/** What a document says, apart from whom it is for and when it was said. */
export type Meaning = Pick<PolicyDocument, 'state' | 'reason' | 'policy' | 'recording' | 'enforcement' | 'databases'>

/** Where no policy holds. */
const noPolicy: Pick<PolicyDocument, 'policy' | 'recording' | 'enforcement' | 'databases'> = {
  policy: { names: [], hash: '0'.repeat(32) },
  recording: {
    level: defaultRecording.level,
    onFailure: defaultRecording.onFailure,
    spoolBytesMax: bytesOf(defaultRecording.spoolBytesMax) ?? 0,
    spoolAgeMillisecondsMax: defaultRecording.spoolAgeSecondsMax * 1_000,
  },
  enforcement: defaultEnforcement,
  databases: [],
}
const reasonCharactersMax = 1_000

/** Null when it is not known what holds. */
export function meaningOf(now: PolicyNow): Meaning | null {
  switch (now.kind) {
    case 'unknown':
      return null
    case 'withdrawn':
      return { ...noPolicy, state: 'withdrawn', reason: now.reason.slice(0, reasonCharactersMax) }
    case 'in-force':
      return { ...partsOf(now.policy), state: 'in-force', reason: '' }
    default:
      return now satisfies never
  }
}

function partsOf(policy: MergedPolicy): typeof noPolicy {
  const { enforcement } = policy
  return {
    policy: { names: policy.sources, hash: policy.hash },
    recording: recordingOf(policy),
    enforcement: { mode: enforcement.mode, onOpenPath: enforcement.onOpenPath },
    databases: policy.databases.map(({ name, hosts, port, databaseNames, tls }) => ({
      name,
      hosts,
      port,
      databaseNames,
      tlsMode: tls.mode,
    })),
  }
}

/** Equal for equal meanings. */
export function fingerprintOf(meaning: Meaning): string {
  return hash('sha256', JSON.stringify(meaning), 'base64')
}

/** The line for the stream, or null when the document is larger than any recorder takes. */
export function policyLine(
  { podUid, podNamespace, podName }: PodIdentity,
  meaning: Meaning,
  {
    generation,
    positions,
    time,
    key,
  }: {
    readonly generation: bigint
    readonly positions: PolicyPositions
    readonly time: number
    readonly key: Pick<ControlKey, 'sign'>
  },
): Buffer | null {
  const { bytes } = sealPolicyDocument({ podUid, podNamespace, podName, generation: String(generation), positions, time, ...meaning }, key)
  if (bytes.length > policyDocumentBytesMax) return null
  return Buffer.from(`{"kind":"policy","document":"${bytes.toString('base64')}"}\n`, 'latin1')
}
