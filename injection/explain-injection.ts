/**
 * What would happen to a pod and why, for people: where its policy comes from, what was moved, what listens where, and what is refused.
 *
 * Says the same as an admission would, because it is the same injection. Holds no secret: a literal value is named, never shown.
 */
import type { V1Container, V1EnvVar, V1Pod } from '@kubernetes/client-node'
import type { ListenerSource } from '../crds/sidecar-config.ts'
import { injectPod, type AdmissionWorld, type InjectionRequest } from './inject-pod.ts'
import { patchBetween } from './json-patch.ts'
import { faultsOfIsolation } from './pod-shape.ts'
import type { Refusal } from './refusal.ts'
import { sidecarName } from './sidecar-container.ts'

export { readPod } from './read-pod.ts'
export type { AdmissionWorld } from './inject-pod.ts'

export type InjectionExplanation = {
  /** `unchanged`: the pod carries exactly the sidecar that it would be given. */
  readonly outcome: 'injected' | 'unchanged' | 'exempt' | 'refused'
  /** Why a pod is left as it is; null when it is not. */
  readonly exemption: { readonly by: string; readonly reason: string } | null
  /** Null for exempt pods and where policies contradict each other. */
  readonly policy: ExplainedPolicy | null
  readonly listeners: readonly ExplainedListener[]
  readonly moved: readonly MovedVariable[]
  readonly refusals: readonly Refusal[]
  readonly warnings: readonly string[]
}

export type ExplainedPolicy = {
  readonly sources: readonly string[]
  readonly hash: string
  readonly store: string
  readonly recordingLevel: 'statements' | 'results' | 'stored'
  readonly onRecordingFailure: 'block' | 'continue'
  readonly enforcement: { readonly mode: string; readonly onOpenPath: string }
  /** All that the pod may speak to, whether it does or not. */
  readonly databases: readonly string[]
}

export type ExplainedListener = {
  readonly database: string
  readonly localPort: number
  /** Where the real connection may lead: hosts and the port. */
  readonly hosts: readonly string[]
  readonly port: number
  readonly tlsMode: string
  /** What the sidecar reads, as `STENO_SOURCE_0_DATABASE_URL from Secret shop-db, key url`. */
  readonly reads: readonly string[]
}

/** A variable that the injection changed, adds or removes in a container of the pod. */
export type MovedVariable = {
  readonly container: string
  readonly variable: string
  readonly before: string
  readonly after: string
}

/** The explanation for a pod as it is; for one that runs already, too. */
export function explainInjection(request: InjectionRequest, world: Omit<AdmissionWorld, 'namespaceLabels'>): InjectionExplanation {
  const injection = injectPod(request, world)
  const nothing = { exemption: null, policy: null, listeners: [], moved: [], refusals: [], warnings: [] }
  switch (injection.kind) {
    case 'exempt': {
      // An exemption frees from the sidecar alone.
      const refusals = faultsOfIsolation(request.pod)
      const exemption = { by: injection.by, reason: injection.reason }
      return { ...nothing, outcome: refusals.length === 0 ? 'exempt' : 'refused', exemption, refusals }
    }
    case 'refused':
      return {
        ...nothing,
        outcome: 'refused',
        policy: injection.policy === null ? null : explainedPolicy(injection.policy),
        refusals: injection.refusals,
      }
    case 'injected':
      return {
        ...nothing,
        outcome: patchBetween(request.pod, injection.pod).length === 0 ? 'unchanged' : 'injected',
        policy: explainedPolicy(injection.policy),
        listeners: injection.sources.flatMap(({ database: name, localPort, source, env }) =>
          injection.policy.databases
            .filter((database) => database.name === name)
            .map(({ hosts, port, tls }) => ({
              database: name,
              localPort,
              hosts,
              port,
              tlsMode: tls.mode,
              reads: readBy(source, env),
            })),
        ),
        moved: movedVariables(request.pod, injection.pod),
        warnings: injection.warnings,
      }
    default:
      return injection satisfies never
  }
}

function explainedPolicy(policy: Extract<ReturnType<typeof injectPod>, { kind: 'injected' }>['policy']): ExplainedPolicy {
  return {
    sources: policy.sources,
    hash: policy.hash,
    store: policy.recording.store,
    recordingLevel: policy.recording.level,
    onRecordingFailure: policy.recording.onFailure,
    enforcement: policy.enforcement,
    databases: policy.databases.map(({ name }) => name),
  }
}

function readBy(source: ListenerSource, env: readonly V1EnvVar[]): string[] {
  const read = source.kind === 'url' ? [source.variable] : Object.values(source.variables)
  const helpers = env.map(({ name }) => name).filter((name) => !read.includes(name))
  return [...read, ...helpers].flatMap((name) =>
    env.filter((variable) => variable.name === name).map((variable) => `${name} from ${originOf(variable)}`),
  )
}

function movedVariables(before: V1Pod, after: V1Pod): MovedVariable[] {
  return [...containersOf(after)].flatMap(([container, { env = [] }]) => {
    const old = containersOf(before).get(container)
    const oldEnv = old?.env ?? []
    const names = new Set([...oldEnv, ...env].map(({ name }) => name))
    return [...names].flatMap((variable): MovedVariable[] => {
      // The last of equal names wins (Kubernetes, Container.env).
      const was = oldEnv.findLast(({ name }) => name === variable)
      const is = env.findLast(({ name }) => name === variable)
      if (JSON.stringify(was) === JSON.stringify(is)) return []
      const wasAbsent = (old?.envFrom ?? []).length > 0 ? 'from envFrom, or not there' : 'not there'
      return [
        {
          container,
          variable,
          before: was === undefined ? wasAbsent : originOf(was),
          // The injection writes literals only, and none that holds a credential.
          after: is === undefined ? 'removed' : (is.value ?? originOf(is)),
        },
      ]
    })
  })
}

function containersOf({ spec }: V1Pod): ReadonlyMap<string, V1Container> {
  const containers = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])].filter(({ name }) => name !== sidecarName)
  return new Map(containers.map((container) => [container.name, container]))
}

function originOf({ valueFrom }: V1EnvVar): string {
  if (valueFrom?.secretKeyRef !== undefined) return `Secret ${valueFrom.secretKeyRef.name}, key ${valueFrom.secretKeyRef.key}`
  if (valueFrom?.configMapKeyRef !== undefined) return `ConfigMap ${valueFrom.configMapKeyRef.name}, key ${valueFrom.configMapKeyRef.key}`
  if (valueFrom?.fieldRef !== undefined) return `the field ${valueFrom.fieldRef.fieldPath}`
  if (valueFrom !== undefined) return `another reference (${Object.keys(valueFrom).join(', ')})`
  return 'a literal value (not shown)'
}
