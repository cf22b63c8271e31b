/**
 * The stream in a cluster: policies, namespaces and pods by their watches, and each pod judged as the relay judges it.
 */
import type { ClusterClient } from '../../../cluster/client.ts'
import { createLivePods } from '../../../cluster/live-pods.ts'
import { watchLiveWorld } from '../../../cluster/live-world.ts'
import type { PodWatch } from '../../../cluster/pod-watch.ts'
import { watchPolicyWorld, type PolicyWorld } from '../../../cluster/policy-world.ts'
import type { WatchTiming } from '../../../cluster/watch-resource.ts'
import type { Log } from '../../../base/log.ts'
import { stenoVersion } from '../../../base/version.ts'
import { judgeLivePod, judgeLivePodAgain, type LivePodVerdict, type LiveWorld } from '../../../injection/judge-live-pod.ts'
import type { ControlKey } from '../control-key.ts'
import { createPolicyIndex, highestOf, type PolicyIndex } from './policy-index.ts'
import type { JudgePod } from './route.ts'

export type StreamWatch = {
  readonly index: PolicyIndex
  readonly podsVersion: () => bigint
  /** For whoever else goes by the policies of the cluster. */
  readonly world: Pick<PolicyWorld, 'clusterPolicies' | 'subscribe' | 'isSynced'>
  readonly judgePod: JudgePod
  /** What pods are judged by; null while it is not known. */
  liveWorld(): LiveWorld | null
  isSynced(): boolean
  stop(): void
}

export function watchForStream(options: {
  readonly cluster: ClusterClient
  readonly pods: PodWatch
  readonly key: Pick<ControlKey, 'publicKeyPem'>
  readonly controlUrl: string
  readonly relayEndpoint: string
  readonly log: Log
  readonly timing?: Partial<WatchTiming>
}): StreamWatch {
  const { cluster, pods, key, controlUrl, relayEndpoint, log } = options
  const timing = options.timing === undefined ? {} : { timing: options.timing }
  const world = watchPolicyWorld({ cluster, log, ...timing })
  const settings = { controlUrl, relayEndpoint, version: stenoVersion }
  const live = watchLiveWorld({ cluster, world, settings, ownKey: key.publicKeyPem, log, ...timing })
  const livePods = createLivePods<LiveWorld, LivePodVerdict>({
    ...{ cluster, pods, judge: judgeLivePod, judgeAgain: judgeLivePodAgain },
    world: () => live.current(),
  })
  const index = createPolicyIndex(world)
  return {
    index,
    world,
    podsVersion: () => highestOf([pods.version]),
    async judgePod(identity, atLeast) {
      const found = await livePods.look(identity, atLeast)
      if ('kind' in found) return found
      const { verdict, labels, resourceVersion } = found
      if (verdict.kind === 'fit') return { kind: 'fit', labels, resourceVersion }
      return verdict.by === 'policies' ? { kind: 'withdrawn', labels, resourceVersion } : verdict
    },
    liveWorld: () => live.current(),
    isSynced: () => world.isSynced(),
    stop() {
      index.stop()
      live.stop()
      world.stop()
    },
  }
}
