/**
 * Gathers what a support bundle holds, by kubectl and with the rights of whoever runs it.
 *
 * What cannot be read is named with its reason and the rest goes on; only a cluster that does not answer at all ends it. Bounded: pods whose log is
 * taken, lines and bytes of each log, requests at a time. Never asks for a Secret or a ConfigMap.
 */
import { createHash } from 'node:crypto'
import { KnownError } from '../../../base/errors.ts'
import { getObjects, kubectl, type ContextOptions } from '../kubectl-program.ts'
import { sidecarLogOf } from './sidecar-log.ts'
import {
  metadataOf,
  part,
  parts,
  registration,
  sidecarStatus,
  strippedDeployment,
  strippedEvent,
  strippedNode,
  strippedPod,
  whole,
  word,
  type Raw,
} from './strip.ts'

export const ownLogLines = 2_000
export const sidecarLogLines = 200
/** The newest lines fit; one line may be long. */
const logBytesMax = 8 * 1024 * 1024
const sidecarLogsMax = 100
const atOnceMax = 4

export type Scope = {
  readonly context: ContextOptions
  readonly stenoNamespace: string
  /** Whose agents; null for those of all namespaces. */
  readonly namespace: string | null
}

export type Collected = {
  /** By path. */
  readonly texts: ReadonlyMap<string, string>
  /** What could not be read or was left out, with why. */
  readonly missing: readonly { readonly what: string; readonly why: string }[]
}

