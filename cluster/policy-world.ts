/**
 * What the cluster says about policies, as every replica has it: SessionPolicies, ClusterSessionPolicies, opted-in namespaces, stores.
 *
 * Holds of these objects their specifications and what they are called; their sizes are bounded by the schemas. An object that the schema of this release does
 * not accept (the CustomResourceDefinitions may be of another release) is kept with its problem instead of its meaning.
 */
import type { ZodType } from 'zod'
import type { Log } from '../base/log.ts'
import { clusterSessionPolicySchema, type ClusterSessionPolicy } from '../crds/cluster-session-policy.ts'
import type { Labels } from '../crds/label-selector.ts'
import { sessionPolicySchema, type SessionPolicy } from '../crds/session-policy.ts'
import type { Condition } from './conditions.ts'
import type { ClusterClient } from './client.ts'
import { createExemptionEnds } from './exemption-ends.ts'
import { injectEnabled, injectLabel, resources } from './resources.ts'
import { watchResource, type Change, type ResourceWatch, type WatchTiming } from './watch-resource.ts'

/** The label of namespaces whose pods get the sidecar, as a selector. */
export const optedInSelector = `${injectLabel}=${injectEnabled}`

export type Status = {
  readonly observedGeneration?: number
  readonly conditions?: readonly Condition[]
  readonly pods?: Readonly<Record<string, number>>
}

/** An object with a status: what it is called, what it says, what was said of it. */
export type KeptObject = {
  readonly namespace: string | undefined
  readonly name: string
  readonly uid: string
  readonly generation: number | undefined
  readonly resourceVersion: string
  readonly status: Status
}

/** `policy` is null when it cannot be read; then `problem` says why. */
export type KeptPolicy<T> = KeptObject &
  ({ readonly policy: T; readonly problem: null } | { readonly policy: null; readonly problem: string })
export type KeptNamespace = { readonly name: string; readonly labels: Labels }

export type WorldChange =
  | { readonly kind: 'SessionPolicy'; readonly change: Change<KeptPolicy<SessionPolicy>> }
  | { readonly kind: 'ClusterSessionPolicy'; readonly change: Change<KeptPolicy<ClusterSessionPolicy>> }
  | { readonly kind: 'RecordingStore'; readonly change: Change<KeptObject> }
  | { readonly kind: 'Namespace'; readonly change: Change<KeptNamespace> }

export type PolicyWorld = {
  readonly sessionPolicies: ResourceWatch<KeptPolicy<SessionPolicy>>
  /** As they hold now: exemptions that have ended are not among them. */
  readonly clusterPolicies: ResourceWatch<KeptPolicy<ClusterSessionPolicy>>
  readonly recordingStores: ResourceWatch<KeptObject>
  readonly namespaces: ResourceWatch<KeptNamespace>
  readonly synced: Promise<void>
  isSynced(): boolean
  /** Returns what ends it. */
  subscribe(listener: (change: WorldChange) => void): () => void
  stop(): void
}

export function watchPolicyWorld(options: {
  readonly cluster: ClusterClient
  readonly log: Log
  readonly timing?: Partial<WatchTiming>
  /** Milliseconds since the epoch, by which exemptions end. */
  readonly wallClock?: () => number
}): PolicyWorld {
  const listeners = new Set<(change: WorldChange) => void>()
  const tell = (change: WorldChange): void => {
    for (const listener of listeners) listener(change)
  }
  const sessionPolicies = watchResource<KeptPolicy<SessionPolicy>>({
    ...options,
    resource: resources.sessionPolicies,
    keep: (object) => keptPolicy(object, sessionPolicySchema),
    onChange: (change) => tell({ kind: 'SessionPolicy', change }),
  })
  const ends = createExemptionEnds({
    tell: (change) => tell({ kind: 'ClusterSessionPolicy', change }),
    ...(options.wallClock === undefined ? {} : { wallClock: options.wallClock }),
  })
  const clusterPolicies = ends.over(
    watchResource<KeptPolicy<ClusterSessionPolicy>>({
      ...options,
      resource: resources.clusterSessionPolicies,
      keep: (object) => keptPolicy(object, clusterSessionPolicySchema),
      onChange: ends.changed,
    }),
  )
  const recordingStores = watchResource<KeptObject>({
    ...options,
    resource: resources.recordingStores,
    keep: keptObject,
    onChange: (change) => tell({ kind: 'RecordingStore', change }),
  })
  const namespaces = watchResource<KeptNamespace>({
    ...options,
    resource: resources.namespaces,
    labelSelector: optedInSelector,
    keep: (object) => {
      const { metadata } = object as { metadata?: { name?: string; labels?: Labels } }
      return { name: metadata?.name ?? '', labels: metadata?.labels ?? {} }
    },
    onChange: (change) => tell({ kind: 'Namespace', change }),
  })
  const all = [sessionPolicies, clusterPolicies, recordingStores, namespaces]
  return {
    ...{ sessionPolicies, clusterPolicies, recordingStores, namespaces },
    synced: Promise.all(all.map(({ synced }) => synced)).then(() => undefined),
    isSynced: () => all.every((watch) => watch.isSynced()),
    subscribe(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    stop() {
      for (const watch of all) watch.stop()
    },
  }
}

type RawObject = {
  readonly metadata?: {
    readonly name?: string
    readonly namespace?: string
    readonly uid?: string
    readonly generation?: number
    readonly resourceVersion?: string
    readonly managedFields?: unknown
  }
  readonly status?: Status
}

function keptObject(object: unknown): KeptObject {
  const { metadata, status } = object as RawObject
  return {
    namespace: metadata?.namespace,
    name: metadata?.name ?? '',
    uid: metadata?.uid ?? '',
    generation: metadata?.generation,
    resourceVersion: metadata?.resourceVersion ?? '',
    status: status ?? {},
  }
}

function keptPolicy<T>(object: unknown, schema: ZodType<T>): KeptPolicy<T> {
  const raw = object as RawObject
  const { name, namespace, uid, generation } = raw.metadata ?? {}
  // Annotations and the like mean nothing here, and may be a quarter of a MiB for each object that somebody makes.
  const asked: Record<string, unknown> = { ...raw, metadata: { name, ...(namespace === undefined ? {} : { namespace }), uid, generation } }
  delete asked['status'] // It was written by some release of steno, and decides nothing.
  const parsed = schema.safeParse(asked)
  if (parsed.success) return { ...keptObject(object), policy: parsed.data, problem: null }
  const [issue] = parsed.error.issues
  const problem = issue === undefined ? 'it does not fit the schema' : `${issue.path.join('.')}: ${issue.message}`
  return { ...keptObject(object), policy: null, problem }
}
