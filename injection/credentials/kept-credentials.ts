/**
 * What is said of a pod that no policy gives a database to, and that carries what looks like the connection to one: it keeps it.
 *
 * Nothing is moved or refused, for without a policy nobody has said what is a credential; but nobody shall believe such a pod to be recorded.
 * Goes by forms and names alone, so that a connection may be missed, or a harmless variable named. Names variables and fields, never values.
 */
import type { V1Container } from '@kubernetes/client-node'
import type { MergedPolicy } from '../../crds/merge.ts'
import { hasCredential } from './credential-text.ts'
import { speaksOfDatabase, textsOf } from './leftovers.ts'

/** Places named in the warning, which the API server cuts at 256 characters. */
const placesToldMax = 3

/** Of a Secret whose keys all become variables. */
const nameOfDatabase = /database|postgres|(?:^|[-.])(?:db|pg|dsn)(?:[-.]|$)/i

/** None for a pod that carries nothing of the kind. */
export function warningsOfKept(
  { containers, initContainers }: { readonly containers: readonly V1Container[]; readonly initContainers: readonly V1Container[] },
  { sources, enforcement }: Pick<MergedPolicy, 'sources' | 'enforcement'>,
): string[] {
  const places = [...initContainers, ...containers].flatMap(placesIn)
  if (places.length === 0) return []
  const told = places.slice(0, placesToldMax).join(', ')
  const rest = places.length > placesToldMax ? ` and ${places.length - placesToldMax} more` : ''
  const why = sources.some((source) => !source.startsWith('ClusterSessionPolicy/'))
    ? 'its policies name no database'
    : 'no SessionPolicy matches it'
  return [
    `${why}, so it keeps its credential and what it does is not recorded: ${told}${rest}`,
    enforcement.mode === 'Relay'
      ? 'it has no network path to a database either, where NetworkPolicies are enforced; make the SessionPolicy, then make the pod again'
      : 'it can reach the database directly with that credential; make the SessionPolicy, then make the pod again',
  ]
}

function placesIn(container: V1Container): string[] {
  const { name: of, env = [], envFrom = [], command = [], args = [], lifecycle } = container
  const variables = env.filter(({ name, value = '', valueFrom }) => {
    if (hasCredential(value) || (value !== '' && hasCredential(`${name}=${value}`))) return true
    const isReference = valueFrom?.secretKeyRef !== undefined || valueFrom?.configMapKeyRef !== undefined
    return (isReference || value !== '') && speaksOfDatabase(name)
  })
  const secrets = envFrom.flatMap(({ secretRef }) =>
    nameOfDatabase.test(secretRef?.name ?? '') ? [`${of}: Secret ${secretRef?.name}`] : [],
  )
  const isInText = [...textsOf([command, args, lifecycle])].some(([, text]) => hasCredential(text))
  return [...variables.map(({ name }) => `${of}: ${name}`), ...secrets, ...(isInText ? [`${of}: its command`] : [])]
}
