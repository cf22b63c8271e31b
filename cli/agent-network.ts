/** The option `--agent-network`: where agents' pods in mode Relay may go in any case, as JSON, for the chart gives lists of Kubernetes' own form. */
import { InvalidArgumentError, Option } from 'commander'
import { z } from 'zod'
import { networkAllow } from '../crds/network-allow.ts'
import { addressRange, portNumber } from '../crds/schema-parts.ts'
import { standardNetworkSettings, type NetworkSettings } from '../webhook/main.ts'

/** All but the namespace, which is steno's own. Absent fields are as `standardNetworkSettings` has them. */
export type AgentNetwork = Partial<Omit<NetworkSettings, 'stenoNamespace'>>

const form = z.strictObject({
  enabled: z.exactOptional(z.boolean()),
  // As in an egress rule: a peer that names nothing would open every way.
  dnsPeers: z.exactOptional(z.array(z.unknown()).min(1).max(16)),
  dnsPorts: z.exactOptional(z.array(portNumber('A port.')).min(1).max(8)),
  closedRanges: z.exactOptional(z.array(addressRange('A range.')).max(256)),
})

export function agentNetworkOption(): Option {
  return new Option(
    '--agent-network <json>',
    'where pods in mode Relay may go besides relay and control: {"enabled":true,"dnsPeers":[NetworkPolicyPeer],"dnsPorts":[53],"closedRanges":[CIDR]};\n' +
      'else the DNS of kube-system. "enabled":false takes away the NetworkPolicies that were made',
  ).argParser(parseAgentNetwork)
}

/** @throws InvalidArgumentError, which names the first fault */
export function parseAgentNetwork(json: string): AgentNetwork {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch {
    throw new InvalidArgumentError('It is no JSON.')
  }
  const { enabled, dnsPeers, dnsPorts, closedRanges } = checked(form, value)
  return {
    ...(enabled === undefined ? {} : { isEnabled: enabled }),
    ...(dnsPeers === undefined ? {} : { dnsPeers: checked(networkAllow, { to: dnsPeers }).to ?? [] }),
    ...(dnsPorts === undefined ? {} : { dnsPorts }),
    ...(closedRanges === undefined ? {} : { closedRanges }),
  }
}

export function networkSettings(stenoNamespace: string, given: AgentNetwork | undefined): NetworkSettings {
  return { ...standardNetworkSettings(stenoNamespace), ...given }
}

function checked<Value>(schema: z.ZodType<Value>, value: unknown): Value {
  const read = schema.safeParse(value)
  if (read.success) return read.data
  const [issue] = read.error.issues
  throw new InvalidArgumentError(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'it does not fit'}`)
}
