/**
 * Why the relay gave no tunnel: its own refusal, in its own words, or that it cannot be reached or believed.
 *
 * Each says whether another try within the same dial may end otherwise: a replica that stops or is full has a neighbour.
 */
import { AttemptFailed } from '../upstream/errors.ts'

/** Codes of the relay's protocol, and three that this side gives itself. */
export const relayCodes = [
  ...['TOKEN_UNFIT', 'POD_UNFIT', 'SOURCE_UNFIT', 'TARGET_NOT_ALLOWED', 'TARGET_FORBIDDEN', 'NAME_UNRESOLVED', 'TARGET_UNREACHABLE'],
  ...['TARGET_SLOW', 'TOO_MANY_TUNNELS', 'BUSY', 'CLUSTER_UNAVAILABLE', 'STOPPING', 'BAD_REQUEST', 'NOT_FOUND', 'DEFECT'],
  ...['TOKEN_MISSING', 'RELAY_UNREACHABLE', 'RELAY_UNTRUSTED', 'RELAY_UNFIT'],
] as const
export type RelayCode = (typeof relayCodes)[number] | 'UNKNOWN'

const passing: readonly RelayCode[] = ['BUSY', 'STOPPING', 'CLUSTER_UNAVAILABLE', 'RELAY_UNREACHABLE']

export class RelayFailure extends AttemptFailed {
  readonly relayCode: RelayCode
  readonly #remedy: string
  constructor(relayCode: RelayCode, message: string, remedy: string, { cause }: { readonly cause?: unknown } = {}) {
    super('network', `${relayCode}: ${message}`, cause)
    this.relayCode = relayCode
    this.#remedy = remedy
  }
  override get remedyOfReason(): string {
    return this.#remedy
  }
  /** Whether the next try, at the other replica or in a moment, may end otherwise. */
  get mayPass(): boolean {
    return passing.includes(this.relayCode)
  }
}

const textCharactersMax = 2_000

/** Reads an answer that is not 200. What did not come from a relay is told by its status alone. */
export function refusalOf(status: number, body: Buffer): RelayFailure {
  const told = parsed(body)
  const said = (name: string): string | null => {
    const value = told[name]
    return typeof value === 'string' && value !== '' && value.length <= textCharactersMax ? printable(value) : null
  }
  const code = relayCodes.find((known) => known === said('code')) ?? 'UNKNOWN'
  return new RelayFailure(code, said('message') ?? `the relay answered with status ${status}`, said('remedy') ?? remedyOf(code))
}

/** For a relay that gives none. */
function remedyOf(code: RelayCode): string {
  switch (code) {
    case 'TARGET_NOT_ALLOWED':
      return 'Have host and port added to `databases[].hosts` and `databases[].port` of the SessionPolicy, within what the ClusterSessionPolicy allows.'
    case 'TARGET_FORBIDDEN':
      return 'Give the database an address of its own: nodes, the API server, link-local and loopback addresses are never reached through the relay.'
    case 'NAME_UNRESOLVED':
      return 'Check the name of the host in the connection string; the relay resolves it in its own namespace, so write names of Services in full.'
    case 'TARGET_UNREACHABLE':
    case 'TARGET_SLOW':
      return 'Check that the database runs, and that the relay (Deployment steno-relay) may reach it: firewalls and NetworkPolicies see its address.'
    case 'TOO_MANY_TUNNELS':
      return 'Close connections that are not used; the relay bounds how many a pod has.'
    case 'TOKEN_UNFIT':
    case 'POD_UNFIT':
    case 'SOURCE_UNFIT':
      return 'Create the pod again; when that does not help, look at the log of Deployment steno-relay.'
    case 'BUSY':
    case 'STOPPING':
    case 'CLUSTER_UNAVAILABLE':
      return 'Connect again in a moment; when it lasts, look at Deployment steno-relay.'
    default:
      return 'Look at the log of Deployment steno-relay.'
  }
}

function parsed(body: Buffer): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

const printable = (text: string): string => text.replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, ' ')
