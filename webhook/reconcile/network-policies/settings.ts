/** Where pods in mode Relay may go in any case, as the installation has it. Values only. */
import type { NetworkAllow } from '../../../crds/session-policy.ts'

export type NetworkPeer = NonNullable<NetworkAllow['to']>[number]

export type NetworkSettings = {
  /** False: NetworkPolicies that were made are taken away, and none is made. */
  readonly isEnabled: boolean
  /** Where the relay and control are. */
  readonly stenoNamespace: string
  /** The pods of the cluster's DNS, and where names are asked on each node (NodeLocal DNSCache: an ipBlock). */
  readonly dnsPeers: readonly NetworkPeer[]
  /** At those, of UDP and TCP. */
  readonly dnsPorts: readonly number[]
  /** Ranges that the preset `internet-https` leaves closed besides: the API server, where it is public, and the like. */
  readonly closedRanges: readonly string[]
}

/** Where relay and control listen in their pods. */
export const stenoPort = 8_443

export function standardNetworkSettings(stenoNamespace: string): NetworkSettings {
  return {
    isEnabled: true,
    stenoNamespace,
    dnsPeers: [
      {
        namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'kube-system' } },
        podSelector: { matchLabels: { 'k8s-app': 'kube-dns' } },
      },
    ],
    dnsPorts: [53],
    closedRanges: [],
  }
}
