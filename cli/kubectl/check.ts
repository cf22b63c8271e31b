/** `kubectl steno check -f pod.yaml`: what would become of pods that are not there yet, and why; against the cluster or offline. */
import { Command } from 'commander'
import type { InjectionExplanation } from '../../injection/explain-injection.ts'
import { paletteFor, type Palette } from '../colour.ts'
import { BadUsage } from '../failure-report.ts'
import { printLines } from '../print-lines.ts'
import { safeJson } from '../search/statement-document.ts'
import { explanationLines, field, foretold, outcomeField, warningLines } from './describe.ts'
import { BadObjectFile, readDocuments, type Documents, type FoundPod } from './documents.ts'
import { ClusterForbids } from './errors.ts'
import { missingObjects } from './missing-objects.ts'
import { addClusterOptions, namespaceOf, type ClusterOptions } from './kubectl-program.ts'
import { explained, isOptedIn, offlineWorld, optInLabel, readWorld, type Labels, type PeopleWorld } from './world.ts'

type Options = ClusterOptions & { readonly filename: readonly string[]; readonly offline?: true; readonly json?: true }

export function checkCommand(): Command {
  const own = new Command('check')
    .summary('show what would become of pods and workloads, before they are applied')
    .description(
      'Shows what would become of pods and workloads, and why, before they are applied: by the policies of the cluster, and by those in the\n' +
        'files, which stand for those of the same name. With --offline by the files alone.',
    )
    .requiredOption(
      '-f, --filename <file>',
      'YAML or JSON with pods, workloads, policies, namespaces; a folder of such; `-` for standard input; repeat it for several',
      (file: string, all: readonly string[] | undefined) => [...(all ?? []), file],
    )
    .option('--offline', 'ask no cluster: a namespace counts as opted in unless a file says otherwise')
    .option('--json', 'one JSON object per pod')
    .addHelpText(
      'after',
      `
Examples:
  kubectl steno check -f deployment.yaml -n shop
  kubectl steno check --offline -f pod.yaml -f policy.yaml
  helm template shop ./chart | kubectl steno check -n shop -f -
  kubectl kustomize overlays/production | kubectl steno check -f - --json | jq -r .outcome

Applies nothing. What quotas, Pod Security and other webhooks say to the pod, only the cluster knows: kubectl apply --dry-run=server.
With --json each line is {what, namespace, isOptedIn, outcome, exemption, policy, listeners, moved, refusals, warnings, problems}.
Exit codes: 0 every pod would be admitted, 1 one would be refused, or the check failed, 2 used wrongly.`,
    )
    .action(run)
  return addClusterOptions(own)
}

async function run(options: Options): Promise<void> {
  const isOffline = options.offline === true
  if (isOffline && (options.context !== undefined || options.kubeconfig !== undefined))
    throw new BadUsage('--offline asks no cluster, so --context and --kubeconfig have no meaning with it')
  const usual = isOffline ? (options.namespace ?? 'default') : await namespaceOf(options)
  const documents = await readDocuments(options.filename, usual)
  const worlds = new Map<string, Promise<PeopleWorld>>()
  const worldOf = (namespace: string): Promise<PeopleWorld> => {
    const known = worlds.get(namespace) ?? (isOffline ? Promise.resolve(offlineWorld) : readWorld(options, namespace))
    worlds.set(namespace, known)
    return known
  }
  const colours = paletteFor(options)
  let first = true
  for (const found of documents.pods) {
    const namespace = found.namespace ?? usual
    const world = await worldOf(namespace)
    const foreseen = judge(found, { namespace, stenoNamespace: options.stenoNamespace }, world, documents)
    const missing = isOffline ? [] : await missingObjects(options, { namespace, pod: found.pod, foreseen, world, documents })
    const judged = { ...foreseen, problems: [...foreseen.problems, ...missing] }
    if (judged.explanation?.outcome === 'refused') process.exitCode = 1
    await printLines(options.json === true ? [safeJson(jsonOf(judged))] : [...(first ? [] : ['']), ...checkLines(judged, colours)])
    first = false
  }
}

