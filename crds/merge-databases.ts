/**
 * The databases of the policies that are for one pod, as one list: doubles joined, the cluster's floor and ceiling applied, ports given out.
 *
 * Ports on localhost are given in the order of the list (policies by name, then as written), so the same policies always give the same.
 */
import { digestOf } from './canonical-json.ts'
import type { ClusterSessionPolicy } from './cluster-session-policy.ts'
import { firstLocalPort } from './defaults.ts'
import { ceilingAdmits } from './host-pattern.ts'
import type { MergedDatabase, Problem } from './merge.ts'
import { sourceOf } from './selection.ts'
import type { DatabaseRule, SessionPolicy, VariableRule } from './session-policy.ts'
import { strictest, tlsModes } from './strictness.ts'

type Named = DatabaseRule & { readonly policy: string }

/** Both lists in the order of names. With problems, the databases are those that could be made sense of. */
export function mergeDatabases(
  policies: readonly SessionPolicy[],
  clusterPolicies: readonly ClusterSessionPolicy[],
): { databases: MergedDatabase[]; problems: Problem[] } {
  const joined = joinDoubles(policies.flatMap((policy) => policy.spec.databases.map((rule) => ({ ...rule, policy: sourceOf(policy) }))))
  const floors = clusterPolicies.map(({ spec }) => spec.floor.tls?.mode)
  const raised = joined.databases.map((database) => ({
    ...database,
    tls: { ...database.tls, mode: strictest(tlsModes, [database.tls.mode, ...floors], database.tls.mode) },
  }))
  return {
    databases: assignLocalPorts(raised),
    problems: [...joined.problems, ...sharedVariables(raised), ...sharedPorts(raised), ...beyondCeilings(raised, clusterPolicies)],
  }
}

/** Ports that were asked for are kept; the others get 15432 + their place in the list, or the next one that is free. The port of probes lies below. */
export function assignLocalPorts<D extends { readonly localPort?: number }>(
  databases: readonly D[],
): (D & { readonly localPort: number })[] {
  const taken = new Set(databases.flatMap(({ localPort }) => localPort ?? []))
  return databases.map((database, index) => {
    if (database.localPort !== undefined) return { ...database, localPort: database.localPort }
    let localPort = firstLocalPort + index
    while (taken.has(localPort)) localPort++
    taken.add(localPort)
    return { ...database, localPort }
  })
}

/** The same database in two policies is one; the same name for two databases is a conflict. */
function joinDoubles(databases: readonly Named[]): { databases: Named[]; problems: Problem[] } {
  const byName = new Map<string, Named>()
  const problems: Problem[] = []
  for (const database of databases) {
    const first = byName.get(database.name)
    const port = first?.localPort ?? database.localPort
    byName.set(database.name, port === undefined ? (first ?? database) : { ...(first ?? database), localPort: port })
    if (first === undefined || sameMeaning(first, database)) continue
    problems.push({
      message: `database \`${database.name}\` is described differently by ${first.policy} and ${database.policy}`,
      remedy:
        'Describe it once, or identically in both; when these are two databases, give one another name; or make the selectors share no pod.',
    })
  }
  return { databases: [...byName.values()], problems }
}

function sameMeaning(a: Named, b: Named): boolean {
  const bare = ({ policy: _policy, localPort: _localPort, hosts, ...database }: Named): string =>
    digestOf({ ...database, hosts: hosts.toSorted() })
  const samePort = a.localPort === undefined || b.localPort === undefined || a.localPort === b.localPort
  return samePort && bare(a) === bare(b)
}

/** The variable, or the prefix of variables, that a rule is about. */
function variableKey(rule: VariableRule): string {
  return rule.form === 'url' ? rule.name : `${rule.prefix}…`
}

function sharedVariables(databases: readonly Named[]): Problem[] {
  return pairsBy(databases, ({ variables }) => [...new Set(variables.map(variableKey))]).map(({ key, first, second }) => ({
    message: `variable \`${key}\` carries database \`${first.name}\` of ${first.policy} and \`${second.name}\` of ${second.policy}`,
    remedy: 'Give each database `variables` of its own (the default is DATABASE_URL), or make the selectors share no pod.',
  }))
}

function sharedPorts(databases: readonly Named[]): Problem[] {
  return pairsBy(databases, ({ localPort }) => (localPort === undefined ? [] : [localPort])).map(({ key, first, second }) => ({
    message: `localPort ${key} is asked for by database \`${first.name}\` of ${first.policy} and \`${second.name}\` of ${second.policy}`,
    remedy: 'Give each its own localPort, or leave it out.',
  }))
}

/** Each database that shares a key with one before it, with the first that has the key. */
function pairsBy<K>(databases: readonly Named[], keysOf: (database: Named) => readonly K[]): { key: K; first: Named; second: Named }[] {
  const owners = new Map<K, Named>()
  return databases.flatMap((second) =>
    keysOf(second).flatMap((key) => {
      const first = owners.get(key)
      if (first !== undefined) return [{ key, first, second }]
      owners.set(key, second)
      return []
    }),
  )
}

function beyondCeilings(databases: readonly Named[], clusterPolicies: readonly ClusterSessionPolicy[]): Problem[] {
  return databases.flatMap((database) =>
    clusterPolicies.flatMap((policy) => {
      const beyond = database.hosts.filter((host) => !ceilingAdmits(policy.spec.ceiling, host))
      if (beyond.length === 0) return []
      const hosts = beyond.map((host) => `\`${host}\``).join(', ')
      return [
        {
          message: `database \`${database.name}\` of ${database.policy} names ${hosts}, which ${sourceOf(policy)} does not admit`,
          remedy: `Name hosts within spec.ceiling of ${sourceOf(policy)}, or have those who administer the cluster add them there.`,
        },
      ]
    }),
  )
}
