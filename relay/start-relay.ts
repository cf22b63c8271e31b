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
import { startHealthServer } from '../cluster/health-server.ts'
import { NotIdentified } from '../cluster/identity/not-identified.ts'
import { createTokenReview } from '../cluster/identity/token-review.ts'
import { createLivePods } from '../cluster/live-pods.ts'
import { watchLiveWorld, type ClusterLiveWorld } from '../cluster/live-world.ts'
import { pause } from '../cluster/pause.ts'
import { watchInjectedPods } from '../cluster/pod-watch.ts'
import { watchPolicyWorld } from '../cluster/policy-world.ts'
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
  let isDraining = false
  let certificates: CertificateSource | null = null
  let server: RelayServer | null = null

  const policies = watchPolicyWorld(watching)
  const world = watchLiveWorld({ ...watching, world: policies, settings: { controlUrl, relayEndpoint, version: stenoVersion } })
  world.subscribe(() => server?.changed(null))
  const pods = watchInjectedPods({
    ...watching,
    onChange({ before, after }) {
      for (const uid of new Set([before?.uid, after?.uid])) if (uid !== undefined) server?.changed(uid)
    },
  })
  const { apiServerHost } = settings
  const addresses = watchClusterAddresses({ ...watching, namespace, apiServerHost, onChange: () => server?.changed(null) })
  const livePods = createLivePods<ClusterLiveWorld, LivePodVerdict>({
    ...{ cluster, pods, world: () => world.current(), judge: judgeLivePod },
    judgeAgain: judgeLivePodAgain,
  })

  const judgePod: JudgePod = async (identity) => {
    if (!addresses.isSynced()) throw new NotIdentified('CLUSTER_UNAVAILABLE', 'the addresses of the cluster are not read yet')
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
  const health = await startHealthServer({
    listen: settings.metricsListen,
    registry,
    reasonsNotReady: () => [
      ...(isDraining ? ['it is stopping'] : []),
      ...world.missing(),
      ...(pods.isSynced() ? [] : ['the pods of the cluster are not read yet']),
      ...(addresses.isSynced() ? [] : ['the addresses of the cluster are not read yet']),
      ...(server === null ? ['it does not listen yet'] : server.reasonsNotReady()),
    ],
  }).catch((error: unknown) => {
    endAll()
    throw error
  })

  try {
    const source = await openCertificates({ cluster, namespace, certificate: settings.certificate, log, signal: stopping.signal })
    certificates = source
    const { checkSourceAddress, drainMilliseconds, tunnelsMax, tunnelsPerPodMax, idleMillisecondsMax } = settings
    const serving = await startRelayServer({
      ...{ listen: settings.listen, certificates: source, registry, log, judgePod, checkSourceAddress, drainMilliseconds },
      reviewToken: createTokenReview(cluster, 'steno-relay'),
      resolveName: createNameResolver({ ownNamespace: namespace }),
      whatForbids: (forms) => whatForbids(forms, addresses),
      limits: { tunnelsMax, tunnelsPerPodMax, idleMillisecondsMax },
      connectTiming: { ...standardConnectTiming, allMilliseconds: settings.connectMillisecondsMax },
    })
    server = serving
    let stopped: Promise<void> | null = null
    const stopOnce = async (): Promise<void> => {
      isDraining = true
      await pause(settings.drainDelayMilliseconds, stopping.signal)
      await serving.stop()
      endAll()
      health.close()
    }
    return { port: serving.port, metricsPort: health.port, stop: () => (stopped ??= stopOnce()) }
  } catch (error) {
    endAll()
    health.close()
    throw error
  }
}
