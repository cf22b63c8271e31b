/**
 * `kubectl steno explain POD`: the sidecar of a running pod, its policies and where they come from, and where the pod's credential went. Of a
 * workload each of its pods; where it has none, what would become of one, and why it has none as far as the workload says so.
 */
import type { V1Pod } from '@kubernetes/client-node'
import { Command } from 'commander'
import type { InjectionExplanation } from '../../injection/explain-injection.ts'
import { paletteFor, type Palette } from '../colour.ts'
import { BadUsage } from '../failure-report.ts'
import { printLines } from '../print-lines.ts'
import { parseWorkload, type Workload } from '../search/pod-owner.ts'
import { safeJson } from '../search/statement-document.ts'
import { printableLine } from '../text.ts'
import { explanationLines, field, isUnmatched, outcomeField, sidecarLines, warningLines, type Verdict } from './describe.ts'
import { checkLines, judge, jsonOf } from './check.ts'
import { ObjectNotFound } from './errors.ts'
import { addClusterOptions, getObjects, namespaceOf, type ClusterOptions } from './kubectl-program.ts'
import { sidecarFactsOf, type SidecarFacts } from './sidecar-facts.ts'
import { podsOfWorkload, refusalOf, templateOf, type WorkloadObject } from './workload-pods.ts'
import { explained, isOptedIn, readWorld, type PeopleWorld } from './world.ts'

type Options = ClusterOptions & { readonly json?: true }

export function explainCommand(): Command {
  const own = new Command('explain')
    .summary('show which policies a running pod has, and where its credential went')
    .description(
      'Shows the sidecar of a running pod: its state, which policies it was given, and where the credential went;\n' +
        'and whether it is the one that the pod would be given now.',
    )
    .argument('<pod>', 'the pod: NAME or pod/NAME; or a workload for its pods: deployment/NAME, job/NAME and so on')
    .argument('[name]', 'the name, when the kind stands before it by itself: pod NAME, deployment NAME')
    .option('--json', 'one JSON object per pod')
    .addHelpText(
      'after',
      `
Examples:
  kubectl steno explain agent-7d4 -n shop
  kubectl steno explain deployment/agent -n shop
  kubectl steno explain pod/agent-7d4 -n shop --json | jq -r .policy.hash

With --json each line is {namespace, pod, isOptedIn, terminatesAt, verdict, sidecar, outcome, exemption, policy, listeners, moved, refusals,
warnings, problems}; of a workload without pods one line {what, pod: null, notMade, …}.
Nothing of a Secret is read, and no value that stands in the pod is shown.
Exit codes: 0 explained, 1 failed, 2 used wrongly.`,
    )
    .action((pod: string, name: string | undefined, options: Options) =>
      run(wantedOf(name === undefined ? pod : `${pod}/${name}`), options),
    )
  return addClusterOptions(own)
}

type Wanted = { readonly kind: 'pod'; readonly name: string } | { readonly kind: 'workload'; readonly workload: Workload }

