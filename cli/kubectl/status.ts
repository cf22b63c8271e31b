/** `kubectl steno status`: what is not as it should be, then the state of policies, stores and of steno itself. */
import { Command } from 'commander'
import { paletteFor, type Palette } from '../colour.ts'
import { BadUsage } from '../failure-report.ts'
import { printLines } from '../print-lines.ts'
import { safeJson } from '../search/statement-document.ts'
import { printableLine } from '../text.ts'
import { policyCondition, recordingCondition } from '../../cluster/pod-watch.ts'
import type { InjectedPod, Maker } from './agent-concerns.ts'
import { ClusterForbids, ObjectNotFound } from './errors.ts'
import { addClusterOptions, getIfAllowed, kubectl, namespaceOf, type ClusterOptions } from './kubectl-program.ts'
import {
  concernsOf,
  conditionOf,
  nameOf,
  readiness,
  usedStores,
  type Concern,
  type Deployment,
  type OwnPod,
  type Reported,
  type ReportedPolicy,
  type StatusFacts,
} from './status-report.ts'
import { refusedWorkloads, type CreateEvent, type Workload } from './refused-workloads.ts'
import { table } from './table.ts'
import { optInLabel, sidecarName } from './world.ts'

type Options = ClusterOptions & { readonly allNamespaces?: true; readonly json?: true }

const optInValue = 'enabled'
/** Values by which somebody says no. */
const noLabels: readonly string[] = [optInValue, 'disabled', '']
const ofSteno = 'app.kubernetes.io/name=steno'

export function statusCommand(): Command {
  const own = new Command('status')
    .summary('show what is not as it should be, then policies, pods, stores and steno itself')
    .description(
      'Shows what is not as it should be, each with its remedy; then what steno runs, and what each policy and store says of itself.\n' +
        'Steno and policies of the cluster are looked at in any case; SessionPolicies, and the stores that they record to, in one namespace\n' +
        'or with -A in all.',
    )
    .option('-A, --all-namespaces', 'SessionPolicies of all namespaces')
    .option('--json', 'as one JSON object')
    .addHelpText(
      'after',
      `
Examples:
  kubectl steno status -n shop
  kubectl steno status -A
  kubectl steno status -A --json | jq -r '.concerns[] | select(.severity == "error") | .what'

With --json it is one object {ready, concerns, namespace, deployments, policies, clusterPolicies, stores, injectedPods, …}; each concern is
{severity, what, message, remedy} with severity error, warning or note; what may not be read is null, and unread says why.
Exit codes: 0 nothing is wrong (there may be warnings), 1 something is, or the cluster could not be asked, 2 used wrongly.`,
    )
    .action(run)
  return addClusterOptions(own)
}

async function run(options: Options): Promise<void> {
  if (options.allNamespaces === true && options.namespace !== undefined)
    throw new BadUsage('--all-namespaces and --namespace contradict each other')
  const facts = await readFacts(options, options.allNamespaces === true ? null : await namespaceOf(options))
  const concerns = concernsOf(facts)
  const isWell = concerns.every(({ severity }) => severity !== 'error')
  if (!isWell) process.exitCode = 1
  await printLines(
    options.json === true ? [safeJson({ ready: isWell, concerns, ...facts })] : statusLines(facts, concerns, paletteFor(options)),
  )
}

