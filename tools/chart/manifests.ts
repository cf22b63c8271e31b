/**
 * Prints steno as plain YAML for `kubectl apply --server-side --filename -`, for those who use no helm; arguments are helm's (`--set`, `--values`).
 *
 * Definitions and the namespace come first, so that what needs them finds them. Helm's own labels are in it; its hooks are not. What an
 * upgrade by helm does beyond that (checking the definitions, keeping the image of before admitted) this does not.
 */
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { KnownError } from '../../base/errors.ts'
import { chartFolder, renderChart } from './helm.ts'

const namespace = `apiVersion: v1
kind: Namespace
metadata:
  name: steno-system
  labels:
    pod-security.kubernetes.io/enforce: restricted
`

/** @throws HelmMissing, HelmFailed */
export async function manifests(args: readonly string[]): Promise<string> {
  const folder = join(chartFolder, 'crds')
  const definitions = readdirSync(folder)
    .sort()
    .map((file) => readFileSync(join(folder, file), 'utf8'))
  const rendered = await renderChart(args)
  return [...definitions, namespace, rendered].map((text) => text.replace(/^---\n/, '').trimEnd()).join('\n---\n') + '\n'
}

if (import.meta.main) {
  try {
    process.stdout.write(await manifests(process.argv.slice(2)))
  } catch (error) {
    if (!(error instanceof KnownError)) throw error
    console.error(`manifests: ${error.code}: ${error.message}\n${error.remedy}`)
    process.exitCode = 1
  }
}
