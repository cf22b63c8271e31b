/** What a sidecar told of its pod (session/pod-facts.ts), as the conditions that become of it. Pure. */
import { egressCondition, policyCondition, policyMessage, recordingCondition } from '../../../cluster/pod-watch.ts'
import type { PodFacts, PolicyFacts, RecordingFacts, ShippingShown, WayFacts } from '../../../session/pod-facts.ts'
import { refusals } from '../refusal.ts'

/** Of core/v1 PodCondition, times as RFC 3339. */
export type PodCondition = Verdict & { readonly lastProbeTime: string; readonly lastTransitionTime: string }

export type Verdict = {
  readonly type: typeof egressCondition | typeof recordingCondition | typeof policyCondition
  readonly status: 'True' | 'False' | 'Unknown'
  readonly reason:
    | ('Closed' | 'Open' | 'NotMeasured' | 'NotEnforced')
    | ('Stored' | 'NothingRecorded' | 'NothingStored' | 'StoreRefuses' | 'SessionSetAside' | 'SpoolFull')
    | ('Followed' | 'NeedsNewPod' | 'Withdrawn')
    | 'NotReported'
  readonly message: string
}

const namesMax = 8
const reasonCharactersMax = 300

/** One for each thing that the sidecar speaks of: those of earlier releases say nothing of their recording and their policy. */
export function verdictsOf({ egress, recording, policy }: PodFacts): Verdict[] {
  return [
    egressVerdict(egress),
    ...(recording === undefined ? [] : [recordingVerdict(recording)]),
    ...(policy === undefined ? [] : [policyVerdict(policy)]),
  ]
}

function egressVerdict({ state: found, reason, databases }: WayFacts): Verdict {
  const type = egressCondition
  const why = reason === '' ? '' : `: ${printable(reason)}`
  switch (found) {
    case 'Closed':
      return {
        type,
        status: 'True',
        reason: 'Closed',
        message: `no direct connection to a database was possible while the relay had one${why}`,
      }
    case 'Open': {
      const open = databases
        .filter((database) => database.state === 'Open')
        .map(({ name, addresses }) => `${name} (${addresses.join(', ')})`)
      return { type, status: 'False', reason: 'Open', message: printable(`a direct connection was possible to ${listed(open)}${why}`) }
    }
    case 'Unknown':
      return reason === 'NotEnforced'
        ? { type, status: 'Unknown', reason: 'NotEnforced', message: 'the policy keeps credentials from the agent and closes no way' }
        : {
            type,
            status: 'Unknown',
            reason: 'NotMeasured',
            message: `neither was a direct connection possible nor one through the relay${why}`,
          }
    default:
      return found satisfies never
  }
}

/** What to do about codes that are not control's own refusals. */
const remedies: Readonly<Record<string, string>> = {
  RECEIPT_REFUSED:
    'Control signs with another key than the pod was given: docs/operations.md, "Control’s signing key"; then make the pod again.',
  NOTHING_STORED: 'The store refuses nothing, and nothing arrives: look at the log of the pod’s container steno.',
  SPOOL_FULL: 'Bring the store back or make room in it; what waits is stored then.',
  SPOOL_OLD: 'Bring the store back or make room in it; what waits is stored then.',
  ENOSPC: 'The node’s disk is full: make room there.',
  EDQUOT: 'The node’s disk is full: make room there.',
}

/** Nothing is refused in either. Sidecars of earlier releases do not say how far that is shown. */
const shippingVerdicts: Readonly<Record<ShippingShown, Pick<Verdict, 'status' | 'reason' | 'message'>>> = {
  NothingRecorded: {
    ...{ status: 'Unknown', reason: 'NothingRecorded' },
    message: 'no session has begun since the sidecar started, so nothing was there to be stored',
  },
  NothingStored: {
    ...{ status: 'Unknown', reason: 'NothingStored' },
    message: 'the first records are on their way; they are stored when they are seconds old',
  },
  Stored: { status: 'True', reason: 'Stored', message: 'what is recorded reaches the store' },
}

