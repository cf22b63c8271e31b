/**
 * Writes what control finds of each RecordingStore into its status, as the condition StoreReachable.
 *
 * Reconcile writes `Ready` beside it, so each write carries the version that it was decided on, and a conflict reads again.
 */
import type { Log } from '../base/log.ts'
import type { ClusterClient } from '../cluster/client.ts'
import { isRefusal } from '../cluster/errors.ts'
import { pathOf, resources } from '../cluster/resources.ts'
import type { StoreStatus } from './control/stores.ts'
import { isEqualJson, withFindings, type Condition, type Finding } from '../cluster/conditions.ts'
import { createWorkQueue } from '../cluster/work-queue.ts'

type StoreObject = {
  readonly metadata?: { readonly resourceVersion?: string; readonly generation?: number }
  readonly status?: { readonly conditions?: readonly Condition[]; readonly observedGeneration?: number }
}

export type StoreStatusWriter = {
  tell(status: StoreStatus): void
  /** Says again what was told last, where something else stands now. */
  repeat(): void
  stop(): Promise<void>
}

export function createStoreStatusWriter({
  cluster,
  log,
}: {
  readonly cluster: Pick<ClusterClient, 'request'>
  readonly log: Log
}): StoreStatusWriter {
  const latest = new Map<string, StoreStatus>()
  const queue = createWorkQueue({ concurrency: 2, log, work: write })

  async function write(name: string): Promise<void> {
    const status = latest.get(name)
    if (status === undefined) return
    try {
      const object = await cluster.request<StoreObject>({ method: 'GET', path: pathOf(resources.recordingStores, { name }) })
      const before = object.status?.conditions ?? []
      const now = new Date(status.since).toISOString().replace(/\.\d+Z$/, 'Z')
      const conditions = withFindings(before, [findingOf(status)], { generation: status.generation ?? undefined, now })
      if (isEqualJson(before, conditions)) return
      await cluster.request({
        method: 'PATCH',
        path: pathOf(resources.recordingStores, { name, subresource: 'status' }),
        patch: 'merge',
        body: { metadata: { resourceVersion: object.metadata?.resourceVersion }, status: { conditions } },
      })
    } catch (error) {
      if (!isRefusal(error, 'NotFound')) throw error
      latest.delete(name)
    }
  }

  return {
    tell(status) {
      latest.set(status.name, status)
      queue.add(status.name)
    },
    repeat() {
      for (const name of latest.keys()) queue.add(name)
    },
    stop: () => queue.stop(),
  }
}

function findingOf({ isReachable, reason, message }: StoreStatus): Finding {
  const status = isReachable === null ? 'Unknown' : isReachable ? 'True' : 'False'
  return { type: 'StoreReachable', status, reason, message }
}
