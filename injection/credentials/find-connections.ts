/**
 * The connections to one database that one container's variables name, by the rules of the policy.
 *
 * A rule whose variables stand in `env` decides; where none does, the first whose variables `envFrom` may hold. A URL without a password
 * takes that of the separate variables beside it, as libpq and Spring do. Values that an earlier review wrote are told by their port.
 */
import { viewConnection, plainConnection, type ReadConnection } from './connection-view.ts'
import { unmovableIn, type Expression } from './expression.ts'
import { agentUser, namedLeaf, ownValue, type Facts, type Found, type UrlRule } from './found-connection.ts'
import { companionOf, readGroup, separateVariables, variablesOfGroup, type Group } from './separate-variables.ts'
import { faultOfPlace } from './place.ts'

export type Connections = {
  readonly found: readonly Found[]
  /** Ports of listeners that the variables lead to already. */
  readonly ports: readonly number[]
  /** Variables that lead to the first of them whatever `envFrom` holds; values as `env` writes them. */
  overrides(port: number): ReadonlyMap<string, string>
}

type Url =
  | { readonly kind: 'absent' | 'empty' | 'refused' }
  | { readonly kind: 'ours'; readonly port: number }
  | { readonly kind: 'found'; readonly found: Found; readonly connection: ReadConnection | null }

export function findConnections(facts: Facts): Connections {
  const { database, environment } = facts
  const urlRules = database.variables.filter((rule) => rule.form === 'url')
  const groups = database.variables.filter((rule) => rule.form === 'libpq').map((rule) => readGroup(rule, facts))
  const urls = urlRules.map((rule) => ({ rule, url: readUrlVariable(rule, facts) }))
  const found: Found[] = []
  const ports: number[] = []
  const consumed = new Set<Group>()
  /** Groups whose variables all lead to their own listener. */
  const settled = new Set<Group>()
  for (const { url } of urls) {
    if (url.kind === 'ours') ports.push(url.port)
    if (url.kind !== 'found') continue
    const companion = url.connection === null ? undefined : groups.find(({ password }) => password !== null)
    const combined = companion === undefined ? null : companionOf(url.found, url.connection!, companion, facts)
    found.push(combined ?? url.found)
    if (combined !== null && companion !== undefined && !companion.hasHost) consumed.add(companion)
  }
  for (const group of groups) {
    if (group.ourPort !== null) ports.push(group.ourPort)
    else if (!consumed.has(group) && (group.hasHost || group.password !== null)) {
      found.push(...separateVariables(group, facts, { isStrict: false }))
      settled.add(group)
    }
    if (group.ourPort !== null) settled.add(group)
  }
  const isExplicit = found.length > 0 || ports.length > 0
  if (!isExplicit && !urls.some(({ url }) => url.kind === 'refused')) found.push(...firstFromSources(facts, urls, groups, settled))
  return {
    found,
    ports,
    overrides(port) {
      const values = new Map<string, string>()
      for (const { rule, url } of urls)
        if (url.kind === 'absent' && environment.fromSources(rule.name) !== null)
          values.set(rule.name, plainConnection(rule, { port, user: agentUser, database: database.databaseNames[0]! }))
      for (const group of groups) {
        // One of them alone would lead nowhere.
        const mayBeGiven = [...group.names.values()].some((name) => environment.indexOf(name) < 0 && environment.fromSources(name) !== null)
        if (mayBeGiven && !settled.has(group)) for (const [name, value] of variablesOfGroup(group, facts, port)) values.set(name, value)
      }
      return values
    },
  }
}

/**
 * What only `envFrom` may hold: the first rule that it may be for. Nobody sees at admission which of several it is, and the sidecar does not
 * start without a connection that it was told of.
 */
function firstFromSources(
  facts: Facts,
  urls: readonly { readonly rule: UrlRule; readonly url: Url }[],
  groups: readonly Group[],
  settled: Set<Group>,
): Found[] {
  for (const rule of facts.database.variables) {
    if (rule.form === 'url') {
      const isAbsent = urls.some((one) => one.rule === rule && one.url.kind === 'absent')
      const leaf = isAbsent ? facts.environment.fromSources(rule.name) : null
      if (leaf !== null)
        return [
          urlFound(rule, facts, {
            expression: ownValue([namedLeaf(leaf, { isStrict: true })], rule.name, { whenUnset: 'unset' }),
            entries: [],
            connection: null,
          }),
        ]
    } else {
      const group = groups.find((one) => one.rule === rule)
      if (group?.mayComeFromSources !== true) continue
      settled.add(group)
      return separateVariables(group, facts, { isStrict: true })
    }
  }
  return []
}

