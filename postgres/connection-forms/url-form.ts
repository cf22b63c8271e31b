/**
 * `postgresql://user:password@host:port/database?…`, with the prefixes that drivers and frameworks put before it, read and written again.
 *
 * The last `@` before the path ends the credentials, as browsers and most drivers have it. Knows nothing of the environment.
 */
import { BadConnectionString, splitConnectionString } from '../connection-string-text.ts'
import { joinedQuery, percentDecoded, splitQuery, type Parameter } from './url-query.ts'
import { concernsTheWay, notForTheProxy, proxyHost, sslModeOf, type Target, type WrittenConnection } from './written-connection.ts'

/** PostGIS and `pgsql` are how Django, Rails and PHP name the same; behind a `+` stands SQLAlchemy's driver. */
const prefixPattern =
  /^(?<prefix>(?<r2dbc>r2dbc:(?:pool:)?)?(?:postgres|postgresql|postgis|pgsql|pdo-pgsql|psql)(?:\+(?<driver>[\w.-]+))?:\/\/)/i
/** SQLAlchemy's drivers that hand parameters to libpq; others refuse `sslmode`. */
const libpqDrivers: ReadonlySet<string> = new Set(['psycopg', 'psycopg_async', 'psycopg2', 'psycopg2cffi'])

type Shape = { readonly prefix: string; readonly isR2dbc: boolean; readonly driver: string | null }

/** Null for what is no such URL. @throws BadConnectionString */
export function readUrl(text: string): WrittenConnection | null {
  const { prefix, r2dbc, driver } = prefixPattern.exec(text)?.groups ?? {}
  if (prefix === undefined) return null
  const shape: Shape = { prefix, isR2dbc: r2dbc !== undefined, driver: driver?.toLowerCase() ?? null }
  const [, authority = '', path = '', queryText = '', fragment = ''] =
    /^([^/?#]*)(\/[^?#]*)?(?:\?([^#]*))?(#[\s\S]*)?$/.exec(text.slice(prefix.length)) ?? []
  const at = authority.lastIndexOf('@')
  if (at < 0 && path.includes('@')) {
    throw new BadConnectionString('an "@" stands behind the first "/"', {
      remedy: 'In a user name or password, write / as %2F, @ as %40, ? as %3F, # as %23.',
    })
  }
  const [user, password] = at < 0 ? ['', null] : credentialsIn(authority.slice(0, at))
  const query = splitQuery(queryText)
  const values = new Map<string, string>()
  if (user !== '') values.set('user', percentDecoded(user))
  if (password !== null && password !== '') values.set('password', percentDecoded(password))
  for (const { keyword, value } of splitConnectionString(`postgresql://${authority.slice(at + 1)}${path}`)) values.set(keyword, value)
  takeQuery(query, shape, values)
  return {
    values,
    readsPgVariables: !shape.isR2dbc,
    write(target) {
      const name = target.user === null ? user : encodeURIComponent(target.user)
      const secret = target.password === null ? '' : `:${encodeURIComponent(target.password)}`
      const credentials = name === '' && secret === '' ? '' : `${name}${secret}@`
      const place = target.database === null ? path : `/${encodeURIComponent(target.database)}`
      return `${prefix}${credentials}${proxyHost}:${target.port}${place}${joinedQuery(queryFor(query, shape, target))}${fragment}`
    },
  }
}

function credentialsIn(text: string): [user: string, password: string | null] {
  const colon = text.indexOf(':')
  return colon < 0 ? [text, null] : [text.slice(0, colon), text.slice(colon + 1)]
}

/** A later parameter wins, as in libpq. */
function takeQuery(query: readonly Parameter[], { isR2dbc, driver }: Shape, values: Map<string, string>): void {
  for (const { name, value } of query) {
    const keyword = isR2dbc ? name.toLowerCase() : name
    const mode = keyword === 'ssl' || keyword === 'sslmode' ? sslModeOf(value, isR2dbc ? 'verify-full' : 'require') : null
    if (mode !== null) values.set('sslmode', mode)
    else if (concernsTheWay(keyword)) values.set(keyword, value)
  }
  const hosts = query.filter(({ name }) => name === 'host').flatMap(({ value }) => value.split(','))
  // SQLAlchemy repeats `host`, and lets each have a port behind a colon.
  if (driver === null || (hosts.length < 2 && !/^[^/:]+:\d+$/.test(hosts[0] ?? ''))) return
  const pairs = hosts.map((host) => /^([^/:]+|\[[^\]]+\])(?::(\d*))?$/.exec(host) ?? [host, host, ''])
  values.set('host', pairs.map(([, name]) => name).join(','))
  if (pairs.some(([, , port]) => port)) values.set('port', pairs.map(([, , port]) => port ?? '').join(','))
}

function queryFor(query: readonly Parameter[], { isR2dbc, driver }: Shape, { user, database }: Target): Parameter[] {
  const isLibpq = driver === null ? !isR2dbc : libpqDrivers.has(driver)
  const replaced = new Set([...(user === null ? [] : ['user']), ...(database === null ? [] : ['dbname', 'database'])])
  const kept = query.filter(({ name }) => !notForTheProxy.has(name.toLowerCase()) && !replaced.has(name.toLowerCase()))
  const told = query.find(({ name }) => ['ssl', 'sslmode'].includes(name.toLowerCase()))
  if (isLibpq) return [...kept, { name: 'sslmode', value: 'disable' }]
  if (told === undefined) return kept
  if (isR2dbc) return told.name === 'ssl' ? kept : [...kept, { name: told.name, value: 'disable' }]
  return [...kept, { name: told.name, value: 'disable' }]
}
