/**
 * What a SessionPolicy lets pods reach besides their databases: presets, and egress rules as a NetworkPolicy writes them (networking.k8s.io/v1).
 *
 * Every entry names its peers: one that names none would open every way.
 */
import { z } from 'zod'
import { addressRange, labelSelector, list, portNumber, withRules } from './schema-parts.ts'

const networkPort = withRules(
  z.object({
    protocol: z.enum(['TCP', 'UDP', 'SCTP']).default('TCP').meta({ description: 'The protocol.' }),
    port: z.exactOptional(
      z
        .union([z.int().min(1).max(65_535), z.string().min(1).max(63)])
        .meta({ description: 'A port, by number or by the name a container gives it; absent: all.', 'x-kubernetes-int-or-string': true }),
    ),
    endPort: z.exactOptional(portNumber('The last port of a range that begins at `port`.')),
  }),
  [
    {
      rule: '!has(self.endPort) || (has(self.port) && type(self.port) == int && int(self.port) <= self.endPort)',
      message: 'endPort needs a numeric port that is not above it: give `port` as a number, or remove endPort',
      holds: ({ port, endPort }) => endPort === undefined || (typeof port === 'number' && port <= endPort),
    },
  ],
)

const networkPeer = withRules(
  z.object({
    ipBlock: z.exactOptional(
      z
        .object({
          cidr: addressRange('The range.'),
          except: z.exactOptional(list(addressRange('A range within `cidr`.'), { itemsMax: 8 }, 'Ranges that stay closed.')),
        })
        .meta({ description: 'Addresses outside the cluster.' }),
    ),
    namespaceSelector: z.exactOptional(labelSelector('Namespaces whose pods may be reached.')),
    podSelector: z.exactOptional(labelSelector('Pods that may be reached.')),
  }),
  [
    {
      rule: 'has(self.ipBlock) ? !has(self.namespaceSelector) && !has(self.podSelector) : has(self.namespaceSelector) || has(self.podSelector)',
      message: 'a peer is either an ipBlock, or a namespaceSelector, a podSelector or both: split it into two peers, or fill the empty one',
      holds: ({ ipBlock, namespaceSelector, podSelector }) =>
        (ipBlock !== undefined) !== (namespaceSelector !== undefined || podSelector !== undefined),
    },
  ],
)

export const networkAllow = withRules(
  z.object({
    preset: z.exactOptional(
      z.enum(['internet-https']).meta({
        description: '`internet-https`: port 443 of every public address; private ranges and the addresses of the databases stay closed.',
      }),
    ),
    to: z.exactOptional(list(networkPeer, { itemsMin: 1, itemsMax: 16 }, 'Where to, as in an egress rule of a NetworkPolicy.')),
    ports: z.exactOptional(list(networkPort, { itemsMax: 32 }, 'Which ports there, as in an egress rule of a NetworkPolicy; absent: all.')),
  }),
  [
    {
      rule: 'has(self.preset) ? !has(self.to) && !has(self.ports) : has(self.to)',
      message: 'an entry is either a preset, or `to` with or without `ports`: a rule without `to` would open every way, so name the peers',
      holds: ({ preset, to, ports }) => (preset === undefined ? to !== undefined : to === undefined && ports === undefined),
    },
  ],
)

export type NetworkAllow = z.output<typeof networkAllow>
