/**
 * Who asks, and what that pod may reach: token, pod, and that the connection comes from the pod itself.
 *
 * Holds nothing; verdicts are remembered by what is asked here.
 */
import type { Authenticate } from '../cluster/identity/authenticate.ts'
import type { PodIdentity } from '../cluster/identity/pod.ts'
import { addressFormsOf } from './address-forms.ts'
import type { JudgePod } from './pod-verdict.ts'
import { Refusal } from './refusal.ts'
import type { TargetRules } from './target.ts'

export type Caller = { readonly pod: PodIdentity; readonly rules: TargetRules }

/** `address` is the peer's; `onPod` is told whose token it is, before anything else is judged. @throws Refusal, NotIdentified (from the result) */
export type Authorise = (authorization: string | undefined, address: string, onPod?: (pod: PodIdentity) => void) => Promise<Caller>

export function createAuthorise({
  authenticate,
  judgePod,
  checkSourceAddress,
}: {
  readonly authenticate: Authenticate
  readonly judgePod: JudgePod
  /** False where the network shows other addresses than the pods' own. */
  readonly checkSourceAddress: boolean
}): Authorise {
  return async (authorization, address, onPod) => {
    const pod = await authenticate(authorization, address)
    onPod?.(pod)
    const verdict = await judgePod(pod)
    if (verdict.kind === 'unfit') throw new Refusal('POD_UNFIT', verdict.reason)
    if (checkSourceAddress) {
      if (verdict.podIPs.length === 0) throw new Refusal('SOURCE_UNFIT', 'the cluster does not know the pod’s address yet')
      const peer = addressFormsOf(address)?.text
      if (peer === undefined || !verdict.podIPs.some((text) => addressFormsOf(text)?.text === peer))
        throw new Refusal('SOURCE_UNFIT', 'the connection comes from another address than the pod’s')
    }
    return { pod, rules: { databases: verdict.databases, ceilings: verdict.ceilings } }
  }
}
