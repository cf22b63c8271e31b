/**
 * `kubectl steno probe`: from a place in the cluster that is not the relay, would the databases of a policy talk to whoever is there?
 *
 * Makes a pod for it, with the rights of who calls, and takes it away again. Whether a database that does not answer is alive is taken from
 * what sidecars measured: condition EgressEnforced of the policy. Not known: other places than the one that was asked from.
 */
import { randomBytes } from 'node:crypto'
import { Command } from 'commander'
import { messageOf } from '../../base/errors.ts'
import { hostMatches } from '../../crds/host-pattern.ts'
import { readSessionPolicy } from '../../crds/read-object.ts'
import type { SessionPolicy } from '../../crds/session-policy.ts'
import { paletteFor } from '../colour.ts'
import { BadUsage } from '../failure-report.ts'
import { databaseNamesMax, type Probed, type ProbeRequest, type ProbeTarget } from '../probe/probe-targets.ts'
import { printLines } from '../print-lines.ts'
import { safeJson } from '../search/statement-document.ts'
import { ClusterForbids, ObjectNotFound } from './errors.ts'
import { addClusterOptions, getIfAllowed, getObjects, namespaceOf, type ClusterOptions } from './kubectl-program.ts'
import { probeName, ProbePodFailed, runProbePod, type ProbeImage } from './probe-pod.ts'
import { judged, probeLines, type ProbePlace, type ProbeResult } from './probe-report.ts'
import { conditionOf, type Reported } from './status-report.ts'
import { isOptedIn, type Labels } from './world.ts'

type Options = ClusterOptions & {
  readonly from?: string
  readonly node?: string
  readonly user: string
  readonly host: readonly string[]
  readonly image?: string
  readonly json?: true
}

export function probeCommand(): Command {
  const own = new Command('probe')
    .summary('ask the databases of a policy from a place that is not the relay')
    .description(
      'Asks from a pod that is not the relay whether the databases of a SessionPolicy would talk to whoever is there: a connection to every\n' +
        'address, then a sign-in as a user that does not exist, without a password. Closed is what they should be to everybody but the relay.',
    )
    .argument('[policy]', 'the SessionPolicy; all of the namespace when absent')
    .option('--from <namespace>', "the namespace that the pod is made in, which must not be opted in; steno's own when absent")
    .option('--node <name>', 'the node that the pod runs on')
    .option('--user <name>', 'the user to sign in as: pg_hba.conf may have an entry for the agents’ user alone', 'steno_probe')
    .option('--host <name...>', 'hosts to ask that a policy covers by a star', [])
    .option('--image <name>', 'steno’s image; that of the release when absent')
    .option('--json', 'as one JSON object')
    .addHelpText(
      'after',
      `
Examples:
  kubectl steno probe orders -n shop
  kubectl steno probe -n shop --user shop_agent --json | jq -r '.results[] | select(.state != "Closed") | .host'
  kubectl steno probe orders -n shop --from shop-tools --node worker-3

The pod lives for seconds and is always deleted. It takes the rights to get SessionPolicies, and in the namespace of --from to create, get and
delete pods and to get their log; docs/destination.md has them as a Role.
With --json it is one object {namespace, isClosed, from, results}, each result {policy, database, host, port, address, state, why, answer}.
Exit codes: 0 all are Closed, 1 one is Open or Unknown, or the probe failed, 2 used wrongly.`,
    )
    .action(run)
  return addClusterOptions(own)
}

async function run(name: string | undefined, options: Options): Promise<void> {
  const namespace = await namespaceOf(options)
  const from = options.from ?? options.stenoNamespace
  const [found, labels] = await Promise.all([
    getObjects<Reported>(options, ['-n', namespace, 'sessionpolicies.steno.dev', ...(name === undefined ? [] : [name])]),
    getIfAllowed<{ metadata: { labels?: Labels } }>(options, ['namespace', from], () => undefined),
  ])
  if (labels !== null && isOptedIn(labels[0]?.metadata.labels ?? {}))
    throw new BadUsage(
      `namespace ${from} is opted in: a pod there has the network of an agent and says nothing of others. Name another with --from.`,
    )
  if (found.length === 0)
    throw new ObjectNotFound(`namespace ${namespace} has no SessionPolicy`, 'Name the namespace of the agents with --namespace.')
  const policies = found.map((object) => ({ policy: readSessionPolicy(object), isAlive: isReachedByRelay(object) }))
  const { targets, starred } = targetsOf(
    policies.map(({ policy }) => policy),
    options.host,
  )
  const request: ProbeRequest = { namespace, user: options.user, targets }
  const answered = targets.length === 0 ? null : await askFromPod(options, from, request)
  const isAlive = new Map(policies.map(({ policy, isAlive: is }) => [policy.metadata.name, is]))
  const results = [
    ...(answered?.probed ?? []).map(({ database: place, ...probed }) => {
      const [policy = '', database = ''] = place.split('/')
      return judged({ ...probed, database }, { policy, isAlive: isAlive.get(policy) === true })
    }),
    ...starred,
  ]
  if (results.some(({ state }) => state !== 'Closed')) process.exitCode = 1
  const place = answered?.place ?? { namespace: from, node: null, address: null, user: options.user, isBesideRelay: null }
  await printLines(
    options.json === true
      ? [safeJson({ namespace, isClosed: results.every(({ state }) => state === 'Closed'), from: place, results })]
      : probeLines(results, place, paletteFor(options)),
  )
}

