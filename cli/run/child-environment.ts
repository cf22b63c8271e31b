/**
 * The environment of the command: as it was, but every mention of a database leads to its proxy, and what only reaching or signing in to
 * the database takes is gone.
 */
import { invariant } from '../../base/invariant.ts'
import { pgVariables, wayVariables } from '../../postgres/connection-forms/pg-variables.ts'
import type { Target } from '../../postgres/connection-forms/written-connection.ts'
import type { Environment, Mention, Told } from './mentions.ts'

/** A mention and where it leads now. */
export type Redirected = {
  readonly mention: Mention
  readonly target: Target
  readonly upstream: Told
}

/** `redirected` in the order of `findMentions`. */
export function childEnvironment(environment: Environment, redirected: readonly Redirected[]): Record<string, string> {
  const changed: Record<string, string | null> = {}
  for (const name of wayVariables) changed[name] = null
  // Encrypting what stays on this machine gains nothing, and after a refusal libpq would try once more without.
  changed['PGSSLMODE'] = 'disable'
  const [main] = redirected
  invariant(main !== undefined, 'there is a database')
  if (!redirected.some(({ mention }) => mention.variables[0]?.startsWith('PG')))
    Object.assign(changed, pgVariables({ ...main.target, user: main.upstream.user, database: main.upstream.database }))
  for (const { mention, target, upstream } of redirected) Object.assign(changed, mention.changes(target, upstream))
  const result: Record<string, string> = {}
  for (const [name, value] of Object.entries({ ...environment, ...launcherVariables(environment), ...changed })) {
    if (value !== null && value !== undefined) result[name] = value
  }
  return result
}

const launcherValues = { MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '131072' }

/** What `bin/steno` sets for itself and the command should not inherit; told by the cache's folder, which is steno's own. */
function launcherVariables(environment: Environment): Readonly<Record<string, null>> {
  if (environment['NODE_COMPILE_CACHE']?.endsWith('/steno') !== true) return {}
  const own = Object.entries(launcherValues).filter(([name, value]) => environment[name] === value)
  return { NODE_COMPILE_CACHE: null, ...Object.fromEntries(own.map(([name]) => [name, null])) }
}

/** Too short to be looked for inside of other values. */
const partBytesMin = 6

/** Variables that still hold one of the secrets: under names that steno does not know, so it cannot tell what they are for. */
export function variablesHolding(environment: Environment, secrets: readonly string[]): string[] {
  const holds = (value: string): boolean =>
    secrets.some((secret) =>
      [secret, encodeURIComponent(secret)].some((text) => value === text || (text.length >= partBytesMin && value.includes(text))),
    )
  return Object.entries(environment)
    .filter(([, value]) => value !== undefined && holds(value))
    .map(([name]) => name)
}
