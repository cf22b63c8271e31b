/**
 * The cluster, asked by kubectl: contexts, credential helpers and rights are its own.
 *
 * The program is that of the variable `KUBECTL`, else the one on PATH; which one runs this plugin is not to be known. Answers are bounded
 * in size and time.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { Option, type Command } from 'commander'
import { systemCodeOf } from '../../base/errors.ts'
import { colourChoices, type ColourOptions } from '../colour.ts'
import { commonOptionsHeading } from '../common-options.ts'
import { ClusterForbids, failureFrom, KubectlFailed, KubectlMissing } from './errors.ts'

const run = promisify(execFile)
/** About 50,000 pods. */
const answerBytesMax = 256 * 1024 * 1024
/** For one request to the API server; a list is made of several. */
const requestTimeout = '30s'
const millisecondsMax = 120_000

/** Which cluster, as kubectl's own options. */
export type ContextOptions = { readonly context?: string; readonly kubeconfig?: string }

export type ClusterOptions = ContextOptions & ColourOptions & { readonly namespace?: string; readonly stenoNamespace: string }

export const clusterHeading = 'Options of the cluster:'

export function clusterOptions(): Option[] {
  return [
    new Option('--context <name>', 'the context of the kubeconfig'),
    new Option('--kubeconfig <file>', 'the kubeconfig'),
    new Option('--steno-namespace <name>', 'where steno is installed').default('steno-system'),
  ].map((option) => option.helpGroup(clusterHeading))
}

/** For commands of the plugin's own. */
export function addClusterOptions(command: Command): Command {
  command.addOption(new Option('-n, --namespace <name>', "the namespace; the context's own when absent").helpGroup(clusterHeading))
  for (const option of clusterOptions()) command.addOption(option)
  return command.addOption(
    new Option('--color <when>', 'use colours').choices(colourChoices).default('auto').helpGroup(commonOptionsHeading),
  )
}

export function kubectlProgram(): string {
  return process.env['KUBECTL'] || 'kubectl'
}

export function kubectlMissing(cause?: unknown): KubectlMissing {
  return new KubectlMissing(`there is no program ${JSON.stringify(kubectlProgram())}`, { cause })
}

export function contextArguments({ context, kubeconfig }: ContextOptions): string[] {
  return [...(context === undefined ? [] : ['--context', context]), ...(kubeconfig === undefined ? [] : ['--kubeconfig', kubeconfig])]
}

/** Standard output. @throws KubectlMissing, KubectlFailed, ClusterForbids, ObjectNotFound, StenoNotInstalled */
export async function kubectl(options: ContextOptions, args: readonly string[]): Promise<string> {
  try {
    const all = [...contextArguments(options), `--request-timeout=${requestTimeout}`, ...args]
    const { stdout } = await run(kubectlProgram(), all, { maxBuffer: answerBytesMax, timeout: millisecondsMax })
    return stdout
  } catch (error) {
    const code = systemCodeOf(error)
    if (code === 'ENOENT' || code === 'EACCES') throw kubectlMissing(error)
    const asked = args.filter((arg) => arg !== '-o' && arg !== 'json').join(' ')
    if (error instanceof Error && 'killed' in error && error.killed === true)
      throw new KubectlFailed(
        `kubectl ${asked} did not end within ${millisecondsMax / 1000} s, or said too much`,
        'Is the API server well?',
        error,
      )
    throw failureFrom(error instanceof Error && 'stderr' in error ? String(error.stderr) : '', asked, error)
  }
}

/** The parsed answer of `kubectl get … -o json`: the items of a list, or the one object. @throws as `kubectl` */
export async function getObjects<Item>(options: ContextOptions, args: readonly string[]): Promise<Item[]> {
  const text = await kubectl(options, ['get', '-o', 'json', ...args])
  let parsed: { readonly items?: Item[] }
  try {
    parsed = JSON.parse(text) as { readonly items?: Item[] }
  } catch (cause) {
    throw new KubectlFailed(`kubectl get ${args.join(' ')} gave no JSON`, `Is ${kubectlProgram()} kubectl?`, cause)
  }
  return parsed.items ?? [parsed as Item]
}

/** What may be read; null and a sentence when RBAC forbids it. @throws as `kubectl`, but not ClusterForbids */
export async function getIfAllowed<Item>(
  options: ContextOptions,
  args: readonly string[],
  forbidden: (why: string) => void,
): Promise<Item[] | null> {
  try {
    return await getObjects<Item>(options, args)
  } catch (error) {
    if (!(error instanceof ClusterForbids)) throw error
    forbidden(error.message)
    return null
  }
}

/** The namespace asked for, else that of the context. @throws as `kubectl` */
export async function namespaceOf(options: ClusterOptions): Promise<string> {
  if (options.namespace !== undefined) return options.namespace
  const named = await kubectl(options, ['config', 'view', '--minify', '-o', 'jsonpath={..namespace}'])
  return named.trim() || 'default'
}
