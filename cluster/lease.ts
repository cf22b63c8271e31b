/**
 * One leader among the replicas, by a Lease (coordination.k8s.io/v1): who holds it renews it, and who sees it not renewed takes it.
 *
 * As in client-go, no clock is compared with another machine's: a lease has run out when this replica has seen it unchanged for its
 * duration. A leader that cannot renew stops leading before others may begin (`renewMillisecondsMax` < the duration). That is a strong
 * habit, not a proof: a leader whose process stands still for longer than the duration may write once more when it wakes, so every write
 * of a leader must carry the resourceVersion that it was decided on.
 */
import { messageOf } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'
import type { Log } from '../base/log.ts'
import type { ClusterClient } from './client.ts'
import { isRefusal } from './errors.ts'
import { pause } from './pause.ts'
import { apiVersionOf, pathOf, resources } from './resources.ts'

export type LeaseTiming = {
  /** How long a lease holds without being renewed; whole seconds. */
  readonly durationMilliseconds: number
  /** A leader that has not renewed for so long stops leading. */
  readonly renewMillisecondsMax: number
  /** Between two looks at the lease, and two renewals. */
  readonly retryMilliseconds: number
}

export const standardLeaseTiming: LeaseTiming = { durationMilliseconds: 15_000, renewMillisecondsMax: 10_000, retryMilliseconds: 2_000 }

export type LeaseOptions = {
  readonly cluster: Pick<ClusterClient, 'request'>
  readonly namespace: string
  readonly name: string
  /** Of this replica; no two may have the same. */
  readonly identity: string
  /** Called each time this replica becomes the leader; `signal` is aborted when it is that no more. */
  readonly lead: (signal: AbortSignal) => void
  readonly log: Log
  readonly timing?: LeaseTiming
  /** Milliseconds of a clock that never goes back, and how to wait; tests have their own. */
  readonly now?: () => number
  readonly sleep?: (milliseconds: number, signal: AbortSignal) => Promise<void>
}

export type LeaderElection = {
  isLeader(): boolean
  /** Leads no more and says so in the lease, so that another begins at once. */
  stop(): Promise<void>
}

/** Of the own duration; a release before may have had a longer one. */
const durationsMax = 4

type Lease = {
  readonly metadata?: { readonly resourceVersion?: string }
  readonly spec?: {
    readonly holderIdentity?: string | null
    readonly leaseDurationSeconds?: number
    readonly acquireTime?: string
    readonly renewTime?: string
    readonly leaseTransitions?: number
  }
}

export function startLeaderElection(options: LeaseOptions): LeaderElection {
  const {
    cluster,
    namespace,
    name,
    identity,
    lead,
    log,
    timing = standardLeaseTiming,
    now = () => performance.now(),
    sleep = pause,
  } = options
  invariant(timing.renewMillisecondsMax < timing.durationMilliseconds, 'a leader stops before its lease has run out')
  const at = pathOf(resources.leases, { namespace, name })
  const stopping = new AbortController()
  let leading: AbortController | null = null
  let renewedAt = -Infinity
  let seen = { text: '', at: -Infinity }

  const body = (lease: Lease, spec: Lease['spec']): object => ({
    apiVersion: apiVersionOf(resources.leases),
    kind: resources.leases.kind,
    metadata: {
      name,
      namespace,
      ...(lease.metadata?.resourceVersion === undefined ? {} : { resourceVersion: lease.metadata.resourceVersion }),
    },
    spec,
  })
  const heldSpec = (before: Lease['spec'] = {}): Lease['spec'] => {
    const time = new Date().toISOString().replace('Z', '000Z') // MicroTime.
    const isOurs = before.holderIdentity === identity
    return {
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(timing.durationMilliseconds / 1000),
      acquireTime: isOurs ? (before.acquireTime ?? time) : time,
      renewTime: time,
      leaseTransitions: (before.leaseTransitions ?? 0) + (isOurs ? 0 : 1),
    }
  }
  /** As the lease says, within reason: what somebody wrote into it must neither keep all replicas from leading nor let two lead. */
  const durationOf = ({ spec }: Lease): number => {
    const said = (spec?.leaseDurationSeconds ?? 0) * 1000
    return Math.min(Math.max(said, timing.durationMilliseconds), durationsMax * timing.durationMilliseconds)
  }
  const timeoutMilliseconds = Math.max(timing.renewMillisecondsMax / 2, 1)

  /** True when the lease is ours now. */
  async function acquire(): Promise<boolean> {
    let lease: Lease
    try {
      lease = await cluster.request<Lease>({ method: 'GET', path: at, timeoutMilliseconds })
    } catch (error) {
      if (!isRefusal(error, 'NotFound')) throw error
      const path = pathOf(resources.leases, { namespace })
      await cluster.request({ method: 'POST', path, body: body({}, { ...heldSpec(), leaseTransitions: 0 }), timeoutMilliseconds })
      return true
    }
    const text = JSON.stringify(lease.spec ?? {})
    if (text !== seen.text) seen = { text, at: now() }
    const holder = lease.spec?.holderIdentity ?? ''
    if (holder !== '' && holder !== identity && now() - seen.at < durationOf(lease)) return false
    await cluster.request({ method: 'PUT', path: at, body: body(lease, heldSpec(lease.spec)), timeoutMilliseconds })
    return true
  }

  async function step(): Promise<void> {
    const askedAt = now()
    try {
      if (await acquire()) {
        renewedAt = askedAt // Others count from when they see it, which is later.
        if (leading === null && !stopping.signal.aborted) begin()
      } else end('another replica holds the lease')
    } catch (error) {
      const isRace = isRefusal(error, 'Conflict') || isRefusal(error, 'AlreadyExists')
      if (!isRace) log.warn({ lease: name, error: messageOf(error) }, 'the lease could not be read or renewed; trying again')
    }
  }

  function begin(): void {
    leading = new AbortController()
    log.info({ lease: name, identity }, 'leading')
    void endInTime(leading)
    lead(leading.signal)
  }

  /** A request that hangs must not keep a leader that cannot renew. */
  async function endInTime(term: AbortController): Promise<void> {
    while (!term.signal.aborted) {
      const left = renewedAt + timing.renewMillisecondsMax - now()
      if (left <= 0) return end('the lease could not be renewed in time')
      await sleep(left, term.signal)
    }
  }

  function end(reason: string): void {
    if (leading === null) return
    log.info({ lease: name, identity, reason }, 'leading no more')
    leading.abort()
    leading = null
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      await step()
      // Replicas that began together must not go on asking together.
      const wait = timing.retryMilliseconds * (leading === null ? 1 + Math.random() * 0.2 : 1)
      await sleep(wait, stopping.signal)
    }
  }

  const running = run()
  return {
    isLeader: () => leading !== null,
    async stop() {
      const wasLeader = leading !== null
      stopping.abort()
      end('this replica stops')
      await running
      if (!wasLeader) return
      try {
        const lease = await cluster.request<Lease>({ method: 'GET', path: at, timeoutMilliseconds })
        if (lease.spec?.holderIdentity !== identity) return
        const spec = { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1 }
        await cluster.request({ method: 'PUT', path: at, body: body(lease, spec), timeoutMilliseconds })
      } catch (error) {
        log.warn({ lease: name, error: messageOf(error) }, 'the lease could not be given back; it runs out by itself')
      }
    },
  }
}
