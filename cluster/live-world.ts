/**
 * What running pods are judged by, gathered from the cluster: policies, opted-in namespaces, and the images and keys of AdmissionParameters.
 *
 * Gives the same object until something of it changes, so that who remembers verdicts can tell. Null until all of it has been read once, and
 * while there is no AdmissionParameters object or no key in it, and while one of its watches has been silent for too long (`heard.ts`): whoever
 * asks then must not guess. Holds what its watches hold.
 */
import type { Log } from '../base/log.ts'
import { admissionParametersName, type AdmissionParametersSpec } from '../crds/admission-parameters.ts'
import type { ClusterSessionPolicy } from '../crds/cluster-session-policy.ts'
import type { Labels } from '../crds/label-selector.ts'
import type { SessionPolicy } from '../crds/session-policy.ts'
import type { ClusterClient } from './client.ts'
import { areHeard } from './heard.ts'
import type { KeptPolicy, PolicyWorld } from './policy-world.ts'
import { resources } from './resources.ts'
import { watchResource, type WatchTiming } from './watch-resource.ts'

/** As injection/judge-live-pod.ts takes it. */
export type ClusterLiveWorld = {
  readonly namespaceLabels: ReadonlyMap<string, Labels>
  readonly policies: readonly SessionPolicy[]
  readonly clusterPolicies: readonly ClusterSessionPolicy[]
  readonly unreadable: ReadonlyMap<string, string>
  readonly images: readonly string[]
  readonly controlPublicKeys: readonly string[]
  readonly controlCas: readonly string[]
  readonly admissionsSignedSince: number | null
  readonly controlUrl: string
  readonly relayEndpoint: string
  readonly version: string
}

export type LiveWorldWatch = {
  current(): ClusterLiveWorld | null
  /** In words, what has not been read yet; while it is empty `current` is null only for as long as the API server is not heard. */
  missing(): string[]
  /** Told after each change of what `current` gives. Returns what ends it. */
  subscribe(listener: () => void): () => void
  /** Does not end the policy world that it was given. */
  stop(): void
}

export function watchLiveWorld(options: {
  readonly cluster: Pick<ClusterClient, 'request' | 'openStream'>
  readonly world: PolicyWorld
  readonly settings: Pick<ClusterLiveWorld, 'controlUrl' | 'relayEndpoint' | 'version'>
  /** Of control itself, which knows its key before the parameters do. PEM. */
  readonly ownKey?: string
  readonly log: Log
  readonly timing?: Partial<WatchTiming>
}): LiveWorldWatch {
  const { world, settings, ownKey } = options
  const listeners = new Set<() => void>()
  let current: ClusterLiveWorld | null = null
  const changed = (): void => {
    current = null
    for (const listener of listeners) listener()
  }
  const parameters = watchResource<Pick<ClusterLiveWorld, 'images' | 'controlPublicKeys' | 'controlCas' | 'admissionsSignedSince'>>({
    ...options,
    resource: resources.admissionParameters,
    fieldSelector: `metadata.name=${admissionParametersName}`,
    keep(object) {
      const { spec } = object as { spec?: Partial<AdmissionParametersSpec> }
      // A rollback puts `images` back to what it was, and pods of the release after live on.
      const images = new Set([...(spec?.images ?? []), ...(spec?.knownImages ?? [])])
      const { controlPublicKeys = [], controlCas = [], admissionsSignedSince } = spec ?? {}
      return { images: [...images], controlPublicKeys, controlCas, admissionsSignedSince: timeIn(admissionsSignedSince) }
    },
    onChange: changed,
  })
  const forget = world.subscribe(({ kind, change }) => {
    // Nobody is judged by the status of an object, which steno itself writes.
    const isStatus = 'generation' in (change.after ?? {}) && sameSpecification(change.before, change.after)
    if (kind !== 'RecordingStore' && !isStatus) changed()
  })

  function keys(): readonly string[] {
    const told = parameters.get(admissionParametersName)?.controlPublicKeys ?? []
    return ownKey === undefined || told.includes(ownKey) ? told : [...told, ownKey]
  }

  function missing(): string[] {
    const isRead = world.isSynced() && parameters.isSynced()
    if (!isRead) return ['the policies of the cluster are not read yet']
    if (parameters.get(admissionParametersName) === undefined) return [`there is no AdmissionParameters object ${admissionParametersName}`]
    return keys().length === 0 ? ['the key of control is not in the AdmissionParameters yet'] : []
  }

  function read(): ClusterLiveWorld {
    const unreadable = [...world.sessionPolicies.values(), ...world.clusterPolicies.values()].filter(({ problem }) => problem !== null)
    const namespaces = [...world.namespaces.values()]
    return {
      ...settings,
      namespaceLabels: new Map(namespaces.map(({ name, labels }) => [name, labels])),
      policies: readableOf(world.sessionPolicies.values()),
      clusterPolicies: readableOf(world.clusterPolicies.values()),
      unreadable: new Map(
        namespaces.flatMap(({ name }): [string, string][] => {
          const found = unreadable.find(({ namespace }) => namespace === undefined || namespace === name)
          return found === undefined ? [] : [[name, `${found.name}: ${found.problem ?? ''}`]]
        }),
      ),
      images: parameters.get(admissionParametersName)?.images ?? [],
      controlPublicKeys: keys(),
      controlCas: parameters.get(admissionParametersName)?.controlCas ?? [],
      admissionsSignedSince: parameters.get(admissionParametersName)?.admissionsSignedSince ?? null,
    }
  }

  return {
    current() {
      if (current === null && missing().length === 0) current = read()
      return areHeard([world.sessionPolicies, world.clusterPolicies, world.namespaces, parameters]) ? current : null
    },
    missing,
    subscribe(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    stop() {
      forget()
      parameters.stop()
    },
  }
}

/** One that cannot be read asks for the seal of every pod: it is closed rather than open. */
function timeIn(text: string | undefined): number | null {
  if (text === undefined) return null
  const time = Date.parse(text)
  return Number.isNaN(time) ? 0 : time
}

function readableOf<T extends SessionPolicy | ClusterSessionPolicy>(kept: Iterable<KeptPolicy<T>>): T[] {
  return [...kept].flatMap(({ policy }) => (policy === null ? [] : [policy]))
}

/** One that was made anew while nobody watched counts its generations from the beginning. */
function sameSpecification(before: unknown, after: unknown): boolean {
  const [one, other] = [before, after].map((object) => object as { uid?: string; generation?: number } | undefined)
  return one?.uid === other?.uid && one?.generation === other?.generation
}