function readUrlVariable(rule: UrlRule, facts: Facts): Url {
  const { environment, database, knownPorts, report } = facts
  const index = environment.indexOf(rule.name)
  if (index < 0) return { kind: 'absent' }
  const entry = environment.entries[index]!
  const expression = entry.variable.value ? entry.expression : ownValue(entry.expression, rule.name, { whenUnset: 'unset' })
  const where = `${facts.where}.env[${rule.name}]`
  if (expression.length === 0) {
    report.warn(`${where} is empty, so the container has no connection to database ${database.name}`)
    return { kind: 'empty' }
  }
  const fixed = unmovableIn(expression)
  if (fixed !== null) {
    report.refuse('SourceNotMovable', where, `it ${fixed.why}`)
    return { kind: 'refused' }
  }
  const view = viewConnection(expression)
  if (view.kind === 'other') {
    report.refuse('ConnectionNotUnderstood', where, view.message, view.remedy)
    return { kind: 'refused' }
  }
  if (view.kind === 'hidden') {
    return { kind: 'found', connection: null, found: urlFound(rule, facts, { expression, entries: [index], connection: null }) }
  }
  const { connection } = view
  const port = Number(connection.value('port') ?? 0)
  if (connection.value('host') === '127.0.0.1' && !connection.keywords.includes('password') && knownPorts.has(port))
    return { kind: 'ours', port }
  if (!isUsable(connection, where, facts)) return { kind: 'refused' }
  if (!isWritable(connection, index, where, facts)) return { kind: 'refused' }
  return { kind: 'found', connection, found: urlFound(rule, facts, { expression, entries: [index], connection }) }
}

function urlFound(
  rule: UrlRule,
  { database }: Facts,
  {
    expression,
    entries,
    connection,
  }: { readonly expression: Expression; readonly entries: readonly number[]; readonly connection: ReadConnection | null },
): Found {
  return {
    database,
    source: { kind: 'url', wanted: { variable: rule.name, expression } },
    entries,
    variables(port) {
      const target = { port, user: agentUser, database: database.databaseNames[0]! }
      return new Map([[rule.name, connection === null ? plainConnection(rule, target) : connection.write(target).value]])
    },
  }
}

/** Keywords by which a credential or a trust anchor stays in a file of the agent's container. */
const credentialFiles: readonly string[] = ['passfile', 'service', 'servicefile', 'sslcert', 'sslkey', 'sslpassword']
const notSupported: readonly string[] = ['requirepeer', 'replication', 'sslkeylogfile', 'scram_client_key', 'scram_server_key']

function isUsable(connection: ReadConnection, where: string, { database, report }: Facts): boolean {
  const files = connection.keywords.filter((keyword) => credentialFiles.includes(keyword))
  if (files.length > 0) report.refuse('CredentialInFile', where, `it signs in by ${files.join(', ')}, which the sidecar does not have`)
  const others = connection.keywords.filter((keyword) => notSupported.includes(keyword) || keyword.startsWith('oauth_'))
  if (others.length > 0)
    report.refuse(
      'ConnectionNotUnderstood',
      where,
      `it asks for ${others.join(', ')}, which steno does not do`,
      `Remove ${others.join(', ')} from the connection`,
    )
  if (!connection.value('host') && connection.value('host') !== null && !connection.value('hostaddr'))
    report.refuse('ConnectionIncomplete', where, 'it names no host', 'Write the host into the connection')
  const fault = faultOfPlace(
    {
      host: connection.value('host'),
      hostaddr: connection.value('hostaddr'),
      port: connection.value('port'),
      database: connection.value('dbname'),
      sslmode: connection.value('sslmode'),
    },
    database,
  )
  if (fault !== null) report.refuse('OutsidePolicy', where, fault)
  if (connection.keywords.includes('sslrootcert') && connection.value('sslrootcert') !== 'system')
    report.warn(`${where} names a certificate file, which the sidecar does not have: it trusts what tls.ca of the policy says`)
  return files.length + others.length === 0 && fault === null
}

/** False, and refused, when a parameter that the agent keeps holds something that it must not have, or that it has no more under its name. */
function isWritable(connection: ReadConnection, index: number, where: string, { environment, report, database }: Facts): boolean {
  const { hidden } = connection.write({ port: database.localPort, user: agentUser, database: database.databaseNames[0]! })
  const fault = hidden.find((piece) => {
    if (piece.kind === 'elsewhere') return false
    if (piece.alternatives.some(({ secretKeyRef }) => secretKeyRef !== undefined)) return true
    const place = environment.entries.findLastIndex(({ variable }, at) => at < index && variable.name === piece.variable)
    return place < 0 ? piece.envFrom === null : environment.entries[place]!.expression[0] !== piece
  })
  if (fault?.kind !== 'leaf') return true
  report.refuse('CredentialInParameter', where, `a parameter of the connection is made of ${fault.variable}, which the agent cannot keep`)
  return false
}
