/** What a sidecar measured of the way past it, as it comes in `POST /v1/facts`, and the pod condition that it becomes. Pure. */
import { BadDocument, isObject, list, natural, object, oneOf, parseJson, text, time, type Check } from '../../../session/shape.ts'
import { egressCondition } from '../../../cluster/pod-watch.ts'

export const factsBytesMax = 64 * 1024

export type Egress = {
  readonly state: 'Closed' | 'Open' | 'Unknown'
  readonly reason: string
  /** Since when the state is so, and when it was measured last; milliseconds since the epoch. */
  readonly since: number
  readonly measured: number
  readonly databases: readonly {
    readonly name: string
    readonly state: 'Closed' | 'Open' | 'Unknown'
    readonly addresses: readonly string[]
  }[]
}

const state = oneOf('Closed', 'Open', 'Unknown')
const checkFacts: Check<{ readonly egress: Egress }> = object<{ readonly egress: Egress }>({
  egress: object<Egress>({
    state,
    reason: text,
    since: time,
    measured: time,
    databases: list(object<Egress['databases'][number]>({ name: text, state, addresses: list(text) })),
  }),
})

/** @throws BadDocument */
export function factsIn(bytes: Buffer): Egress {
  const value = parseJson(bytes, 'the message')
  if (!isObject(value)) throw new BadDocument('the message is not an object')
  const { egress } = checkFacts(value, 'the message')
  natural(Math.trunc(egress.measured), 'the message.egress.measured')
  natural(Math.trunc(egress.since), 'the message.egress.since')
  return egress
}

/** Of core/v1 PodCondition, times as RFC 3339. */
export type PodCondition = {
  readonly type: typeof egressCondition
  readonly status: 'True' | 'False' | 'Unknown'
  readonly reason: 'Closed' | 'Open' | 'NotMeasured' | 'NotReported' | 'NotEnforced'
  readonly message: string
  readonly lastProbeTime: string
  readonly lastTransitionTime: string
}

export type EgressVerdict = Pick<PodCondition, 'status' | 'reason' | 'message'>

const namesMax = 8
const reasonCharactersMax = 300

export function verdictOf({ state: found, reason, databases }: Egress): EgressVerdict {
  const why = reason === '' ? '' : `: ${printable(reason)}`
  switch (found) {
    case 'Closed':
      return { status: 'True', reason: 'Closed', message: `no direct connection to a database was possible while the relay had one${why}` }
    case 'Open': {
      const open = databases
        .filter((database) => database.state === 'Open')
        .map(({ name, addresses }) => `${name} (${addresses.join(', ')})`)
      return { status: 'False', reason: 'Open', message: printable(`a direct connection was possible to ${listed(open)}${why}`) }
    }
    case 'Unknown':
      return reason === 'NotEnforced'
        ? { status: 'Unknown', reason: 'NotEnforced', message: 'the policy keeps credentials from the agent and closes no way' }
        : { status: 'Unknown', reason: 'NotMeasured', message: `neither was a direct connection possible nor one through the relay${why}` }
    default:
      return found satisfies never
  }
}

export const notReported: EgressVerdict = {
  status: 'Unknown',
  reason: 'NotReported',
  message: 'the sidecar has not reported for 45 s; nobody knows whether databases can be reached past it',
}

/** What the condition becomes; the time of the transition changes only with the status. `now` is RFC 3339. */
export function conditionOf(verdict: EgressVerdict, before: PodConditionLike | null, lastProbeTime: string, now: string): PodCondition {
  const lastTransitionTime = before?.status === verdict.status ? (before.lastTransitionTime ?? now) : now
  return { type: egressCondition, ...verdict, lastProbeTime, lastTransitionTime }
}

export type PodConditionLike = { readonly status: string; readonly lastTransitionTime: string | null }

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
