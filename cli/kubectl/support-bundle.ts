/** `kubectl steno support-bundle`: what somebody who helps from afar has to see, in one archive, and no secret. */
import { gzipSync } from 'node:zlib'
import { Command } from 'commander'
import { stenoVersion } from '../../base/version.ts'
import { writeOutput } from '../export/output.ts'
import { BadUsage } from '../failure-report.ts'
import { printLines } from '../print-lines.ts'
import { safeJson } from '../search/statement-document.ts'
import { printableLine } from '../text.ts'
import { collect, ownLogLines, sidecarLogLines, type Collected } from './bundle/collect.ts'
import { assertClean, scrub } from './bundle/scrub.ts'
import { tarOf } from './bundle/tar.ts'
import { addClusterOptions, type ClusterOptions } from './kubectl-program.ts'

type Options = ClusterOptions & { readonly output?: string; readonly json?: true }

export function supportBundleCommand(): Command {
  const own = new Command('support-bundle')
    .summary('gather what helps to find a fault, without secrets, in one archive')
    .description(
      'Gathers into a tar.gz what somebody who helps has to see: versions, what steno runs with its logs and metrics, policies and stores, and of the\n' +
        'agents’ pods what their sidecars say of themselves. With --namespace the agents of that namespace alone, else those of all.',
    )
    .option('-o, --output <file>', 'the archive, `-` for standard output; steno-support-TIME.tar.gz when absent')
    .option('--json', 'say what is in it as one JSON object')
    .addHelpText(
      'after',
      `
Examples:
  kubectl steno support-bundle
  kubectl steno support-bundle -n shop -o shop.tar.gz
  kubectl steno support-bundle --json | jq -r '.files[].path'

Never in it: Secrets, ConfigMaps, values of variables, arguments of containers, statements and what databases answered, recordings. Of steno's own
pods the last ${ownLogLines.toLocaleString('en')} lines are taken, of each sidecar the log lines among its last ${sidecarLogLines}. What is written like a credential is replaced, and
looked for again: then nothing is written. Names of hosts, databases, Secrets, namespaces and pods are in it. Only you may read the file.
With --json it is one object {file, bytes, files, missing}, each file {path, bytes}, what is missing {what, why}.
Exit codes: 0 written (README.txt in it says what could not be read), 1 the cluster could not be asked or the file not be written, 2 used wrongly.`,
    )
    .action(run)
  return addClusterOptions(own)
}

async function run(options: Options): Promise<void> {
  const time = Date.now()
  const stamp = new Date(time).toISOString().replaceAll(/[-:]|\.\d+/g, '')
  const file = options.output ?? `steno-support-${stamp}.tar.gz`
  if (file === '-' && options.json === true) throw new BadUsage('--json and --output - would both write to standard output')
  const tell = (what: string): void => void (options.json === true || process.stderr.write(`${printableLine(what)}\n`))
  const scope = { context: options, stenoNamespace: options.stenoNamespace, namespace: options.namespace ?? null }
  const collected = await collect(scope, tell)
  const folder = `steno-support-${stamp}`
  const files = cleaned(collected, readme(collected, time)).map(({ path, text }) => ({
    path: `${folder}/${path}`,
    bytes: Buffer.from(text, 'utf8'),
  }))
  const archive = gzipSync(tarOf(files, time))
  await writeOutput(only(archive), file)
  if (options.json === true) {
    const listed = files.map(({ path, bytes }) => ({ path, bytes: bytes.length }))
    await printLines([
      safeJson({
        file,
        bytes: archive.length,
        files: listed,
        missing: collected.missing.map(({ what, why }) => ({ what, why: scrub(why) })),
      }),
    ])
    return
  }
  tell(`${files.length} files in ${file} (${Math.ceil(archive.length / 1024)} KiB)`)
  if (collected.missing.length > 0)
    tell(`${collected.missing.length} things could not be read or were left out: README.txt in it names them`)
}

/** In the order of their paths. @throws SupportBundleUnclean */
export function cleaned({ texts }: Pick<Collected, 'texts'>, about: string): { readonly path: string; readonly text: string }[] {
  const all = [...texts, ['README.txt', about] as const].sort(([a], [b]) => (a < b ? -1 : 1))
  return all.map(([path, text]) => {
    const scrubbed = scrub(text)
    assertClean(path, scrubbed)
    return { path, text: scrubbed }
  })
}

function readme({ missing }: Collected, time: number): string {
  return [
    `Support bundle of steno ${stenoVersion}, made at ${new Date(time).toISOString()} by kubectl steno support-bundle.`,
    '',
    'versions.json, nodes.json   Kubernetes',
    'steno/                      what steno runs: objects, logs, metrics, events, leases',
    'cluster/                    policies, stores, registrations, definitions',
    'agents/NAMESPACE/           of each pod with a sidecar its state and log lines; events and NetworkPolicies',
    '',
    'Without Secrets, values of variables, arguments, statements and recordings. Look through it before you hand it on.',
    '',
    missing.length === 0 ? 'Everything could be read.' : 'Not in it:',
    ...missing.map(({ what, why }) => `- ${what}: ${why.replaceAll(/\s+/g, ' ')}`),
    '',
  ].join('\n')
}

async function* only(bytes: Buffer): AsyncGenerator<Buffer> {
  yield await Promise.resolve(bytes)
}
