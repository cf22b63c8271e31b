/**
 * Keeps the NetworkPolicies of opted-in namespaces as the SessionPolicies say: makes, repairs and takes away what is steno's.
 *
 * Steno's are those with its label and one of its names; every other NetworkPolicy stays as it is. Written by server-side apply, whole, so
 * that what somebody else put into one is put right. Of a policy that cannot be read the last stays. Holds a digest of each. In a namespace that
 * is being deleted none can be made any more; those that are still there are kept right, for its pods run on for a while.
 */
import type { Log } from '../../../base/log.ts'
import { canonicalJson, digestOf, type Json } from '../../../crds/canonical-json.ts'
import type { ClusterClient } from '../../../cluster/client.ts'
import { isNamespaceTerminating, isRefusal } from '../../../cluster/errors.ts'
import type { PolicyWorld } from '../../../cluster/policy-world.ts'
import { pathOf, resources } from '../../../cluster/resources.ts'
import { watchResource, type WatchTiming } from '../../../cluster/watch-resource.ts'
import type { EventRecorder } from '../event-recorder.ts'
import { createDatabaseAddresses, type LookUp } from './database-addresses.ts'
import {
  allowName,
  isOwnName,
  needsAddresses,
  networkPoliciesOf,
  openedDatabases,
  ownLabels,
  ownSelector,
  type NetworkPolicyObject,
} from './network-policies-of.ts'
import type { NetworkSettings } from './settings.ts'

export const fieldManager = 'steno'

/** How long a namespace goes without NetworkPolicies that is made again before the end of the one before was heard of. */
const terminatingMilliseconds = 30_000

export type KeptNetworkPolicies = {
  /**
   * Does what must be done for the namespace now. Gives the milliseconds after which to look again although nothing has changed, null when there is no
   * need. @throws ClusterRefused, ClusterUnreachable
   */
  keep(namespace: string): Promise<number | null>
  /** Databases that the policy's own address blocks open, as sentences. */
  openedBy(namespace: string, policy: string): readonly string[]
  /** Of policies that somebody else changed or deleted. */
  readonly repaired: number
}

type Kept = { readonly namespace: string; readonly name: string; readonly uid: string; readonly version: string; readonly digest: string }
/** What was written last; `version` is null while the answer is awaited. */
type Written = { readonly digest: string; readonly version: string | null }

