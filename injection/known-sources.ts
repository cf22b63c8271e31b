/**
 * What an earlier review of the same pod has moved into the sidecar, read back from the sidecar's own variables.
 *
 * The API server asks again when another webhook has changed the pod, and people create pods from the manifest of a running one: in both the
 * references stand nowhere else any more. Whoever writes a pod can write this container too, so it is believed no more than the pod is:
 * only what a listener names is taken, and hosts, TLS and databases come from the policy again.
 */
import type { V1Container, V1EnvVar } from '@kubernetes/client-node'
import {
  parseSidecarConfig,
  SidecarConfigInvalid,
  sourceVariablePattern,
  type Listener,
  type ListenerSource,
} from '../crds/sidecar-config.ts'

export type KnownSource = {
  /** The n of `STENO_SOURCE_<n>_…`. */
  readonly number: number
  /** The policy's name for the database. */
  readonly database: string
  readonly localPort: number
  readonly source: ListenerSource
  /** The variables of this source, as the sidecar has them. A name may stand twice: the last that has a value counts (Kubernetes, Container.env). */
  readonly env: readonly V1EnvVar[]
}

/** In order of their numbers. */
export type KnownSources = readonly KnownSource[]

export type KnownSourcesReading =
  | { readonly kind: 'read'; readonly sources: KnownSources }
  | { readonly kind: 'unusable'; readonly problem: string }

/** Reads the container that is called `steno`. */
export function readKnownSources(sidecar: V1Container): KnownSourcesReading {
  const variables = sidecar.env ?? []
  const config = variables.find(({ name }) => name === 'STENO_SIDECAR_CONFIG')?.value
  if (typeof config !== 'string') return { kind: 'unusable', problem: 'it has no STENO_SIDECAR_CONFIG' }
  let listeners: readonly Listener[]
  try {
    listeners = parseSidecarConfig(config).listeners
  } catch (error) {
    if (error instanceof SidecarConfigInvalid) return { kind: 'unusable', problem: error.message }
    throw error
  }
  const sources: KnownSource[] = []
  for (const { database, localPort, source } of listeners) {
    const number = numberOf(source)
    if (number === null) return { kind: 'unusable', problem: `the variables of database ${database} are of several sources` }
    const prefix = `STENO_SOURCE_${number}_`
    const env = variables.filter(({ name }) => name.startsWith(prefix))
    const missing = variablesOf(source).find((name) => !env.some((variable) => variable.name === name))
    if (missing !== undefined) return { kind: 'unusable', problem: `the variable ${missing} is not there` }
    sources.push({ number, database, localPort, source, env })
  }
  sources.sort((left, right) => left.number - right.number)
  const twice = sources.find(({ number }, index) => sources[index + 1]?.number === number)
  if (twice !== undefined) return { kind: 'unusable', problem: `two listeners use source ${twice.number}` }
  return { kind: 'read', sources }
}

function numberOf(source: ListenerSource): number | null {
  const numbers = new Set(variablesOf(source).map((name) => /^STENO_SOURCE_([0-9]+)_/.exec(name)?.[1]))
  const [digits] = numbers
  if (numbers.size !== 1 || digits === undefined || digits.length > 4 || String(Number(digits)) !== digits) return null
  return Number(digits)
}

function variablesOf(source: ListenerSource): string[] {
  return (source.kind === 'url' ? [source.variable] : Object.values(source.variables)).filter((name) => sourceVariablePattern.test(name))
}
