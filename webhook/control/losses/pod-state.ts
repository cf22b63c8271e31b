/** Whether a pod is still there, asked of the API server itself: a watch may be behind, or may leave a pod out. */
import type { ClusterClient } from '../../../cluster/client.ts'
import { ClusterRefused } from '../../../cluster/errors.ts'
import { pathOf, resources } from '../../../cluster/resources.ts'
import type { PodState } from './losses.ts'

const requestMillisecondsMax = 5_000

export function createPodState(cluster: Pick<ClusterClient, 'request'>): PodState {
  return async ({ podUid, podName, podNamespace }) => {
    try {
      const { metadata, status } = await cluster.request<{
        readonly metadata?: { readonly uid?: string }
        readonly status?: { readonly phase?: string }
      }>({
        method: 'GET',
        path: pathOf(resources.pods, { namespace: podNamespace, name: podName }),
        timeoutMilliseconds: requestMillisecondsMax,
      })
      if (metadata?.uid !== podUid) return 'gone'
      return isEnded(status?.phase) ? 'ended' : 'live'
    } catch (error) {
      if (error instanceof ClusterRefused && error.status === 404) return 'gone'
      throw error
    }
  }
}

/** PodStatus.phase of a pod none of whose containers runs again. */
export function isEnded(phase: string | undefined): boolean {
  return phase === 'Succeeded' || phase === 'Failed'
}