/** @throws KubectlMissing, KubectlFailed when the cluster does not answer */
export async function collect({ context, stenoNamespace, namespace }: Scope, tell: (what: string) => void): Promise<Collected> {
  const texts = new Map<string, string>()
  const missing: { what: string; why: string }[] = []
  const add = (path: string, value: unknown): void =>
    void texts.set(path, typeof value === 'string' ? value : `${JSON.stringify(value, null, 2)}\n`)
  async function tried<Result>(what: string, ask: () => Promise<Result>): Promise<Result | null> {
    try {
      return await ask()
    } catch (error) {
      if (!(error instanceof KnownError)) throw error
      missing.push({ what, why: error.message })
      return null
    }
  }
  const objects = (what: string, ...args: string[]): Promise<Raw[]> =>
    tried(what, () => getObjects<Raw>(context, args)).then((found) => found ?? [])
  async function listed(path: string, strip: (object: Raw) => Raw, ...args: string[]): Promise<Raw[]> {
    const found = await objects(path, ...args)
    add(path, found.map(strip))
    return found
  }
  const own = ['-n', stenoNamespace]
  const agents = namespace === null ? ['-A'] : ['-n', namespace]

  tell('versions')
  add('versions.json', JSON.parse(await kubectl(context, ['version', '-o', 'json'])))
  await listed('nodes.json', strippedNode, 'nodes')

  tell(`what runs in ${stenoNamespace}`)
  await listed('steno/deployments.json', strippedDeployment, ...own, 'deployments')
  const ownPods = await listed('steno/pods.json', strippedPod, ...own, 'pods')
  await listed('steno/events.json', strippedEvent, ...own, 'events')
  await listed('steno/leases.json', whole, ...own, 'leases')
  await listed('steno/network-policies.json', whole, ...own, 'networkpolicies')
  await eachAtOnce(ownPods, async (pod) => {
    const name = nameOf(pod)
    tell(`log and metrics of ${name}`)
    const log = ['logs', ...own, name, '--all-containers', `--tail=${ownLogLines}`, `--limit-bytes=${logBytesMax}`]
    const text = await tried(`log of ${name}`, () => kubectl(context, log))
    if (text !== null) add(`steno/logs/${fileName(name)}.log`, text)
    if (parts(part(pod, 'status'), 'containerStatuses').some(({ restartCount }) => typeof restartCount === 'number' && restartCount > 0)) {
      const before = await tried(`log of ${name} before its restart`, () => kubectl(context, [...log, '--previous']))
      if (before !== null) add(`steno/logs/${fileName(name)}.previous.log`, before)
    }
    const port = metricsPortOf(pod)
    if (port === null) return
    const metrics = ['get', '--raw', `/api/v1/namespaces/${stenoNamespace}/pods/${name}:${port}/proxy/metrics`]
    const measured = await tried(`metrics of ${name}`, () => kubectl(context, metrics))
    if (measured !== null) add(`steno/metrics/${fileName(name)}.txt`, measured)
  })

  tell('policies and stores')
  for (const kind of ['clustersessionpolicies', 'recordingstores', 'admissionparameters'])
    await listed(`cluster/${kind}.json`, whole, `${kind}.steno.dev`)
  await listed('cluster/sessionpolicies.json', whole, ...agents, 'sessionpolicies.steno.dev')
  for (const kind of ['mutatingwebhookconfigurations', 'validatingadmissionpolicies', 'validatingadmissionpolicybindings'])
    await listed(`cluster/${kind}.json`, registration, kind, '-l', 'app.kubernetes.io/name=steno')
  await listed('cluster/definitions.json', definition, 'customresourcedefinitions', '-l', 'app.kubernetes.io/name=steno')

  const optedIn = new Set((await objects('opted-in namespaces', 'namespaces', '-l', 'steno.dev/inject=enabled')).map(nameOf))
  const wanted = [...(namespace === null ? optedIn : [namespace])].sort()
  for (const name of wanted) {
    tell(`namespace ${name}`)
    await listed(`agents/${name}/events.json`, strippedEvent, '-n', name, 'events')
    await listed(`agents/${name}/network-policies.json`, whole, '-n', name, 'networkpolicies')
  }
  const injected = await objects('pods with a sidecar', ...agents, 'pods', '-l', 'steno.dev/injected=true')
  for (const pod of injected) add(`${agentFolder(pod)}.json`, sidecarStatus(pod))
  // Those that are not well first: when there are too many, they are whom it is about.
  const asked = injected.toSorted((one, other) => Number(isWell(one)) - Number(isWell(other))).slice(0, sidecarLogsMax)
  if (asked.length < injected.length)
    missing.push({
      what: 'logs of sidecars',
      why: `${injected.length - asked.length} of ${injected.length} pods are beyond ${sidecarLogsMax}`,
    })
  tell(`logs of ${asked.length} sidecars`)
  await eachAtOnce(asked, async (pod) => {
    const [name, of] = [nameOf(pod), word(part(pod, 'metadata'), 'namespace')]
    const log = ['logs', '-n', of, name, '-c', 'steno', `--tail=${sidecarLogLines}`, `--limit-bytes=${logBytesMax}`]
    const output = await tried(`log of the sidecar of ${of}/${name}`, () => kubectl(context, log))
    if (output === null) return
    const { lines, leftOut } = sidecarLogOf(output)
    add(
      `${agentFolder(pod)}.log`,
      [...lines, `(${leftOut} lines that are not of the log, such as statements, are left out)`, ''].join('\n'),
    )
  })
  return { texts, missing }
}

function definition(object: Raw): Raw {
  const versions = parts(part(object, 'spec'), 'versions').map(({ name, served, storage }) => ({ name, served, storage }))
  return { metadata: metadataOf(object), versions, stored: part(object, 'status')['storedVersions'] }
}

function metricsPortOf(pod: Raw): number | null {
  const ports = parts(part(pod, 'spec'), 'containers').flatMap((container) => parts(container, 'ports'))
  const port = ports.find(({ name }) => name === 'metrics')?.['containerPort']
  return typeof port === 'number' ? port : null
}

function isWell(pod: Raw): boolean {
  const sidecar = parts(part(pod, 'status'), 'initContainerStatuses').find(({ name }) => name === 'steno')
  return sidecar?.['ready'] === true && sidecar['restartCount'] === 0
}

function nameOf(object: Raw): string {
  return word(part(object, 'metadata'), 'name')
}

function agentFolder(pod: Raw): string {
  return `agents/${word(part(pod, 'metadata'), 'namespace')}/${fileName(nameOf(pod))}`
}

/** A pod's name may be longer than a file's in an archive. */
function fileName(name: string): string {
  return name.length <= 80 ? name : `${name.slice(0, 60)}-${createHash('sha256').update(name).digest('hex').slice(0, 12)}`
}

async function eachAtOnce<T>(all: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...all]
  const take = async (): Promise<void> => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(atOnceMax, queue.length) }, take))
}
