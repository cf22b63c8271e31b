/**
 * Control as a whole: its certificate, its key, the RecordingStores of the cluster, and the server that sidecars hand recordings to.
 *
 * What it finds of the stores goes into their status, and a Lease says that it is still there to say so. Stop: readiness ends, then what is under way.
 */
import { Registry } from 'prom-client'
import type { Log } from '../base/log.ts'
import { recordingStoreSpec } from '../crds/recording-store.ts'
import type { CertificateSource } from '../cluster/certificates/certificates.ts'
import { openCluster } from '../cluster/client.ts'
import { pause } from '../cluster/pause.ts'
import { resources } from '../cluster/resources.ts'
import { isWatchedPod, watchInjectedPods, type WatchedPod } from '../cluster/pod-watch.ts'
import { watchResource, type Change } from '../cluster/watch-resource.ts'
import { controlKeySecret } from './control/control-key-secret.ts'
import { loadOrCreateControlKey } from './control/control-key.ts'
import { watchExemptions } from './control/break-glass/watch-exemptions.ts'
import type { ExemptionRecords } from './control/break-glass/exemptions.ts'
import { keepReporting } from './control-reports.ts'
import { createPodDescription } from './control/describe-pod.ts'
import { createPodState, isEnded } from './control/losses/pod-state.ts'
import { secretsOf } from './control/open-recording-store.ts'
import { startControlServer, type ControlServer } from './control/start.ts'
import { createPolicyStream, type PolicyStream } from './control/stream/route.ts'
import { watchForStream, type StreamWatch } from './control/stream/watch-stream.ts'
import type { StoreObject } from './control/stores.ts'
import { createVanishing, type Vanishing } from './control/vanishing.ts'
import { createTokenReview } from '../cluster/identity/token-review.ts'
import { startProcess } from '../cluster/process-life.ts'
import { openCertificates } from '../cluster/certificates/open-certificates.ts'
import type { ControlSettings } from './settings.ts'
import { createStoreStatusWriter } from './store-status.ts'
import { addProcessMetrics } from '../cluster/process-metrics.ts'

export type Control = {
  readonly port: number
  readonly readerPort: number | null
  readonly metricsPort: number
  /** Ends in good order; a second call has the same result. */
  stop(): Promise<void>
}

/** @throws KnownError for a cluster, certificate, key or address that cannot be used */
export async function startControl(settings: ControlSettings, log: Log): Promise<Control> {
  const { namespace, watchTiming } = settings
  const cluster = openCluster(settings)
  const stopping = new AbortController()
  const registry = new Registry()
  addProcessMetrics(registry)
  let certificates: CertificateSource | null = null
  let server: ControlServer | null = null
  let vanishing: Vanishing | null = null
  let exemptions: ExemptionRecords | null = null
  let streamWatch: StreamWatch | null = null
  let policyStream: PolicyStream | null = null
  const statuses = createStoreStatusWriter({ cluster, log })
  const recordingStores = watchResource<StoreObject>({
    ...{ cluster, log, ...(watchTiming === undefined ? {} : { timing: watchTiming }) },
    resource: resources.recordingStores,
    keep(object) {
      const { metadata, spec } = object as { metadata: StoreObject['metadata']; spec: unknown }
      return { metadata: { name: metadata.name, generation: metadata.generation }, spec: recordingStoreSpec.parse(spec) }
    },
    onChange({ before, after }) {
      if (before?.metadata.generation !== after?.metadata.generation) void server?.lookAtStores()
    },
  })

  const pods = watchInjectedPods({
    ...{ cluster, log, ...(watchTiming === undefined ? {} : { timing: watchTiming }) },
    onChange(change) {
      policyStream?.podChanged(change)
      if (vanishing !== null) tellOfPod(vanishing, change)
    },
  })

  const endAll = async (): Promise<void> => {
    stopping.abort()
    streamWatch?.stop()
    pods.stop()
    await vanishing?.stop()
    await exemptions?.stop()
    recordingStores.stop()
    certificates?.stop()
    await statuses.stop()
    cluster.close()
  }
  const reasonsNotReady = (): string[] => [
    ...(recordingStores.isSynced() ? [] : ['the RecordingStores of the cluster are not read yet']),
    ...(streamWatch?.isSynced() === true ? [] : ['the policies of the cluster are not read yet']),
    ...(server === null ? ['it does not listen yet'] : server.reasonsNotReady()),
  ]
  const life = await startProcess({ settings, registry, log, reasonsNotReady, endAll }, async () => {
    const source = await openCertificates({ cluster, namespace, certificate: settings.certificate, log, signal: stopping.signal })
    certificates = source
    const key = await loadOrCreateControlKey(controlKeySecret(cluster, namespace))
    const { controlUrl, relayEndpoint } = settings
    const watched = watchForStream({
      ...{ cluster, pods, key, controlUrl, relayEndpoint, log },
      ...(watchTiming === undefined ? {} : { timing: watchTiming }),
    })
    streamWatch = watched
    const describePod = createPodDescription(cluster, () => watched.liveWorld())
    const storeNames = (): string[] => [...recordingStores.values()].map(({ metadata }) => metadata.name)
    const serving = await startControlServer({
      ...{ listen: settings.listen, readerListen: settings.readerListen, certificates: source, key, registry, log },
      reviewToken: createTokenReview(cluster, 'steno-control'),
      describePod,
      ...(settings.limitAddresses === false ? { newcomerLimits: null, isWatched: (pod) => isWatchedPod(pods, pod) } : {}),
      routes(parts) {
        vanishing = createVanishing({ parts, storeNames, podState: createPodState(cluster), describePod, cluster })
        policyStream = createPolicyStream(parts, watched)
        exemptions = watchExemptions({
          ...{ parts, world: watched.world, cluster },
          storeNames: () => (recordingStores.isSynced() ? storeNames() : null),
        })
        return [...vanishing.routes, policyStream.route]
      },
      readSecret: secretsOf(cluster, namespace),
      stores: () => [...recordingStores.values()],
      onStatus: (status) => statuses.tell(status),
    })
    server = serving
    void sweepOnceSynced(
      () => recordingStores.isSynced(),
      stopping.signal,
      () => vanishing?.sweep(),
    )
    const { instance, reportTiming } = settings
    void keepReporting({
      ...{ cluster, namespace, instance, log, signal: stopping.signal, onBeat: statuses.repeat },
      ...(reportTiming === undefined ? {} : { timing: reportTiming }),
    })
    return serving
  })
  const { port, readerPort } = life.serving
  return { port, readerPort, metricsPort: life.metricsPort, stop: life.stop }
}

function tellOfPod(vanishing: Vanishing, { before, after }: Change<WatchedPod>): void {
  if (before !== undefined && before.uid !== after?.uid) vanishing.podGone({ podUid: before.uid }, 'pod-deleted')
  if (after !== undefined && isEnded(after.phase)) vanishing.podGone({ podUid: after.uid }, 'pod-ended')
}

const syncLookMilliseconds = 500

/** Which stores there are must be known first. */
async function sweepOnceSynced(isSynced: () => boolean, signal: AbortSignal, sweep: () => unknown): Promise<void> {
  while (!isSynced() && !signal.aborted) await pause(syncLookMilliseconds, signal)
  if (!signal.aborted) sweep()
}