export type Judged = {
  readonly what: string
  readonly namespace: string
  readonly isOptedIn: boolean
  /** Null in a namespace that is not opted in. */
  readonly explanation: InjectionExplanation | null
  readonly problems: readonly string[]
}

type Place = { readonly namespace: string; readonly stenoNamespace: string }

/** @throws BadObjectFile for a namespace that is nowhere, ClusterForbids when the namespace's policies may not be read */
export function judge({ what, pod }: FoundPod, { namespace, stenoNamespace }: Place, cluster: PeopleWorld, documents: Documents): Judged {
  const inFile = documents.namespaces.get(namespace)
  if (cluster.policies === null)
    throw new ClusterForbids(cluster.problems.join('; '), 'Ask for the right to list SessionPolicies there, or check with --offline.')
  if (inFile === undefined && cluster.namespaceLabels === null && !cluster.isNamespaceUnread)
    throw new BadObjectFile(`the cluster has no namespace ${namespace}, and no file makes it`)
  // As kubectl apply would leave them: labels of a file are added to those that are there.
  const namespaceLabels: Labels = {
    ...(inFile === undefined && cluster.isNamespaceUnread ? { [optInLabel]: 'enabled' } : {}),
    ...cluster.namespaceLabels,
    ...inFile,
    'kubernetes.io/metadata.name': namespace, // The API server gives it to each.
  }
  const world: PeopleWorld = {
    ...cluster,
    policies: replaced(cluster.policies, documents.policies),
    clusterPolicies: replaced(cluster.clusterPolicies, documents.clusterPolicies),
  }
  const optedIn = isOptedIn(namespaceLabels)
  const explanation = optedIn ? explained(pod, { namespace, namespaceLabels, stenoNamespace }, world) : null
  return {
    ...{ what, namespace, isOptedIn: optedIn, explanation },
    problems: [...world.problems, ...storeProblems(explanation, world), ...documents.warnings],
  }
}

/** A sidecar whose store is nowhere records into its spool until that is full. */
function storeProblems(explanation: InjectionExplanation | null, { stores }: PeopleWorld): string[] {
  const store = explanation?.policy?.store
  if (store === undefined || stores === null || stores.includes(store)) return []
  return [`the cluster has no RecordingStore ${store}; it has ${stores.length === 0 ? 'none' : stores.join(', ')}`]
}

type Named = { readonly metadata: { readonly name: string; readonly namespace?: string | undefined } }

/** Those of the cluster, but for each in a file that one. */
function replaced<Policy extends Named>(cluster: readonly Policy[], files: readonly Policy[]): Policy[] {
  const keyOf = ({ metadata }: Named): string => `${metadata.namespace ?? ''}/${metadata.name}`
  const given = new Set(files.map(keyOf))
  return [...cluster.filter((policy) => !given.has(keyOf(policy))), ...files]
}

export function jsonOf({ what, namespace, isOptedIn: optedIn, explanation, problems }: Judged): object {
  return { what, namespace, isOptedIn: optedIn, ...(explanation ?? { outcome: 'untouched' }), problems }
}

export function checkLines({ what, namespace, explanation, problems }: Judged, colours: Palette): string[] {
  const head = [field('Name', what), field('Namespace', namespace)]
  if (explanation === null)
    return [
      ...head,
      outcomeField({ text: 'left alone: the namespace is not opted in', severity: 'warning' }, colours),
      field('To opt in', `kubectl label namespace ${namespace} ${optInLabel}=enabled`),
      ...warningLines(problems, colours),
    ]
  return [
    ...head,
    outcomeField(foretold(explanation), colours),
    ...explanationLines(explanation, colours),
    ...warningLines(problems, colours),
  ]
}
