/**
 * What an admission in the cluster would know, put together from what a person may read: policies, labels of namespaces, and what the
 * release runs.
 *
 * Control's certificates and key are no secrets, but lie where people may not read; of a running pod they are taken from its own sidecar,
 * else they stand as a placeholder. Whether they are the right ones only the cluster can say. What RBAC forbids to read is named as a
 * problem, since it may change the result.
 */
import type { V1Pod } from '@kubernetes/client-node'
import { messageOf } from '../../base/errors.ts'
import { stenoVersion } from '../../base/version.ts'
import { readClusterSessionPolicy, readSessionPolicy } from '../../crds/read-object.ts'
import type { ClusterSessionPolicy } from '../../crds/cluster-session-policy.ts'
import type { SessionPolicy } from '../../crds/session-policy.ts'
import { withoutEnded } from '../../crds/exemption-end.ts'
import { explainInjection, type AdmissionWorld, type InjectionExplanation } from '../../injection/explain-injection.ts'
import { ObjectNotFound } from './errors.ts'
import { getIfAllowed, type ClusterOptions } from './kubectl-program.ts'

export type Labels = Readonly<Record<string, string>>

export type PeopleWorld = {
  /** Null when they may not be read: nothing can then be said of what a pod would be given. */
  readonly policies: readonly SessionPolicy[] | null
  readonly clusterPolicies: readonly ClusterSessionPolicy[]
  /** Null when the namespace is not there, or may not be read. */
  readonly namespaceLabels: Labels | null
  /** Whether it is that it may not be read, or was not asked for. */
  readonly isNamespaceUnread: boolean
  /** Null when it is not known what the release runs. */
  readonly image: string | null
  /** Names; null when they may not be read, or nobody was asked. */
  readonly stores: readonly string[] | null
  /** What could not be read, with why. */
  readonly problems: readonly string[]
}

export const offlineWorld: PeopleWorld = {
  policies: [],
  clusterPolicies: [],
  namespaceLabels: null,
  isNamespaceUnread: true,
  image: null,
  stores: null,
  problems: [],
}

export const optInLabel = 'steno.dev/inject'
export const sidecarName = 'steno'

export function isOptedIn(labels: Labels): boolean {
  return labels[optInLabel] === 'enabled'
}

/** As the cluster has it now. @throws KubectlMissing, KubectlFailed, StenoNotInstalled */
export async function readWorld(options: ClusterOptions, namespace: string): Promise<PeopleWorld> {
  const unread: (string | undefined)[] = []
  const ask = <Item>(at: number, without: string, args: readonly string[]): Promise<Item[] | null> =>
    getIfAllowed<Item>(options, args, (why) => void (unread[at] = `${without}: ${why}`))
  const [policies, clusterPolicies, parameters, labels, stores] = await Promise.all([
    ask<unknown>(0, 'without its policies nothing can be foretold', ['-n', namespace, 'sessionpolicies.steno.dev']),
    ask<unknown>(1, 'judged without the policies of the cluster', ['clustersessionpolicies.steno.dev']),
    missingIsNone(
      ask<{ spec?: { images?: string[] } }>(2, 'judged without knowing which image the cluster gives', [
        'admissionparameters.steno.dev',
        'steno',
      ]),
    ),
    missingIsNone(ask<{ metadata: { labels?: Labels } }>(3, 'taken as opted in without knowing its labels', ['namespace', namespace])),
    ask<{ metadata: { name: string } }>(4, 'judged without knowing which stores there are', ['recordingstores.steno.dev']),
  ])
  // In the order of the questions, not of the answers.
  const problems = unread.filter((problem) => problem !== undefined)
  const readable = <Read>(values: readonly unknown[], read: (value: unknown) => Read): Read[] =>
    values.flatMap((value) => {
      try {
        return [read(value)]
      } catch (error) {
        problems.push(messageOf(error))
        return []
      }
    })
  return {
    policies: policies === null ? null : readable(policies, readSessionPolicy),
    clusterPolicies: readable(clusterPolicies ?? [], readClusterSessionPolicy).map((policy) => withoutEnded(policy, Date.now())),
    namespaceLabels: labels?.[0] === undefined ? null : (labels[0].metadata.labels ?? {}),
    isNamespaceUnread: labels === null,
    image: parameters?.[0]?.spec?.images?.[0] ?? null,
    stores: stores?.map(({ metadata }) => metadata.name) ?? null,
    problems,
  }
}

async function missingIsNone<Item>(asked: Promise<Item[] | null>): Promise<Item[] | null> {
  try {
    return await asked
  } catch (error) {
    if (error instanceof ObjectNotFound) return []
    throw error
  }
}

/** What would happen to the pod in this world; null when its policies may not be read. */
export function explained(
  pod: V1Pod,
  {
    namespace,
    namespaceLabels,
    stenoNamespace,
  }: { readonly namespace: string; readonly namespaceLabels: Labels; readonly stenoNamespace: string },
  world: PeopleWorld,
): InjectionExplanation | null {
  if (world.policies === null) return null
  const own = pod.spec?.initContainers?.find(({ name }) => name === sidecarName)
  const told = (name: string): string => own?.env?.find((variable) => variable.name === name)?.value ?? 'known to the cluster'
  const admission: Omit<AdmissionWorld, 'namespaceLabels'> = {
    policies: world.policies,
    clusterPolicies: world.clusterPolicies,
    sidecarImage: world.image ?? own?.image ?? 'steno',
    controlUrl: `https://steno-control.${stenoNamespace}.svc:443`,
    relayEndpoint: `steno-relay.${stenoNamespace}.svc:8443`,
    controlCa: told('STENO_CONTROL_CA'),
    controlPublicKey: told('STENO_CONTROL_PUBLIC_KEY'),
    version: pod.metadata?.annotations?.['steno.dev/version'] ?? stenoVersion,
  }
  return explainInjection({ namespace, namespaceLabels, pod }, admission)
}
