/**
 * ConfigMaps and Secrets that a pod's sidecar would need and that the namespace does not have: the pod would be admitted, and never start.
 *
 * Looks only where RBAC lets it, and says nothing where it does not. Of Secrets it learns the names alone: kubectl's table of them is made by
 * the API server, which puts no value into it. Objects in the files that are checked count as there.
 */
import type { V1Pod } from '@kubernetes/client-node'
import type { SessionPolicy } from '../../crds/session-policy.ts'
import type { Judged } from './check.ts'
import type { Documents } from './documents.ts'
import { ClusterForbids, ObjectNotFound } from './errors.ts'
import { getObjects, kubectl, type ContextOptions } from './kubectl-program.ts'
import type { PeopleWorld } from './world.ts'

type Reference = {
  readonly kind: 'ConfigMap' | 'Secret'
  readonly name: string
  readonly key: string
  /** What names it. */
  readonly by: string
}

export type Foreseen = {
  readonly namespace: string
  readonly pod: V1Pod
  readonly foreseen: Judged
  readonly world: PeopleWorld
  readonly documents: Documents
}

/** A sentence for each that is missing. @throws KubectlMissing, KubectlFailed */
export async function missingObjects(
  options: ContextOptions,
  { namespace, pod, foreseen: { explanation }, world, documents }: Foreseen,
): Promise<string[]> {
  if (explanation === null || explanation.policy === null || explanation.outcome === 'refused') return []
  const sources = new Set(explanation.policy.sources)
  // Of the same name those in the files stand for those of the cluster.
  const policies = new Map([...(world.policies ?? []), ...documents.policies].map((policy) => [nameOf(policy), policy]))
  const used = new Set(explanation.listeners.map(({ database }) => database))
  const references = [
    ...[...policies.values()].filter((policy) => sources.has(nameOf(policy))).flatMap((policy) => authoritiesOf(policy, used)),
    ...explanation.moved.flatMap(({ container, variable }) => readBy(pod, container, variable)),
  ].filter(({ kind, name }) => !documents.objects.has(`${kind}/${namespace}/${name}`))
  const unique = new Map(references.map((reference) => [`${reference.kind}/${reference.name}/${reference.key}`, reference]))
  const told = await Promise.all([...unique.values()].map((reference) => faultOf(options, namespace, reference)))
  return told.filter((fault) => fault !== null)
}

function nameOf({ metadata }: SessionPolicy): string {
  return `${metadata.namespace}/${metadata.name}`
}

function authoritiesOf({ spec }: SessionPolicy, used: ReadonlySet<string>): Reference[] {
  return spec.databases.flatMap<Reference>(({ name: database, tls: { ca } }) => {
    const by = `tls.ca of database ${database}`
    if (!used.has(database) || ca === undefined) return []
    if (ca.configMapKeyRef !== undefined) return [{ kind: 'ConfigMap', by, ...ca.configMapKeyRef }]
    return ca.secretKeyRef === undefined ? [] : [{ kind: 'Secret', by, ...ca.secretKeyRef }]
  })
}

/** What the variable was read from before it was moved. */
function readBy({ spec }: V1Pod, container: string, variable: string): Reference[] {
  const found = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])].find(({ name }) => name === container)
  const { secretKeyRef, configMapKeyRef } = found?.env?.find(({ name }) => name === variable)?.valueFrom ?? {}
  const by = `${variable} of container ${container}`
  const references = [['Secret', secretKeyRef] as const, ['ConfigMap', configMapKeyRef] as const]
  return references.flatMap<Reference>(([kind, reference]) =>
    reference?.name === undefined || reference.optional === true ? [] : [{ kind, by, name: reference.name, key: reference.key }],
  )
}

async function faultOf(options: ContextOptions, namespace: string, { kind, name, key, by }: Reference): Promise<string | null> {
  try {
    if (kind === 'Secret') {
      await kubectl(options, ['get', '-n', namespace, 'secret', name, '--no-headers'])
      return null
    }
    const [map] = await getObjects<{ readonly data?: object; readonly binaryData?: object }>(options, ['-n', namespace, 'configmap', name])
    const keys = Object.keys({ ...map?.data, ...map?.binaryData })
    return keys.includes(key) ? null : `ConfigMap ${name} has no key ${key}, which ${by} names: the pod will not start`
  } catch (error) {
    if (error instanceof ClusterForbids) return null
    if (error instanceof ObjectNotFound) return `the namespace has no ${kind} ${name}, which ${by} names: the pod will not start`
    throw error
  }
}
