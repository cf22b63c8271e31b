/**
 * The rights of the ServiceAccounts that agents use, kept for a while and asked for again, one account after the other.
 *
 * Bounded: what is not used any more is forgotten; the more accounts there are, the longer each answer counts, so that the API server
 * gets at most about as many questions a second as one account has.
 */
import type { Log } from '../../base/log.ts'
import type { ClusterClient } from '../../cluster/client.ts'
import { pause } from '../../cluster/pause.ts'
import { rightsOf, type Rights } from './service-account-rights.ts'
import { createWorkQueue } from '../../cluster/work-queue.ts'

export type RightsKeeper = {
  /** Null until the API server has been asked; asks when it is to be asked. */
  get(namespace: string, account: string): Rights | null
  stop(): Promise<void>
}

/** Between two accounts. */
const spacingMilliseconds = 200
const perAccountMilliseconds = 1_000

export function createRightsKeeper(options: {
  readonly cluster: Pick<ClusterClient, 'request'>
  readonly log: Log
  readonly signal: AbortSignal
  readonly rightsMilliseconds: number
  /** Whether a pod that a policy is for runs under the account. */
  readonly isUsed: (namespace: string, account: string) => boolean
  /** Called when the answer is another than before. */
  readonly onJudged: (namespace: string, account: string) => void
}): RightsKeeper {
  const { cluster, log, signal, rightsMilliseconds, isUsed, onJudged } = options
  const known = new Map<string, Rights>()
  const queue = createWorkQueue({
    concurrency: 1,
    log,
    async work(key) {
      const [namespace = '', account = ''] = key.split('/')
      if (!isUsed(namespace, account)) {
        known.delete(key)
        return
      }
      const before = known.get(key)
      const rights = await rightsOf(cluster, namespace, account, signal)
      known.set(key, rights)
      if (JSON.stringify(before) !== JSON.stringify(rights)) onJudged(namespace, account)
      queue.add(key, Math.max(rightsMilliseconds, known.size * perAccountMilliseconds))
      await pause(spacingMilliseconds, signal)
    },
  })
  return {
    get(namespace, account) {
      const key = `${namespace}/${account}`
      const rights = known.get(key)
      if (rights === undefined && !queue.has(key)) queue.add(key)
      return rights ?? null
    },
    stop: () => queue.stop(),
  }
}
