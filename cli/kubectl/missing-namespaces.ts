/**
 * A misspelt namespace must not look like one in which nothing happened. But recordings outlive the namespaces of their pods: one that the
 * cluster does not have (any more) counts as long as control attested a recorder of it.
 *
 * Reads one small object per recorder, and only when the cluster has no such namespace. Who may not ask for namespaces is told nothing.
 */
import { KnownError } from '../../base/errors.ts'
import { attestationsPrefix, nameOf } from '../../session/object-keys.ts'
import { findAttestation } from '../../session/attestation.ts'
import { inOrder } from '../../session/in-order.ts'
import { StoreUnavailable, type Store } from '../../session/stores/store.ts'
import { ClusterForbids, ObjectNotFound } from './errors.ts'
import { kubectl, type ContextOptions } from './kubectl-program.ts'

const readAtOnce = 16

/** Those of `names` that the cluster does not have. @throws KubectlMissing, KubectlFailed */
export async function missingNamespaces(options: ContextOptions, names: readonly string[]): Promise<string[]> {
  const missing = await Promise.all([...new Set(names)].map(async (name) => ((await isMissing(options, name)) ? [name] : [])))
  return missing.flat()
}

async function isMissing(options: ContextOptions, name: string): Promise<boolean> {
  try {
    await kubectl(options, ['get', 'namespace', name, '-o', 'name'])
    return false
  } catch (error) {
    if (error instanceof ObjectNotFound) return true
    if (error instanceof ClusterForbids) return false
    throw error
  }
}

/** Those of which nothing was recorded either. @throws StoreUnavailable */
export async function unrecordedNamespaces(store: Store, names: readonly string[]): Promise<string[]> {
  const left = new Set(names)
  async function* recorders(): AsyncGenerator<string> {
    for await (const { key } of store.list(attestationsPrefix)) {
      const name = nameOf(key)
      if (name.kind === 'attestation') yield name.recorder
    }
  }
  async function* namespaceOf(recorder: string): AsyncGenerator<string, void> {
    try {
      const attested = await findAttestation(store, recorder)
      if (attested !== null) yield attested.attestation.pod.podNamespace
    } catch (error) {
      if (!(error instanceof KnownError) || error instanceof StoreUnavailable) throw error
      // Damaged: of no use here; `verify` names it.
    }
  }
  for await (const namespace of inOrder(recorders(), readAtOnce, namespaceOf)) {
    left.delete(namespace)
    if (left.size === 0) break
  }
  return [...left]
}
