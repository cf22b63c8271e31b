/**
 * What is said to the relay by an attacker in an agent's container, and the tokens that he may have come by.
 *
 * Tokens are asked for as the node asks for them, on behalf of a pod that runs there: the same as in the sidecar's volume, without the
 * sidecar's files.
 */
import { kubectl } from '../support/kubectl.ts'
import type { RelayAnswer, RelayAttempt } from './in-pod/ask-relay.ts'
import { inPod, type World } from './world.ts'

const newline = '\r\n'
const sslRequest = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]).toString('latin1')

export type Connect = {
  readonly target: string
  readonly token: string | null
  readonly database?: string
  /** Lines instead of the usual Host header, or beside it. */
  readonly host?: string
  readonly more?: readonly string[]
  readonly method?: string
  readonly version?: string
}

/** The text of a request for a tunnel. */
export function connectTo({
  target,
  token,
  database = 'orders',
  host = target,
  more = [],
  method = 'CONNECT',
  version = '1.1',
}: Connect): string {
  return [
    `${method} ${target} HTTP/${version}`,
    `Host: ${host}`,
    ...(token === null ? [] : [`Proxy-Authorization: Bearer ${token}`]),
    `Steno-Database: ${database}`,
    ...more,
    newline,
  ].join(newline)
}

/** Says it from the pod's container `agent`, and after a tunnel opened what a database answers with one byte. */
export async function sayToRelay(
  namespace: string,
  attempts: readonly (Partial<RelayAttempt> & { name: string; text: string })[],
  pod = 'speaker',
) {
  const asked = attempts.map(({ name, text, ...more }): RelayAttempt => ({
    name,
    host: 'steno-relay.steno-system.svc',
    port: 8443,
    parts: [text, sslRequest],
    ...more,
  }))
  const printed = await inPod(namespace, 'agent', ['node', '/programs/ask-relay.ts'], JSON.stringify(asked), pod)
  const answers = new Map<string, RelayAnswer>()
  for (const line of printed.trim().split('\n')) {
    const answer = JSON.parse(line) as RelayAnswer
    answers.set(answer.name, answer)
  }
  return answers
}

/** `OPEN` when the database answered; a code of the relay; else the status line or the error. */
export function verdictOf({ texts, error }: RelayAnswer): string {
  const [head = '', first = ''] = texts
  if (head.startsWith('HTTP/1.1 200')) return first === 'S' || first === 'N' ? 'OPEN' : `200, then ${error ?? first}`
  return /"code":"([A-Z_]+)"/.exec(head)?.[1] ?? (head === '' ? (error ?? 'nothing') : head.split(newline)[0]!)
}

/** A token of the pod's ServiceAccount, bound to the pod, as its node's kubelet gets it. */
export async function tokenOf(world: World, namespace: string, pod: string, audience = 'steno-relay'): Promise<string> {
  const uid = await kubectl(['-n', namespace, 'get', 'pod', pod, '-o', 'jsonpath={.metadata.uid}'])
  const bound = ['--bound-object-kind=Pod', `--bound-object-name=${pod}`, `--bound-object-uid=${uid}`]
  const node = ['--as', `system:node:${world.places.node.name}`, '--as-group', 'system:nodes', '--as-group', 'system:authenticated']
  return (await kubectl(['-n', namespace, 'create', 'token', 'default', `--audience=${audience}`, ...bound, ...node])).trim()
}