export function keepNetworkPolicies(options: {
  readonly cluster: ClusterClient
  readonly world: PolicyWorld
  readonly settings: NetworkSettings
  readonly events: EventRecorder
  readonly lookUp?: LookUp
  readonly log: Log
  readonly timing?: Partial<WatchTiming>
  /** The namespace is to be kept. */
  readonly onChange: (namespace: string) => void
  readonly signal: AbortSignal
}): KeptNetworkPolicies {
  const { cluster, world, settings, events, log, onChange, signal } = options
  /** By `namespace/name`. */
  const written = new Map<string, Written>()
  /** Of those written: whom the watch has seen deleted since. */
  const deleted = new Set<string>()
  /** Namespaces in which nothing can be made, as was logged once. */
  const terminating = new Set<string>()
  let repaired = 0
  const watch = watchResource<Kept>({
    ...{ cluster, log },
    ...(options.timing === undefined ? {} : { timing: options.timing }),
    resource: resources.networkPolicies,
    labelSelector: ownSelector,
    keep: keptPolicy,
    onChange({ key, before, after }) {
      if (after === undefined && written.has(key)) deleted.add(key)
      onChange((after ?? before)?.namespace ?? '')
    },
  })
  const addresses = createDatabaseAddresses({
    ...(options.lookUp === undefined ? {} : { lookUp: options.lookUp }),
    log,
    onChange(host) {
      const concerned = [...world.sessionPolicies.values()].filter(({ policy }) =>
        policy?.spec.databases.some(({ hosts }) => hosts.includes(host)),
      )
      for (const namespace of new Set(concerned.map((kept) => kept.namespace ?? ''))) onChange(namespace)
    },
  })
  signal.addEventListener('abort', () => {
    watch.stop()
    void addresses.stop()
  })

  const policiesOf = (namespace: string) => [...world.sessionPolicies.values()].filter((kept) => kept.namespace === namespace)

  function wanted(namespace: string): NetworkPolicyObject[] {
    if (!settings.isEnabled || world.namespaces.get(namespace) === undefined) return []
    const policies = policiesOf(namespace).flatMap(({ uid, policy }) => (policy === null ? [] : [{ uid, policy }]))
    return networkPoliciesOf({ namespace, policies, settings, addressesOf: addresses.get })
  }

  async function apply(object: NetworkPolicyObject): Promise<void> {
    const { namespace, name } = object.metadata
    const key = `${namespace}/${name}`
    const digest = digestOfPolicy(object)
    const seen = watch.get(key)
    const before = written.get(key)
    if (seen?.digest === digest) {
      written.set(key, { digest, version: seen.version })
      return
    }
    const isNotOurs = seen === undefined ? deleted.has(key) : isNewer(seen.version, before?.version ?? null)
    const isRepair = before?.digest === digest && isNotOurs
    written.set(key, { digest, version: null })
    const made = await cluster.request<{ metadata?: { uid?: string; resourceVersion?: string } }>({
      method: 'PATCH',
      path: pathOf(resources.networkPolicies, { namespace, name }),
      query: { fieldManager, force: 'true' },
      patch: 'apply',
      body: object,
    })
    deleted.delete(key)
    written.set(key, { digest, version: made.metadata?.resourceVersion ?? '' })
    if (!isRepair) return
    repaired++
    log.warn({ namespace, name }, 'a NetworkPolicy that somebody changed or deleted was put right')
    events.tell({
      regarding: { resource: resources.networkPolicies, namespace, name, uid: made.metadata?.uid ?? '' },
      type: 'Warning',
      reason: seen === undefined ? 'PolicyPutBack' : 'PolicyPutRight',
      action: 'Repair',
      note: 'Somebody changed or deleted this NetworkPolicy, which keeps agents from ways past their recorder; steno put it back. What agents may reach besides is said in network.allow of their SessionPolicy.',
    })
  }

  async function remove({ namespace, name, uid }: Kept): Promise<void> {
    written.delete(`${namespace}/${name}`)
    try {
      await cluster.request({
        method: 'DELETE',
        path: pathOf(resources.networkPolicies, { namespace, name }),
        body: { preconditions: { uid } },
      })
    } catch (error) {
      if (!isRefusal(error, 'NotFound') && !isRefusal(error, 'Conflict')) throw error // Gone, or another by now; the watch says so too.
    }
  }

  /** What comes under its name again is another namespace: what was made in this one says nothing of that. */
  function forget(namespace: string): void {
    terminating.delete(namespace)
    for (const key of [...written.keys()].filter((name) => name.startsWith(`${namespace}/`))) {
      written.delete(key)
      deleted.delete(key)
    }
  }

  return {
    async keep(namespace) {
      await Promise.race([watch.synced, new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))])
      if (signal.aborted) return null
      if (world.namespaces.get(namespace) === undefined) forget(namespace)
      const objects = wanted(namespace)
      const names = objects.map(({ metadata }) => metadata.name)
      const unread = policiesOf(namespace).flatMap(({ policy, name }) => (policy === null ? [allowName(name)] : []))
      const isWanted = settings.isEnabled && world.namespaces.get(namespace) !== undefined
      let isTerminating = false
      for (const object of objects) {
        try {
          await apply(object)
        } catch (error) {
          if (!isNamespaceTerminating(error)) throw error
          isTerminating = true
        }
      }
      if (isTerminating && !terminating.has(namespace)) {
        terminating.add(namespace)
        log.info({ namespace }, 'the namespace is being deleted; NetworkPolicies that go are not made again')
      }
      for (const kept of [...watch.values()]) {
        if (kept.namespace !== namespace || !isOwnName(kept.name) || names.includes(kept.name)) continue
        if (isWanted && unread.includes(kept.name)) continue
        await remove(kept)
      }
      return isTerminating ? terminatingMilliseconds : null
    },
    openedBy(namespace, name) {
      const policies = policiesOf(namespace).flatMap(({ policy }) => policy ?? [])
      const policy = policies.find(({ metadata }) => metadata.name === name)
      if (policy === undefined || !needsAddresses(policy)) return []
      return openedDatabases(policy, policies, addresses.get)
    },
    get repaired() {
      return repaired
    },
  }
}

function keptPolicy(object: unknown): Kept {
  const { metadata } = object as { metadata?: { namespace?: string; name?: string; uid?: string; resourceVersion?: string } }
  const { namespace = '', name = '', uid = '', resourceVersion = '' } = metadata ?? {}
  return { namespace, name, uid, version: resourceVersion, digest: digestOfPolicy(object) }
}

/** Versions are numbers that rise; what is none is taken for another's. */
function isNewer(version: string, than: string | null): boolean {
  if (than === null) return false // It was never written, or is being written.
  return /^\d{1,20}$/.test(version) && /^\d{1,20}$/.test(than) ? BigInt(version) > BigInt(than) : version !== than
}

/** Of all that steno says in one. */
function digestOfPolicy(object: unknown): string {
  const { metadata = {}, spec } = object as {
    metadata?: { labels?: Record<string, string>; ownerReferences?: { uid?: string }[] }
    spec?: unknown
  }
  const labels = Object.keys(ownLabels).map((name) => metadata.labels?.[name] ?? '')
  const owners = (metadata.ownerReferences ?? []).map(({ uid = '' }) => uid).sort()
  return digestOf([canonicalJson((spec ?? null) as Json), ...labels, ...owners])
}
