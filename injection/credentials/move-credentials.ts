/**
 * Moves the credentials of a pod's containers to its sidecar: the references, so that no Secret is read.
 *
 * In order: the connections that the policy names are found in each container; each different one becomes a source of the sidecar; the containers
 * get a connection to localhost in the same form; whatever those sources refer to is closed to them, in variables, commands and volumes; and what is
 * then still a credential is refused. Nothing is done by halves: with one refusal the pod stays as it was. Pure, and repeatable: a pod that came
 * through, with the sources it was given as `known`, comes through unchanged. Never changes its arguments.
 */
import type { V1Container, V1Volume } from '@kubernetes/client-node'
import type { MergedPolicy } from '../../crds/merge.ts'
import { listenersMax } from '../../crds/sidecar-config.ts'
import type { Refusal } from '../refusal.ts'
import { closeVolumes } from './close-volumes.ts'
import { closedKeys } from './closed-keys.ts'
import { readEnvironment } from './expression.ts'
import { findConnections, type Connections } from './find-connections.ts'
import { warningsOfKept } from './kept-credentials.ts'
import { refuseLeftovers } from './leftovers.ts'
import { rewriteContainer, type Plan } from './rewrite-container.ts'
import { createReport, type Report } from './rules.ts'
import { createSources, type Source, type Sources } from './sources.ts'

export type { Source } from './sources.ts'

export type PodParts = {
  readonly containers: readonly V1Container[]
  /** Without the sidecar. */
  readonly initContainers: readonly V1Container[]
  readonly volumes: readonly V1Volume[]
  /** Of the pod: a container may be given them. */
  readonly annotations?: Readonly<Record<string, string>>
}

export type Moved =
  | {
      readonly kind: 'moved'
      readonly containers: V1Container[]
      readonly initContainers: V1Container[]
      readonly volumes: V1Volume[]
      /** Those of an earlier review first, unchanged. */
      readonly sources: readonly Source[]
      readonly warnings: readonly string[]
    }
  | { readonly kind: 'refused'; readonly refusals: readonly Refusal[] }

export function moveCredentials(pod: PodParts, policy: MergedPolicy, known: readonly Source[]): Moved {
  const { containers, initContainers, volumes } = pod
  if (policy.databases.length === 0) {
    return {
      kind: 'moved',
      containers: [...containers],
      initContainers: [...initContainers],
      volumes: [...volumes],
      sources: known,
      warnings: warningsOfKept(pod, policy),
    }
  }
  const report = createReport()
  refuseUnclear(policy, report)
  const sources = createSources(known, policy, [...initContainers, ...containers])
  const placed = [
    ...initContainers.map((container, index) => ({ container, where: `spec.initContainers[${index}]` })),
    ...containers.map((container, index) => ({ container, where: `spec.containers[${index}]` })),
  ]
  const plans = placed.map(({ container, where }) => planOf(container, where, policy, known, sources, report))
  // Somewhat too many are refused with all else that is wrong; many more would only take the longer to look at.
  if (sources.all.length > 4 * listenersMax) {
    const message = `it has ${sources.all.length} different connections, and a sidecar listens for ${listenersMax}`
    report.refuse('SourceNotMovable', 'spec', message, 'Use fewer different users, databases and hosts in one pod')
    return { kind: 'refused', refusals: report.refusals }
  }
  const closed = closedKeys(sources.all, policy, pod.annotations ?? {}, report)
  const rewritten = plans.map((plan) => {
    const { container, removed } = rewriteContainer(plan, closed, report)
    const { where, environment, variables } = plan
    refuseLeftovers({ container, where, before: environment, removed, rewritten: new Set(variables.keys()) }, closed, report)
    return container
  })
  const left = closeVolumes(volumes, placed, closed, report)
  if (report.refusals.length > 0) return { kind: 'refused', refusals: report.refusals }
  const secrets = sources.all.length > 0 ? [] : secretsGiven(pod)
  if (secrets.length > 0)
    report.warn(
      `no container has a variable that a policy names (${namedBy(policy)}), so nothing was moved; Secrets that it is given, and may hold a credential: ${secrets.join(', ')}`,
    )
  return {
    kind: 'moved',
    initContainers: rewritten.slice(0, initContainers.length),
    containers: rewritten.slice(initContainers.length),
    volumes: left,
    sources: sources.all,
    warnings: report.warnings,
  }
}

function planOf(
  container: V1Container,
  where: string,
  policy: MergedPolicy,
  known: readonly Source[],
  sources: Sources,
  report: Report,
): Plan {
  const environment = readEnvironment(container)
  if (environment.isTooLarge)
    report.refuse('SourceNotMovable', `${where}.env`, 'it has variables that name one another so often that they cannot be judged')
  const variables = new Map<string, string>()
  const roots: number[] = []
  for (const database of policy.databases) {
    const knownPorts = new Set(known.filter((source) => source.database === database.name).map(({ localPort }) => localPort))
    const connections: Connections = findConnections({ environment, database, knownPorts, where, report })
    const ports = [...connections.ports]
    for (const found of connections.found) {
      const { localPort } = sources.take(found)
      ports.push(localPort)
      roots.push(...found.entries)
      for (const [name, value] of found.variables(localPort)) variables.set(name, value)
    }
    if (ports.length > 0) for (const [name, value] of connections.overrides(ports[0]!)) variables.set(name, value)
  }
  return { container, where, environment, variables, roots }
}

/** Secrets that containers have in variables or files, by name. */
function secretsGiven({ containers, initContainers, volumes }: PodParts): string[] {
  const ofContainers = [...initContainers, ...containers].flatMap(({ env, envFrom }) => [
    ...(env ?? []).map(({ valueFrom }) => valueFrom?.secretKeyRef?.name),
    ...(envFrom ?? []).map(({ secretRef }) => secretRef?.name),
  ])
  const ofVolumes = volumes.flatMap(({ secret, projected }) => [
    secret?.secretName,
    ...(projected?.sources ?? []).map((source) => source.secret?.name),
  ])
  return [...new Set([...ofContainers, ...ofVolumes].filter((name) => name !== undefined))].sort()
}

function namedBy({ databases }: MergedPolicy): string {
  return databases.flatMap(({ variables }) => variables.map((rule) => (rule.form === 'url' ? rule.name : `${rule.prefix}…`))).join(', ')
}

/** Two databases of different policies may name the same variable; a container could have one of them only. */
function refuseUnclear({ databases }: MergedPolicy, report: Report): void {
  const owners = new Map<string, string>()
  for (const { name: database, variables } of databases)
    for (const rule of variables) {
      const name = rule.form === 'url' ? rule.name : `${rule.prefix}…`
      const owner = owners.get(name)
      if (owner !== undefined && owner !== database)
        report.refuse(
          'DatabaseUnclear',
          `databases[${database}].variables[${name}] of the policies`,
          `database ${owner} has the same variable`,
        )
      owners.set(name, database)
    }
}