function wantedOf(text: string): Wanted {
  const workload = parseWorkload(text)
  if (workload !== null) return { kind: 'workload', workload }
  const name = text.replace(/^(?:pods?|po)\//, '')
  if (name === '' || name.includes('/') || name.startsWith('-'))
    throw new BadUsage(
      `explain takes a pod (NAME or pod/NAME) or a workload (deployment/NAME, replicaset, statefulset, daemonset, job, cronjob), not ${printableLine(text)}`,
    )
  return { kind: 'pod', name }
}

async function run(wanted: Wanted, options: Options): Promise<void> {
  const namespace = await namespaceOf(options)
  const [found, world] = await Promise.all([find(wanted, namespace, options), readWorld(options, namespace)])
  const { workload, pods } = found
  const colours = paletteFor(options)
  const isJson = options.json === true
  const refusal = workload === null ? null : refusalOf(workload)
  let first = true
  const print = async (lines: readonly string[]): Promise<void> => {
    await printLines(first || isJson ? lines : ['', ...lines])
    first = false
  }
  if (refusal !== null && !isJson) await print([field('Not made', refusal)])
  // What is about to go is told last.
  for (const pod of [...pods.filter((each) => !isTerminating(each)), ...pods.filter(isTerminating)]) {
    const told = tellOf(pod, { namespace, world, stenoNamespace: options.stenoNamespace })
    await print(isJson ? [safeJson(told.document)] : explainLines(told.shown, colours))
  }
  if (workload !== null && pods.length === 0) await print(withoutPods(wanted, workload, { namespace, world, options, refusal }))
}

type Around = { readonly namespace: string; readonly world: PeopleWorld; readonly options: Options; readonly refusal: string | null }

/** What would become of a pod that the workload makes. */
function withoutPods(wanted: Wanted, workload: WorkloadObject, { namespace, world, options, refusal }: Around): string[] {
  const pod = templateOf(workload)
  const what = wanted.kind === 'workload' ? `${wanted.workload.kind}/${wanted.workload.name}` : ''
  if (pod === null) return options.json === true ? [] : [`${what} has no pod, and no template for one`]
  const nothing = { pods: [], policies: [], clusterPolicies: [], namespaces: new Map(), objects: new Set<string>(), warnings: [] }
  const found = { what, namespace, pod }
  const judged = judge(found, { namespace, stenoNamespace: options.stenoNamespace }, world, nothing)
  return options.json === true
    ? [safeJson({ ...jsonOf(judged), pod: null, notMade: refusal })]
    : [`${what} has no pod. One that it makes now:`, ...checkLines(judged, paletteFor(options))]
}

async function find(
  wanted: Wanted,
  namespace: string,
  options: Options,
): Promise<{ readonly workload: WorkloadObject | null; readonly pods: readonly V1Pod[] }> {
  if (wanted.kind === 'workload') return podsOfWorkload(options, namespace, wanted.workload)
  try {
    return { workload: null, pods: await getObjects<V1Pod>(options, ['-n', namespace, 'pod', wanted.name]) }
  } catch (error) {
    if (!(error instanceof ObjectNotFound)) throw error
    throw new ObjectNotFound(
      error.message,
      `kubectl get pods -n ${namespace} has the names. A workload's pods: kubectl steno explain deployment/NAME, job/NAME and so on.`,
      error,
    )
  }
}

function tellOf(
  pod: V1Pod,
  { namespace, world, stenoNamespace }: { readonly namespace: string; readonly world: PeopleWorld; readonly stenoNamespace: string },
): { readonly document: object; readonly shown: Shown } {
  const name = pod.metadata?.name ?? ''
  const sidecar = sidecarFactsOf(pod)
  const { namespaceLabels, problems } = world
  const optedIn = namespaceLabels === null ? sidecar !== null : isOptedIn(namespaceLabels)
  const explanation = optedIn
    ? ofLivePod(explained(pod, { namespace, namespaceLabels: namespaceLabels ?? {}, stenoNamespace }, world))
    : null
  const hasEnded = ['Succeeded', 'Failed'].includes(pod.status?.phase ?? '')
  const terminatesAt = isTerminating(pod) ? String(pod.metadata?.deletionTimestamp) : null
  const verdict = verdictOf({ optedIn, sidecar, explanation, hasEnded, terminatesAt })
  return {
    document: { namespace, pod: name, isOptedIn: optedIn, terminatesAt, verdict, sidecar, ...explanation, problems },
    shown: { namespace, name, sidecar, explanation, verdict, problems },
  }
}

type Found = {
  readonly optedIn: boolean
  readonly sidecar: SidecarFacts | null
  /** Null when it cannot be said what the pod would be given now. */
  readonly explanation: InjectionExplanation | null
  /** Whether all containers of the pod have ended, as those of a finished Job's. */
  readonly hasEnded?: boolean
  /** Until when a pod that is being deleted has time (metadata.deletionTimestamp, RFC 3339); null for one that stays. */
  readonly terminatesAt?: string | null
}

function isTerminating({ metadata }: V1Pod): boolean {
  return metadata?.deletionTimestamp !== undefined
}

/** A sidecar that this release cannot read is of another one: that is for the verdict to say, and no reason to refuse a pod that runs. */
function ofLivePod(explanation: InjectionExplanation | null): InjectionExplanation | null {
  const isForeign = explanation?.outcome === 'refused' && explanation.refusals.every(({ rule }) => rule === 'SidecarUnusable')
  return explanation !== null && isForeign ? { ...explanation, outcome: 'injected', refusals: [] } : explanation
}

const makeAgain = 'make the pod again (kubectl rollout restart for workloads)'

/** What is to be said first. */
export function verdictOf({ terminatesAt = null, ...found }: Found): Verdict {
  if (terminatesAt === null) return verdictOfOneThatStays(found)
  // Its sidecar ends last, and that is no failure.
  const { text, severity } = verdictOfOneThatStays({ ...found, hasEnded: true })
  const until = text.replace(/; it has ended$/, '')
  return {
    text: `TERMINATING: it is being deleted, and gone by ${terminatesAt}; until then: ${until}`,
    severity: severity === 'good' ? 'warning' : severity,
  }
}

function verdictOfOneThatStays({ optedIn, sidecar, explanation, hasEnded = false }: Found): Verdict {
  if (!optedIn && sidecar === null) return { text: 'not of steno: its namespace is not opted in', severity: 'warning' }
  if (!optedIn) return { text: 'it has a sidecar, but its namespace is opted in no longer', severity: 'warning' }
  if (explanation !== null && explanation.exemption !== null && sidecar === null)
    return { text: 'exempt: it gets no sidecar', severity: 'warning' }
  if (sidecar === null)
    return { text: `BARE: it is older than the label, may hold its credential, and is not recorded; ${makeAgain}`, severity: 'bad' }
  if (!sidecar.isRunning && !hasEnded) return { text: `its sidecar does not run: ${sidecar.state}`, severity: 'bad' }
  if (sidecar.recorded?.status === 'False' && !hasEnded)
    return {
      text: `NOT STORED: its recordings do not reach the store (${sidecar.recorded.reason}); Recorded says why and what to do`,
      severity: 'bad',
    }
  if (explanation === null) return { text: 'it has a sidecar; whether it is current cannot be said', severity: 'warning' }
  if (explanation.outcome === 'refused' && explanation.exemption === null)
    return { text: 'it has a sidecar, but would be refused now', severity: 'bad' }
  if (explanation.exemption !== null) return { text: 'it has a sidecar, but is exempt now', severity: 'warning' }
  const unmatched = explanation.policy !== null && isUnmatched(explanation.policy)
  if (unmatched && sidecar.uses.length > 0)
    return {
      text: 'safe as it is, and no SessionPolicy matches it any more: made again it gets its credential back and is not recorded; make the policy first',
      severity: 'bad',
    }
  if (unmatched)
    return {
      text: 'NOT RECORDED: no SessionPolicy matches it, so it has the sidecar and no database, and keeps whatever credential it has; make the policy, then make the pod again',
      severity: explanation.warnings.length > 0 ? 'bad' : 'warning',
    }
  const { followed } = sidecar
  if (followed?.status === 'True' && followed.hash !== sidecar.hash && followed.hash === explanation.policy?.hash)
    return { text: 'current policy, made by an earlier one: its sidecar took it from control, and nothing is to be done', severity: 'good' }
  if (followed?.status === 'False' && followed.reason === 'Withdrawn')
    return { text: 'its sidecar opens no session: no policy was in force for it when it heard of one last', severity: 'bad' }
  if (followed?.status === 'False')
    return { text: `stale: it cannot go by its policies wholly (${followed.message}); ${makeAgain}`, severity: 'warning' }
  if (explanation.policy?.hash !== sidecar.hash)
    return { text: `stale: its sidecar has earlier policies than those of now; ${makeAgain}`, severity: 'warning' }
  if (explanation.outcome === 'injected')
    return {
      text: `its policies are current, its sidecar is of another release than the cluster's or this plugin; when the cluster's own is the wanted one (kubectl steno status), ${makeAgain}`,
      severity: 'warning',
    }
  const ended = hasEnded ? '; it has ended' : ''
  return { text: `current: exactly the sidecar that it would be given now${ended}`, severity: 'good' }
}

type Shown = Pick<Found, 'sidecar' | 'explanation'> & {
  readonly namespace: string
  readonly name: string
  readonly verdict: Verdict
  readonly problems: readonly string[]
}

export function explainLines({ namespace, name, sidecar, explanation, verdict, problems }: Shown, colours: Palette): string[] {
  return [
    field('Name', name),
    field('Namespace', namespace),
    outcomeField(verdict, colours),
    ...(sidecar === null ? [] : sidecarLines(sidecar)),
    ...(explanation === null ? [] : explanationLines(explanation, colours)),
    ...warningLines(problems, colours),
  ]
}
