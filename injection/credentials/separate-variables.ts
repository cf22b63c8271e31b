/**
 * A connection in variables of its own for host, port, user, password, database and TLS mode: libpq's PG… and those of frameworks.
 *
 * PG… variables beyond these (certificate files, service, channel binding) are in `way-variables.ts`. The agent keeps the same names: host and
 * port of the sidecar, its user and database where they can be seen, an empty password, no TLS.
 */
import { libpqKeywordOf, type LibpqPart } from '../../crds/sidecar-config.ts'
import { proxyHost } from '../../postgres/connection-forms/written-connection.ts'
import type { ReadConnection } from './connection-view.ts'
import { escaped } from './expansion.ts'
import { textOf, unmovableIn, type Expression } from './expression.ts'
import { agentUser, namedLeaf, ownValue, type Facts, type Found, type LibpqRule } from './found-connection.ts'
import { faultOfPlace } from './place.ts'

type Part = { readonly name: string; readonly index: number; readonly expression: Expression }

export type Group = {
  readonly rule: LibpqRule
  /** The variable for each part, there or not. */
  readonly names: ReadonlyMap<LibpqPart, string>
  /** What `env` has, empty values left out. */
  readonly parts: ReadonlyMap<LibpqPart, Part>
  readonly hasHost: boolean
  readonly password: Part | null
  /** The listener that they lead to already. */
  readonly ourPort: number | null
  /** True when no part is in `env` and `envFrom` may hold a host or a password. */
  readonly mayComeFromSources: boolean
}

const endings: Readonly<Record<Exclude<LibpqPart, 'hostaddr'>, string>> = {
  host: 'HOST',
  port: 'PORT',
  user: 'USER',
  password: 'PASSWORD',
  database: 'DATABASE',
  sslmode: 'SSLMODE',
}

export function readGroup(rule: LibpqRule, { environment, knownPorts }: Facts): Group {
  const named = rule.names ?? {}
  const names = new Map<LibpqPart, string>(
    Object.entries(endings).map(([part, ending]) => [
      part as keyof typeof endings,
      named[part as keyof typeof endings] ?? `${rule.prefix}${ending}`,
    ]),
  )
  if (rule.prefix === 'PG') names.set('hostaddr', 'PGHOSTADDR')
  const parts = new Map<LibpqPart, Part>()
  for (const [part, name] of names) {
    const index = environment.indexOf(name)
    const entry = environment.entries[index]
    const expression =
      entry === undefined || entry.variable.value ? (entry?.expression ?? []) : ownValue(entry.expression, name, { whenUnset: 'empty' })
    if (expression.length > 0) parts.set(part, { name, index, expression })
  }
  const text = (part: LibpqPart): string | null => textOf(parts.get(part)?.expression ?? [])
  const port = Number(text('port'))
  const isThere = (part: LibpqPart): boolean => environment.indexOf(names.get(part)!) >= 0
  return {
    rule,
    names,
    parts,
    hasHost: parts.has('host') || parts.has('hostaddr'),
    password: parts.get('password') ?? null,
    ourPort: text('host') === proxyHost && !parts.has('password') && knownPorts.has(port) ? port : null,
    mayComeFromSources:
      !isThere('host') &&
      !isThere('password') &&
      ['host', 'password'].some((part) => environment.fromSources(names.get(part as LibpqPart)!) !== null),
  }
}