/** The message says nothing that changes by itself, for each change is a write; since when it is so is the condition's own. */
function recordingVerdict({ state, code, shown, unshippedBytes, unshippedBytesMax }: RecordingFacts): Verdict {
  const type = recordingCondition
  const own = Object.hasOwn(refusals, code) ? refusals[code as keyof typeof refusals].remedy : undefined
  const remedy = remedies[code] ?? own ?? 'docs/errors.md has the code; the log of the pod’s container steno has more.'
  const used = unshippedBytesMax === 0 ? 1 : unshippedBytes / unshippedBytesMax
  switch (state) {
    case 'Shipping':
      return { type, ...shippingVerdicts[shown ?? 'Stored'] }
    case 'Failing':
      return {
        ...{ type, status: 'False', reason: 'StoreRefuses' },
        message: `the store does not take the pod’s recordings (${code}); its spool keeps them and is ${shareOf(used)} of what may wait. ${remedy}`,
      }
    case 'SetAside':
      return {
        ...{ type, status: 'False', reason: 'SessionSetAside' },
        message:
          'the store contradicts a session that was recorded, whose rest is set aside in the pod’s spool folder and lost with the pod; others are stored. The log of the container steno names it: restore its object from a copy, and find out who changed it.',
      }
    case 'Full':
      return {
        ...{ type, status: 'False', reason: 'SpoolFull' },
        message: `the pod’s spool takes no more (${code}): statements wait and fail with SQLSTATE 53100, or pass unrecorded where the policy says onFailure: continue. ${remedy}`,
      }
    default:
      return state satisfies never
  }
}

function policyVerdict({ state, hash, waits }: PolicyFacts): Verdict {
  const type = policyCondition
  if (state === 'withdrawn')
    return { type, status: 'False', reason: 'Withdrawn', message: 'no policy is in force for the pod, so its sidecar opens no session' }
  if (waits.length === 0) return { type, status: 'True', reason: 'Followed', message: policyMessage(hash) }
  return {
    ...{ type, status: 'False', reason: 'NeedsNewPod' },
    message: printable(`${policyMessage(hash)}, but for what waits until the pod is made again: ${waits.join('; ')}`),
  }
}

/** In steps, so that a spool that grows is few writes. */
function shareOf(used: number): string {
  const passed = [90, 75, 50, 25].find((percent) => used * 100 >= percent)
  return passed === undefined ? 'below 25 %' : `above ${passed} %`
}

export const silentVerdicts: readonly Verdict[] = [
  {
    ...{ type: egressCondition, status: 'Unknown', reason: 'NotReported' },
    message: 'the sidecar has not reported for 45 s; nobody knows whether databases can be reached past it',
  },
  {
    ...{ type: recordingCondition, status: 'Unknown', reason: 'NotReported' },
    message: 'the sidecar has not reported for 45 s; nobody knows whether its recordings are stored',
  },
  {
    ...{ type: policyCondition, status: 'Unknown', reason: 'NotReported' },
    message: 'the sidecar has not reported for 45 s; nobody knows which policy it goes by',
  },
]

export type PodConditionLike = { readonly status: string; readonly lastTransitionTime: string | null }

/** What the condition becomes; the time of the transition changes only with the status. `now` is RFC 3339. */
export function conditionOf(verdict: Verdict, before: PodConditionLike | null, lastProbeTime: string, now: string): PodCondition {
  const lastTransitionTime = before?.status === verdict.status ? (before.lastTransitionTime ?? now) : now
  return { ...verdict, lastProbeTime, lastTransitionTime }
}

function listed(names: readonly string[]): string {
  if (names.length === 0) return 'a database'
  return names.slice(0, namesMax).join(', ') + (names.length > namesMax ? ` and ${names.length - namesMax} more` : '')
}

/** It comes from a pod and is shown on terminals. */
function printable(said: string): string {
  return said
    .replace(/[\p{C}\u2028\u2029]/gu, ' ')
    .slice(0, reasonCharactersMax)
    .toWellFormed()
}
