/**
 * What control knows of sidecars besides their recordings, put together: high-water marks, facts, and the loss of pods.
 *
 * `routes` belong into the server's table; `podGone` is for whoever watches pods. Until the pods are known nothing is taken for lost.
 */
import { Counter, Gauge } from 'prom-client'
import type { ClusterClient } from '../../cluster/client.ts'
import { createPodConditions } from './facts/pod-conditions.ts'
import { factsRoute } from './facts/route.ts'
import { createLosses, type LossTiming, type PodState } from './losses/losses.ts'
import { createMarkKeeper } from './marks/keep-marks.ts'
import { createMarkMemory, type MarkMemory } from './marks/mark-memory.ts'
import { markRoute } from './marks/route.ts'
import type { DescribePod } from './pod-description.ts'
import type { Route } from './routes.ts'
import type { ControlParts } from './start.ts'

export type Vanishing = {
  readonly routes: readonly Route[]
  /** The last mark of each recorder that was heard. */
  readonly marks: Pick<MarkMemory, 'values' | 'size'>
  /** The watch says that a pod is gone, or that none of its containers runs again. */
  podGone(pod: { readonly podUid: string }, why: 'pod-deleted' | 'pod-ended'): void
  /** Looks for recorders that vanished while nobody watched; also called by itself every ten minutes. Never throws. */
  sweep(): Promise<void>
  stop(): Promise<void>
}

export function createVanishing({
  parts: { stores, ownersOf, key, metrics, log },
  storeNames,
  podState,
  describePod,
  cluster,
  lossTiming,
}: {
  readonly parts: ControlParts
  readonly storeNames: () => readonly string[]
  readonly podState: PodState
  readonly describePod: DescribePod
  /** Null: facts become no conditions, and are not taken. */
  readonly cluster: Pick<ClusterClient, 'request'> | null
  readonly lossTiming?: LossTiming
}): Vanishing {
  const memory = createMarkMemory()
  const storeNamed = (name: string) => stores.named(name).store
  const keeper = createMarkKeeper({ memory, storeNamed, log })
  const registers = [metrics.registry]
  const lost = new Counter({ name: 'steno_control_recorders_lost_total', help: 'Recorders whose loss this control stated.', registers })
  const losses = createLosses({
    ...{ storeNames, storeNamed, memory, keeper, podState, key, log, onLoss: () => lost.inc() },
    nameInChain: (name, recorder, ledger) => ownersOf(stores.named(name)).nameLost(recorder, ledger),
    ...(lossTiming === undefined ? {} : { timing: lossTiming }),
  })
  const conditions = cluster === null ? null : createPodConditions({ cluster, log })
  const asked = (name: string, help: string, read: () => number): Gauge =>
    new Gauge({
      ...{ name, help, registers },
      collect() {
        this.set(read())
      },
    })
  asked('steno_control_marked_recorders', 'Recorders whose last high-water mark is in memory.', () => memory.size)
  asked('steno_control_mark_bytes', 'Bytes of these marks.', () => memory.bytes)
  asked(
    'steno_control_vanished_recorders_waiting',
    'Recorders whose pods are gone and whose ledgers are to be closed.',
    () => losses.waiting,
  )
  asked(
    'steno_control_pods_without_facts',
    'Pods that measured the way past their sidecar and have not reported for 45 s.',
    () => conditions?.silent ?? 0,
  )
  return {
    routes: [markRoute({ stores, ownersOf, memory, keeper }), ...(conditions === null ? [] : [factsRoute({ conditions, describePod })])],
    marks: memory,
    podGone(pod, why) {
      losses.podGone(pod, why)
      conditions?.gone(pod)
    },
    sweep: losses.sweep,
    async stop() {
      conditions?.stop()
      await losses.stop()
      await keeper.stop()
    },
  }
}
