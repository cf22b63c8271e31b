/**
 * Control's public keys as the cluster itself has them, for `verify`: from the API server, not from the store that is to be verified, nor
 * from control, which writes there. As files, since that is what `--trust-control` takes.
 *
 * Source: AdmissionParameters `steno`, spec.controlPublicKeys, which the admission policies compare sidecars with.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { ClusterForbids, ObjectNotFound, StenoNotInstalled } from './errors.ts'
import { getObjects, type ContextOptions } from './kubectl-program.ts'

export type ControlKeys = AsyncDisposable & {
  readonly files: readonly string[]
  /** Why there are none; null when there are some. */
  readonly problem: string | null
}

/** @throws KubectlMissing, KubectlFailed */
export async function readControlKeys(options: ContextOptions): Promise<ControlKeys> {
  const { keys, problem } = await keysIn(options)
  if (keys.length === 0)
    return { files: [], problem: problem ?? 'the cluster has not noted any yet', [Symbol.asyncDispose]: () => Promise.resolve() }
  const folder = await mkdtemp(path.join(tmpdir(), 'steno-control-key-'))
  const files = keys.map((_, index) => path.join(folder, `control-${index + 1}.pem`))
  await Promise.all(files.map((file, index) => writeFile(file, keys[index]!)))
  return { files, problem: null, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) }
}

async function keysIn(options: ContextOptions): Promise<{ readonly keys: readonly string[]; readonly problem: string | null }> {
  type Parameters = { readonly spec?: { readonly controlPublicKeys?: readonly string[] } }
  try {
    const [parameters] = await getObjects<Parameters>(options, ['admissionparameters.steno.dev', 'steno'])
    return { keys: parameters?.spec?.controlPublicKeys ?? [], problem: null }
  } catch (error) {
    // What may be read differs between auditors; they can still name the key themselves.
    if (error instanceof ClusterForbids || error instanceof ObjectNotFound || error instanceof StenoNotInstalled)
      return { keys: [], problem: error.message }
    throw error
  }
}