/** `namespace` is null for all. @throws KubectlMissing, KubectlFailed, StenoNotInstalled, ClusterForbids when nothing may be read */
async function readFacts(options: Options, namespace: string | null): Promise<StatusFacts> {
  const unread: string[] = []
  const get = <Item>(...args: string[]): Promise<Item[] | null> => getIfAllowed<Item>(options, args, (why) => void unread.push(why))
  const scope = namespace === null ? ['-A'] : ['-n', namespace]
  const own = ['-n', options.stenoNamespace]
  const [deployments, pods, webhooks, bindings, policies, clusterPolicies, stores, namespaces, injectedPods, replicaSets, refused, images] =
    await Promise.all([
      get<Deployment>(...own, 'deployments', '-l', ofSteno),
      get<OwnPod>(...own, 'pods', '-l', ofSteno),
      get<unknown>('mutatingwebhookconfigurations', '-l', ofSteno),
      get<unknown>('validatingadmissionpolicybindings', '-l', ofSteno),
      get<ReportedPolicy>(...scope, 'sessionpolicies.steno.dev'),
      get<Reported>('clustersessionpolicies.steno.dev'),
      get<Reported>('recordingstores.steno.dev'),
      labelledNamespaces(options, namespace, (why) => void unread.push(why)),
      get<InjectedPod>(...scope, 'pods', '-l', 'steno.dev/injected=true'),
      get<Maker>(...scope, 'replicasets.apps'),
      readRefused(get, scope),
      readImages(options),
    ])
  if ([deployments, policies, stores].every((read) => read === null))
    throw new ClusterForbids(
      `you may read nothing of steno in this cluster: ${unread.join('; ')}`,
      'Ask for the right to list SessionPolicies in your namespace, or RecordingStores and Deployments of steno.',
    )
  return {
    ...{ stenoNamespace: options.stenoNamespace, namespace },
    ...{ deployments, pods, policies, clusterPolicies, stores },
    ...namespaces,
    // What is shown of them is that something is wrong; who asks for JSON need not be given all of each.
    injectedPods: injectedPods?.map(outlineOf) ?? null,
    replicaSets:
      replicaSets?.filter(isFailing).map(({ metadata: { name, namespace: of = '' }, status }) => ({
        metadata: { name, namespace: of },
        status: { conditions: status?.conditions ?? [] },
      })) ?? null,
    refusedWorkloads: refused,
    images,
    unread: unread.toSorted((a, b) => (a < b ? -1 : 1)), // The answers come in any order.
    isWebhookRegistered: webhooks === null ? null : webhooks.length > 0,
    isGuarded: bindings === null ? null : bindings.length > 0,
  }
}

type Get = <Item>(...args: string[]) => Promise<Item[] | null>

/** One list each, whatever there is; events that tell of a refusal only. */
async function readRefused(get: Get, scope: readonly string[]): Promise<StatusFacts['refusedWorkloads']> {
  const [Job, StatefulSet, DaemonSet, events] = await Promise.all([
    get<Workload>(...scope, 'jobs.batch'),
    get<Workload>(...scope, 'statefulsets.apps'),
    get<Workload>(...scope, 'daemonsets.apps'),
    get<CreateEvent>(...scope, 'events', '--field-selector', 'reason=FailedCreate'),
  ])
  if (Job === null || StatefulSet === null || DaemonSet === null || events === null) return null
  return refusedWorkloads({ Job, StatefulSet, DaemonSet }, events)
}

/** Null when they may not be read, which is no concern: who has one namespace alone may not. */
async function readImages(options: Options): Promise<StatusFacts['images']> {
  type Parameters = { readonly spec?: { readonly images?: readonly string[]; readonly knownImages?: readonly string[] } }
  const found = await getIfAllowed<Parameters>(options, ['admissionparameters.steno.dev'], () => undefined)
  const { images = [], knownImages = [] } = found?.[0]?.spec ?? {}
  return found === null ? null : { current: images, known: knownImages }
}

function isFailing({ status }: Maker): boolean {
  return status?.conditions?.some(({ type, status: is }) => type === 'ReplicaFailure' && is === 'True') === true
}

function outlineOf({ metadata, spec, status }: InjectedPod): InjectedPod {
  const { name, namespace, deletionTimestamp, annotations } = metadata
  const policy = annotations?.['steno.dev/policy']
  const sidecars = (status?.initContainerStatuses ?? []).filter((container) => container.name === sidecarName)
  return {
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
      ...(policy === undefined ? {} : { annotations: { 'steno.dev/policy': policy } }),
    },
    spec: {
      initContainers: (spec?.initContainers ?? []).flatMap(({ name: own, image = '' }) =>
        own === sidecarName ? [{ name: own, image }] : [],
      ),
    },
    status: {
      ...(status?.phase === undefined ? {} : { phase: status.phase }),
      conditions: (status?.conditions ?? []).filter(({ type }) => type === recordingCondition || type === policyCondition),
      initContainerStatuses: sidecars,
    },
  }
}

type Namespaces = Pick<StatusFacts, 'optedIn' | 'mislabelled' | 'missingNamespace'>

