/**
 * The sources of a pod: numbers, ports and variables of the sidecar for the connections that its containers name, equal ones joined.
 *
 * What an earlier review made stays as it is and comes first, so that a second review changes nothing.
 */
import type { V1Container, V1EnvVar } from '@kubernetes/client-node'
import type { MergedDatabase, MergedPolicy } from '../../crds/merge.ts'
import { sidecarHealthPort, type ListenerSource } from '../../crds/sidecar-config.ts'
import type { Found } from './found-connection.ts'
import { sourceKey, sourceVariables } from './source-variables.ts'

export type Source = {
  /** The n of `STENO_SOURCE_<n>_…`. */
  readonly number: number
  /** The policy's name for the database. */
  readonly database: string
  readonly localPort: number
  readonly source: ListenerSource
  /** For the sidecar, in this order; a name may stand more than once. */
  readonly env: readonly V1EnvVar[]
}

export type Sources = {
  readonly all: readonly Source[]
  /** The source that gives this connection: one there is, or another one more. */
  take(found: Found): Source
}

export function createSources(known: readonly Source[], policy: MergedPolicy, containers: readonly V1Container[]): Sources {
  const all = [...known]
  const byKey = new Map(known.map((source) => [sourceKey(source.database, source.source, source.env), source]))
  // A port that a container says it listens on is taken, though many a container says nothing.
  const taken = new Set<number>([
    sidecarHealthPort,
    ...policy.databases.map(({ localPort }) => localPort),
    ...known.map(({ localPort }) => localPort),
    ...containers.flatMap(({ ports }) => (ports ?? []).map(({ containerPort }) => containerPort)),
  ])
  function freePort(database: MergedDatabase): number {
    if (!all.some(({ localPort }) => localPort === database.localPort)) return database.localPort
    let port = database.localPort
    do port = port === 65_535 ? 1024 : port + 1
    while (taken.has(port))
    taken.add(port)
    return port
  }
  return {
    all,
    take(found) {
      const number = 1 + Math.max(-1, ...all.map((source) => source.number))
      const { source, env } = variablesFor(number, found)
      const key = sourceKey(found.database.name, source, env)
      const same = byKey.get(key)
      if (same !== undefined) return same
      const made: Source = { number, database: found.database.name, localPort: freePort(found.database), source, env }
      all.push(made)
      byKey.set(key, made)
      return made
    },
  }
}

function variablesFor(number: number, { source }: Found): { readonly source: ListenerSource; readonly env: V1EnvVar[] } {
  if (source.kind === 'url') {
    const { env, names } = sourceVariables(number, [source.wanted])
    return { source: { kind: 'url', variable: names[0]! }, env }
  }
  const { env, names } = sourceVariables(
    number,
    source.parts.map(([, wanted]) => wanted),
  )
  return { source: { kind: 'libpq', variables: Object.fromEntries(source.parts.map(([part], index) => [part, names[index]!])) }, env }
}