/** Said by sidecars within the last minute, of the policy as it is now, and of all of its databases. */
export function isReachedByRelay(policy: Reported): boolean {
  const egress = conditionOf(policy, 'EgressEnforced')
  return egress?.status === 'True' && egress.reason === 'Closed'
}

/** `database` of a target is `POLICY/DATABASE`: names of neither have a slash. */
export function targetsOf(
  policies: readonly SessionPolicy[],
  hosts: readonly string[],
): { readonly targets: ProbeTarget[]; readonly starred: ProbeResult[] } {
  const targets: ProbeTarget[] = []
  const starred: ProbeResult[] = []
  for (const { metadata, spec } of policies)
    for (const { name, hosts: patterns, port, databaseNames } of spec.databases)
      for (const pattern of patterns) {
        const named = pattern.startsWith('*') ? hosts.filter((host) => hostMatches(pattern, host)) : [pattern]
        const common = { port, databaseNames: databaseNames.slice(0, databaseNamesMax) }
        targets.push(...named.map((host) => ({ ...common, host, database: `${metadata.name}/${name}` })))
        if (named.length === 0)
          starred.push({
            ...{ policy: metadata.name, database: name, host: pattern, port, address: null, state: 'Unknown', answer: null },
            why: 'it stands for hosts that the policy does not name: give them with --host',
          })
      }
  return { targets, starred }
}

async function askFromPod(
  options: Options,
  from: string,
  request: ProbeRequest,
): Promise<{ readonly probed: readonly Probed[]; readonly place: ProbePlace }> {
  const image = await imageOf(options, from)
  const name = `${probeName}-${randomBytes(4).toString('hex')}`
  const pod = { ...image, name, namespace: from, stenoNamespace: options.stenoNamespace, node: options.node ?? null, request }
  const { printed, node, address } = await untilSignal((stopping) => runProbePod(options, pod, stopping))
  return {
    probed: answersIn(printed),
    place: { namespace: from, node, address, user: request.user, isBesideRelay: await hasRelay(options, node) },
  }
}

/** Signals end the waiting and not this process, so that the pod is taken away; then the first of them has its usual effect. */
async function untilSignal<T>(work: (stopping: AbortSignal) => Promise<T>): Promise<T> {
  const stopping = new AbortController()
  let ended: NodeJS.Signals | null = null
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  const stop = (signal: NodeJS.Signals): void => {
    ended ??= signal
    stopping.abort()
  }
  for (const signal of signals) process.on(signal, stop)
  try {
    return await work(stopping.signal)
  } finally {
    for (const signal of signals) process.off(signal, stop)
    if (ended !== null) process.kill(process.pid, ended)
  }
}

/** @throws ProbePodFailed */
export function answersIn(printed: string): Probed[] {
  try {
    return printed
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Probed)
  } catch (cause) {
    throw new ProbePodFailed(`what the pod printed is no answer: ${messageOf(cause)}`, { cause })
  }
}

/** Of the relay itself; who may not read its Deployment may know it from AdmissionParameters. @throws ClusterForbids when nobody says it */
async function imageOf(options: Options, from: string): Promise<ProbeImage> {
  if (options.image !== undefined) return { image: options.image, pullPolicy: undefined, pullSecrets: [] }
  type Relay = {
    readonly spec: {
      readonly template: {
        readonly spec: {
          readonly imagePullSecrets?: readonly object[]
          readonly containers: readonly { readonly image: string; readonly imagePullPolicy?: string }[]
        }
      }
    }
  }
  const [relay] =
    (await absentIsNone(
      getIfAllowed<Relay>(options, ['-n', options.stenoNamespace, 'deployments.apps', 'steno-relay'], () => undefined),
    )) ?? []
  const template = relay?.spec.template.spec
  const [container] = template?.containers ?? []
  if (container !== undefined)
    return {
      ...{ image: container.image, pullPolicy: container.imagePullPolicy },
      // They are of steno's namespace.
      pullSecrets: from === options.stenoNamespace ? (template?.imagePullSecrets ?? []) : [],
    }
  type Parameters = { readonly spec?: { readonly images?: readonly string[] } }
  const [parameters] =
    (await absentIsNone(getIfAllowed<Parameters>(options, ['admissionparameters.steno.dev', 'steno'], () => undefined))) ?? []
  const image = parameters?.spec?.images?.[0]
  if (image === undefined)
    throw new ClusterForbids(
      `which image steno runs cannot be read: neither Deployment ${options.stenoNamespace}/steno-relay nor AdmissionParameters steno`,
      'Name it with --image, or --steno-namespace where steno is installed elsewhere.',
    )
  return { image, pullPolicy: undefined, pullSecrets: [] }
}

async function hasRelay(options: Options, node: string | null): Promise<boolean | null> {
  const relays = await getIfAllowed<{ spec?: { nodeName?: string } }>(
    options,
    ['-n', options.stenoNamespace, 'pods', '-l', 'app.kubernetes.io/name=steno,app.kubernetes.io/component=relay'],
    () => undefined,
  )
  return node === null || relays === null ? null : relays.some(({ spec }) => spec?.nodeName === node)
}

async function absentIsNone<Item>(asked: Promise<Item[] | null>): Promise<Item[] | null> {
  try {
    return await asked
  } catch (error) {
    if (error instanceof ObjectNotFound) return null
    throw error
  }
}
