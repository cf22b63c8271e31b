/**
 * What a container's process would see: the kubelet's rules for `env`, `envFrom` and `$(NAME)`, written down a second time from its documentation.
 *
 * Shares no code with what it judges. Sources: Kubernetes, "Define Dependent Environment Variables", EnvVar and EnvFromSource of the API
 * reference; the order of things from pkg/kubelet, makeEnvironmentVariables.
 */
import type { V1Container } from '@kubernetes/client-node'

type Keys = Readonly<Record<string, Readonly<Record<string, string>>>>

export type World = {
  readonly secrets: Keys
  readonly configMaps: Keys
  /** Variables of the namespace's Services. */
  readonly services: Readonly<Record<string, string>>
  /** By path: `metadata.name`. */
  readonly fields: Readonly<Record<string, string>>
}

/** Null when the container would not start (CreateContainerConfigError). */
export function processEnvironment({ env, envFrom }: Pick<V1Container, 'env' | 'envFrom'>, world: World): Map<string, string> | null {
  const result = new Map<string, string>()
  for (const { prefix = '', secretRef, configMapRef } of envFrom ?? []) {
    const keys = secretRef ? world.secrets[secretRef.name ?? ''] : world.configMaps[configMapRef?.name ?? '']
    if (keys === undefined) {
      if ((secretRef ?? configMapRef)?.optional === true) continue
      return null
    }
    for (const [key, value] of Object.entries(keys)) result.set(prefix + key, value)
  }
  for (const { name, value, valueFrom } of env ?? []) {
    if (value) {
      result.set(
        name,
        expand(value, (wanted) => result.get(wanted) ?? world.services[wanted] ?? `$(${wanted})`),
      )
      continue
    }
    if (!valueFrom) {
      result.set(name, '')
      continue
    }
    const reference = valueFrom.secretKeyRef ?? valueFrom.configMapKeyRef
    if (reference) {
      const keys = (valueFrom.secretKeyRef ? world.secrets : world.configMaps)[reference.name ?? '']
      const found = keys?.[reference.key]
      if (found !== undefined) result.set(name, found)
      else if (reference.optional !== true) return null
    } else result.set(name, world.fields[valueFrom.fieldRef?.fieldPath ?? ''] ?? '')
  }
  return result
}

/** One character at a time, as third_party/forked/golang/expansion does it. */
export function expand(input: string, mapping: (name: string) => string): string {
  let output = ''
  for (let at = 0; at < input.length;) {
    if (input[at] !== '$' || at + 1 === input.length) {
      output += input[at++]
      continue
    }
    const next = input[at + 1]
    if (next === '$') {
      output += '$'
      at += 2
    } else if (next === '(') {
      let end = at + 2
      while (end < input.length && input[end] !== ')') end++
      if (end === input.length) {
        output += '$('
        at += 2
      } else {
        output += mapping(input.slice(at + 2, end))
        at = end + 1
      }
    } else {
      output += `$${next}`
      at += 2
    }
  }
  return output
}
