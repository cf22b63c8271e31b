/**
 * Prints steno as plain YAML for `kubectl apply --server-side --filename -`, for those who use no helm; arguments are helm's (`--set`, `--values`).
 *
 * Definitions and the namespace come first, so that what needs them finds them. Helm's own labels are in it; its hooks are not. What an
 * upgrade by helm does beyond that (checking the definitions, keeping the image of before admitted) this does not. Nor does it know since when
 * pods have had seals: without that value it warns, on standard error.
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

/** What to say of manifests that take the start of sealing from this machine's clock; null when they were given it. */
export function warningOf(rendered: string): string | null {
  const [, given = '', since = ''] = /^((?:\s*#.*\n)*)\s*admissionsSignedSince: "([^"]*)"$/m.exec(rendered) ?? []
  if (!given.includes('admissionPolicies.signedSince')) return null
  return [
    `admissionPolicies.signedSince is not given: this rendering takes ${since}, by this machine's clock, and the next one takes another.`,
    'Pods that are made before that time need no seal of the webhook. Once this is applied, render with the same time for ever after:',
    `HELM_ARGUMENTS="--set-string admissionPolicies.signedSince=${since} …" (docs/install-kubernetes.md).`,
  ].join('\n')
}

if (import.meta.main) {
  try {
    const rendered = await manifests(process.argv.slice(2))
    const warning = warningOf(rendered)
    if (warning !== null) console.error(`manifests: ${warning}`)
    process.stdout.write(rendered)
  } catch (error) {
    if (!(error instanceof KnownError)) throw error
    console.error(`manifests: ${error.code}: ${error.message}\n${error.remedy}`)
    process.exitCode = 1
  }
}