/** None when it is refused. */
export function separateVariables(group: Group, facts: Facts, { isStrict }: { readonly isStrict: boolean }): Found[] {
  const { environment, database, report, where } = facts
  const parts: [LibpqPart, { variable: string; expression: Expression }][] = []
  const entries: number[] = []
  for (const [part, name] of group.names) {
    const own = group.parts.get(part)
    const leaf = environment.indexOf(name) < 0 ? environment.fromSources(name) : null
    if (own !== undefined) {
      const fixed = unmovableIn(own.expression)
      if (fixed !== null) {
        report.refuse('SourceNotMovable', `${where}.env[${name}]`, `it ${fixed.why}`)
        return []
      }
      entries.push(own.index)
      parts.push([part, { variable: name, expression: own.expression }])
    } else if (leaf !== null) {
      // Ports, users and the like have defaults; a connection without a host has none.
      const value = [namedLeaf(leaf, { isStrict: isStrict && part === 'host' })]
      parts.push([part, { variable: name, expression: ownValue(value, name, { whenUnset: 'empty' }) }])
    }
  }
  const has = (part: LibpqPart): boolean => parts.some(([other]) => other === part)
  if (!has('host') && !has('hostaddr')) {
    report.refuse(
      'ConnectionIncomplete',
      `${where}.env[${group.names.get('password')}]`,
      `there is a password, and ${group.names.get('host')} is not set`,
    )
    return []
  }
  const seen = (part: LibpqPart): string | null | undefined => {
    const expression = parts.find(([other]) => other === part)?.[1].expression
    return expression === undefined ? undefined : textOf(expression)
  }
  const fault = faultOfPlace(
    { host: seen('host'), hostaddr: seen('hostaddr'), port: seen('port'), database: seen('database'), sslmode: seen('sslmode') },
    database,
  )
  if (fault !== null) report.refuse('OutsidePolicy', `${where}.env[${group.names.get('host')}]`, fault)
  return [{ database, source: { kind: 'libpq', parts }, entries, variables: (port) => variablesOfGroup(group, facts, port) }]
}

/** A URL that can be seen, without a password, beside a password in a variable of its own: one connection. Null when the URL hides a part. */
export function companionOf(url: Found, connection: ReadConnection, group: Group, facts: Facts): Found | null {
  if (connection.keywords.includes('password') || group.password === null) return null
  if (!connection.readsPgVariables && group.rule.prefix === 'PG') return null
  const parts: [LibpqPart, { variable: string; expression: Expression }][] = []
  const entries = [...url.entries]
  for (const [part, keyword] of Object.entries(libpqKeywordOf) as [LibpqPart, string][]) {
    const value = connection.value(keyword)
    if (value === null) return null
    const own = group.parts.get(part)
    const variable = group.names.get(part) ?? `${group.rule.prefix}${part.toUpperCase()}`
    if (value) parts.push([part, { variable, expression: [{ kind: 'text', text: value }] }])
    else if (own !== undefined && ['user', 'password', 'database'].includes(part)) {
      if (unmovableIn(own.expression) !== null) return null
      entries.push(own.index)
      parts.push([part, { variable, expression: own.expression }])
    }
  }
  return {
    database: url.database,
    source: { kind: 'libpq', parts },
    entries,
    variables: (port) =>
      new Map([...url.variables(port), ...(group.hasHost ? [] : variablesOfGroup(group, facts, port, { isCompanion: true }))]),
  }
}

/** The agent's values by name. A companion of a URL gets no more variables than it had. */
export function variablesOfGroup(
  group: Group,
  { environment, database }: Facts,
  port: number,
  { isCompanion = false }: { readonly isCompanion?: boolean } = {},
): Map<string, string> {
  const seen = (part: LibpqPart): string | null => {
    const own = group.parts.get(part)
    return own === undefined ? null : textOf(own.expression)
  }
  const values: Readonly<Record<LibpqPart, string>> = {
    host: proxyHost,
    hostaddr: proxyHost,
    port: String(port),
    user: escaped(seen('user') ?? agentUser),
    password: '',
    database: escaped(seen('database') ?? database.databaseNames[0]!),
    sslmode: offWord(seen('sslmode')),
  }
  const result = new Map<string, string>()
  for (const [part, name] of group.names) {
    const isThere = environment.indexOf(name) >= 0 || environment.fromSources(name) !== null
    const isUsual = part === 'host' || part === 'port' || (group.rule.prefix === 'PG' && part !== 'hostaddr')
    if (isThere || (isUsual && !isCompanion)) result.set(name, values[part])
  }
  return result
}

/** No TLS, in the words that the variable had. */
function offWord(word: string | null): string {
  switch (word?.toLowerCase()) {
    case 'true':
    case 'false':
      return 'false'
    case '1':
    case '0':
      return '0'
    case 'on':
    case 'off':
      return 'off'
    case 'yes':
    case 'no':
      return 'no'
    default:
      return 'disable'
  }
}
