/** `kubectl steno explain POD`: the sidecar of a running pod, its policies and where they come from, and where the pod's credential went. */
import type { V1Pod } from '@kubernetes/client-node'
import { Command, InvalidArgumentError } from 'commander'
import type { InjectionExplanation } from '../../injection/explain-injection.ts'
import { paletteFor, type Palette } from '../colour.ts'
import { printLines } from '../print-lines.ts'
import { safeJson } from '../search/statement-document.ts'
import { explanationLines, field, isUnmatched, outcomeField, sidecarLines, warningLines, type Verdict } from './describe.ts'
import { addClusterOptions, getObjects, namespaceOf, type ClusterOptions } from './kubectl-program.ts'
import { sidecarFactsOf, type SidecarFacts } from './sidecar-facts.ts'
import { explained, isOptedIn, readWorld } from './world.ts'

type Options = ClusterOptions & { readonly json?: true }

export function explainCommand(): Command {
  const own = new Command('explain')
    .summary('show which policies a running pod has, and where its credential went')
    .description(
      'Shows the sidecar of a running pod: its state, which policies it was given, and where the credential went;\n' +
        'and whether it is the one that the pod would be given now.',
    )
    .argument('<pod>', 'the pod: NAME or pod/NAME', podName)
    .option('--json', 'as one JSON object')
    .addHelpText(
      'after',
      `
Examples:
  kubectl steno explain agent-7d4 -n shop
  kubectl steno explain pod/agent-7d4 -n shop --json | jq -r .policy.hash

Nothing of a Secret is read, and no value that stands in the pod is shown.
Exit codes: 0 explained, 1 failed, 2 used wrongly.`,
    )
    .action(run)
  return addClusterOptions(own)
}

function podName(text: string): string {
  const name = text.replace(/^pods?\//, '')
  if (name === '' || name.includes('/') || name.startsWith('-'))
    throw new InvalidArgumentError(
      'It must be a pod: NAME or pod/NAME (kubectl get pods has those of a workload); `kubectl steno check -f` takes workloads.',
    )
  return name
}

async function run(name: string, options: Options): Promise<void> {
  const namespace = await namespaceOf(options)
  const [[pod], world] = await Promise.all([getObjects<V1Pod>(options, ['-n', namespace, 'pod', name]), readWorld(options, namespace)])
  if (pod === undefined) return
  const sidecar = sidecarFactsOf(pod)
  const { namespaceLabels, problems } = world
  const optedIn = namespaceLabels === null ? sidecar !== null : isOptedIn(namespaceLabels)
  const facts = { namespace, namespaceLabels: namespaceLabels ?? {}, stenoNamespace: options.stenoNamespace }
  const explanation = optedIn ? ofLivePod(explained(pod, facts, world)) : null
  const verdict = verdictOf({ optedIn, sidecar, explanation })
  if (options.json === true)
    return printLines([safeJson({ namespace, pod: name, isOptedIn: optedIn, verdict, sidecar, ...explanation, problems })])
  await printLines(explainLines({ namespace, name, sidecar, explanation, verdict, problems }, paletteFor(options)))
}

type Found = {
  readonly optedIn: boolean
  readonly sidecar: SidecarFacts | null
  /** Null when it cannot be said what the pod would be given now. */
  readonly explanation: InjectionExplanation | null
}

/** A sidecar that this release cannot read is of another one: that is for the verdict to say, and no reason to refuse a pod that runs. */
function ofLivePod(explanation: InjectionExplanation | null): InjectionExplanation | null {
  const isForeign = explanation?.outcome === 'refused' && explanation.refusals.every(({ rule }) => rule === 'SidecarUnusable')
  return explanation !== null && isForeign ? { ...explanation, outcome: 'injected', refusals: [] } : explanation
}

const makeAgain = 'make the pod again (kubectl rollout restart for workloads)'

/** What is to be said first. */
export function verdictOf({ optedIn, sidecar, explanation }: Found): Verdict {
  if (!optedIn && sidecar === null) return { text: 'not of steno: its namespace is not opted in', severity: 'warning' }
  if (!optedIn) return { text: 'it has a sidecar, but its namespace is opted in no longer', severity: 'warning' }
  if (explanation !== null && explanation.exemption !== null && sidecar === null)
    return { text: 'exempt: it gets no sidecar', severity: 'warning' }
  if (sidecar === null)
    return { text: `BARE: it is older than the label, may hold its credential, and is not recorded; ${makeAgain}`, severity: 'bad' }
  if (!sidecar.isRunning) return { text: `its sidecar does not run: ${sidecar.state}`, severity: 'bad' }
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
  if (explanation.policy?.hash !== sidecar.hash)
    return { text: `stale: its sidecar has earlier policies than those of now; ${makeAgain}`, severity: 'warning' }
  if (explanation.outcome === 'injected')
    return {
      text: `its policies are current, its sidecar is of another release than the cluster's or this plugin; when the cluster's own is the wanted one (kubectl steno status), ${makeAgain}`,
      severity: 'warning',
    }
  return { text: 'current: exactly the sidecar that it would be given now', severity: 'good' }
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
