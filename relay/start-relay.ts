/**
 * The relay as a whole: its certificate, what the cluster says of pods, policies and addresses, and the server.
 *
 * Stop: readiness ends, new tunnels are still opened until endpoints have forgotten this replica, then those that are open drain.
 */
import { Registry } from 'prom-client'
import type { Log } from '../base/log.ts'
import { stenoVersion } from '../base/version.ts'
import { openCertificates } from '../cluster/certificates/open-certificates.ts'
import type { CertificateSource } from '../cluster/certificates/certificates.ts'
import { openCluster } from '../cluster/client.ts'
import { NotIdentified } from '../cluster/identity/not-identified.ts'
import { createTokenReview } from '../cluster/identity/token-review.ts'
import { createLivePods } from '../cluster/live-pods.ts'
import { watchLiveWorld, type ClusterLiveWorld } from '../cluster/live-world.ts'
import { isWatchedPod, judgedAnew, watchInjectedPods } from '../cluster/pod-watch.ts'
import { watchPolicyWorld } from '../cluster/policy-world.ts'
import { startProcess } from '../cluster/process-life.ts'
import { addProcessMetrics } from '../cluster/process-metrics.ts'
import { clusterPoliciesFor } from '../crds/selection.ts'
import { judgeLivePod, judgeLivePodAgain, type LivePodVerdict } from '../injection/judge-live-pod.ts'
import { watchClusterAddresses } from './cluster-addresses.ts'
import { standardConnectTiming } from './connect-target.ts'
import { whatForbids } from './forbidden-addresses.ts'
import type { JudgePod } from './pod-verdict.ts'
import { startRelayServer, type RelayServer } from './relay-server.ts'
import { createNameResolver } from './resolve-name.ts'
import type { RelaySettings } from './settings.ts'

export type Relay = {
  readonly port: number
  readonly metricsPort: number
  /** Ends in good order; a second call has the same result. */
  stop(): Promise<void>
}

/** @throws KnownError for a cluster, certificate or address that cannot be used */
export async function startRelay(settings: RelaySettings, log: Log): Promise<Relay> {
  const { namespace, controlUrl, relayEndpoint, watchTiming } = settings
  const cluster = openCluster(settings)
  const watching = { cluster, log, ...(watchTiming === undefined ? {} : { timing: watchTiming }) }
  const stopping = new AbortController()
  const registry = new Registry()
  addProcessMetrics(registry)
  let certificates: CertificateSource | null = null
  let server: RelayServer | null = null

  const policies = watchPolicyWorld(watching)
  const world = watchLiveWorld({ ...watching, world: policies, settings: { controlUrl, relayEndpoint, version: stenoVersion } })
  world.subscribe(() => server?.changed(null))
  const pods = watchInjectedPods({
    ...watching,
    onChange(change) {
      for (const uid of judgedAnew(change)) server?.changed(uid)
    },
  })
  const { apiServerHost } = settings
  const addresses = watchClusterAddresses({ ...watching, namespace, apiServerHost, onChange: () => server?.changed(null) })
  const livePods = createLivePods<ClusterLiveWorld, LivePodVerdict>({
    ...{ cluster, pods, world: () => world.current(), judge: judgeLivePod },
    judgeAgain: judgeLivePodAgain,
  })

  const judgePod: JudgePod = async (identity) => {
    if (!addresses.isSynced() || !addresses.isHeard())
      throw new NotIdentified(
        'CLUSTER_UNAVAILABLE',
        'the addresses of the cluster are not read yet, or nothing was heard of them for too long',
      )
    const live = await livePods.look(identity)
    if ('kind' in live) return live
    const { verdict, podIPs } = live
    if (verdict.kind === 'unfit') return { kind: 'unfit', reason: `the pod is not fit: ${verdict.reason}` }
    const now = world.current()
    if (now === null) throw new NotIdentified('CLUSTER_UNAVAILABLE', 'the policies of the cluster are not read yet')
    const ofCluster = clusterPoliciesFor(now.namespaceLabels.get(live.namespace) ?? {}, now.clusterPolicies)
    return { kind: 'fit', podIPs, databases: verdict.policy.databases, ceilings: ofCluster.map(({ spec }) => spec.ceiling) }
  }

  const endAll = (): void => {
    stopping.abort()
    for (const watch of [world, policies, pods, addresses]) watch.stop()
    certificates?.stop()
    cluster.close()
  }
  const reasonsNotReady = (): string[] => [
    ...world.missing(),
    ...(pods.isSynced() ? [] : ['the pods of the cluster are not read yet']),
    ...(addresses.isSynced() ? [] : ['the addresses of the cluster are not read yet']),
    ...(server === null ? ['it does not listen yet'] : server.reasonsNotReady()),
  ]
  const life = await startProcess({ settings, registry, log, reasonsNotReady, endAll }, async () => {
    const source = await openCertificates({ cluster, namespace, certificate: settings.certificate, log, signal: stopping.signal })
    certificates = source
    const { checkSourceAddress, drainMilliseconds, tunnelsMax, tunnelsPerPodMax, idleMillisecondsMax } = settings
    const serving = await startRelayServer({
      ...{ listen: settings.listen, certificates: source, registry, log, judgePod, checkSourceAddress, drainMilliseconds },
      reviewToken: createTokenReview(cluster, 'steno-relay'),
      isWatched: checkSourceAddress ? null : (pod) => isWatchedPod(pods, pod),
      resolveName: createNameResolver({ ownNamespace: namespace }),
      whatForbids: (forms) => whatForbids(forms, addresses),
      limits: { tunnelsMax, tunnelsPerPodMax, idleMillisecondsMax },
      connectTiming: { ...standardConnectTiming, allMilliseconds: settings.connectMillisecondsMax },
    })
    server = serving
    return serving
  })
  return { port: life.serving.port, metricsPort: life.metricsPort, stop: life.stop }
}