/** Names and the label alone: a cluster may have thousands. */
async function labelledNamespaces(options: Options, namespace: string | null, forbidden: (why: string) => void): Promise<Namespaces> {
  try {
    const output = ['-o', 'jsonpath={range .items[*]}{.metadata.name}{"\\t"}{.metadata.labels.steno\\.dev/inject}{"\\n"}{end}']
    const lines = (await kubectl(options, ['get', 'namespaces', '-l', optInLabel, ...output])).split('\n').filter(Boolean)
    const all = lines.map((line) => line.split('\t')).map(([name = '', value = '']) => ({ name, value }))
    const asked = all.filter(({ name }) => namespace === null || name === namespace)
    return {
      optedIn: asked.filter(({ value }) => value === optInValue).map(({ name }) => name),
      mislabelled: Object.fromEntries(asked.filter(({ value }) => !noLabels.includes(value)).map(({ name, value }) => [name, value])),
      missingNamespace: namespace !== null && asked.length === 0 && (await isMissing(options, namespace)) ? namespace : null,
    }
  } catch (error) {
    if (!(error instanceof ClusterForbids)) throw error
    // Somebody who has one namespace alone sees in its policies whether it is opted in.
    if (namespace === null) forbidden(error.message)
    return { optedIn: null, mislabelled: {}, missingNamespace: null }
  }
}

async function isMissing(options: Options, namespace: string): Promise<boolean> {
  try {
    await kubectl(options, ['get', 'namespace', namespace, '-o', 'name'])
    return false
  } catch (error) {
    if (error instanceof ObjectNotFound) return true
    throw error
  }
}

export function statusLines(facts: StatusFacts, concerns: readonly Concern[], colours: Palette): string[] {
  const { deployments, policies, clusterPolicies, namespace } = facts
  const stores = namespace === null ? facts.stores : usedStores(facts)
  const judged = [...(policies ?? []), ...(clusterPolicies ?? [])]
  const sections = [
    concernLines(concerns, colours),
    table(
      ['COMPONENT', 'READY', 'IMAGE'],
      (deployments ?? []).map((deployment) => {
        const { ready, wanted } = readiness(deployment)
        return [deployment.metadata.name, `${ready}/${wanted}`, deployment.spec.template.spec.containers[0]?.image ?? '']
      }),
    ),
    table(
      ['POLICY', 'READY', 'PODS', 'INJECTED', 'STALE', 'BARE', 'STORE', 'RECORDED', 'CREDENTIALS', 'EGRESS'],
      judged.map((policy) => {
        const { pods } = policy.status ?? {}
        const counts = (['matched', 'injected', 'stale', 'bare'] as const).map((count) => (pods === undefined ? '-' : String(pods[count])))
        const isOfCluster = policy.metadata.namespace === undefined
        const conditions = ['StoreReachable', 'RecordingStored', 'CredentialsIsolated', 'EgressEnforced'].map((type) =>
          isOfCluster ? '-' : shown(policy, type),
        )
        return [isOfCluster ? `${nameOf(policy)} (cluster)` : nameOf(policy), shown(policy, 'Ready'), ...counts, ...conditions]
      }),
    ),
    table(
      ['STORE', 'READY', 'REACHABLE'],
      (stores ?? []).map((store) => [nameOf(store), shown(store, 'Ready'), shown(store, 'StoreReachable')]),
    ),
  ].filter((lines) => lines.length > 0)
  return sections.flatMap((lines, index) => (index === 0 ? lines : ['', ...lines]))
}

function concernLines(concerns: readonly Concern[], colours: Palette): string[] {
  const paints = { error: colours.red, warning: colours.yellow, note: colours.dim }
  const lines = concerns.flatMap(({ severity, what, message, remedy }) => [
    `${paints[severity](severity.toUpperCase().padEnd(8))} ${colours.bold(printableLine(what))}: ${printableLine(message)}`,
    ...(remedy === null ? [] : [`         ${printableLine(remedy)}`]),
  ])
  if (concerns.some(({ severity }) => severity === 'error')) return lines
  const warnings = concerns.filter(({ severity }) => severity === 'warning').length
  return warnings === 0
    ? [colours.green('Everything that was looked at is as it should be.'), ...lines]
    : [colours.yellow(`No errors; ${warnings === 1 ? '1 warning' : `${warnings} warnings`}.`), ...lines]
}

/** The condition as kubectl shows columns: its status, and when that is not True why. */
function shown(object: Reported, type: string): string {
  const condition = conditionOf(object, type)
  if (condition === undefined) return 'Unknown'
  return condition.status === 'True' ? 'True' : `${condition.status} (${condition.reason})`
}
