/**
 * `jdbc:postgresql://host:port/database?user=…&password=…`, read and written again.
 *
 * Source: pgJDBC documentation, "Connecting to the Database". Its own defaults differ from libpq's: localhost, never a Unix socket, and
 * `ssl=true` verifies the certificate. A certificate or key in Java's own formats is not understood by steno.
 */
import { splitConnectionString } from '../connection-string-text.ts'
import { joinedQuery, splitQuery, type Parameter } from './url-query.ts'
import { concernsTheWay, notForTheProxy, proxyHost, sslModeOf, type Target, type WrittenConnection } from './written-connection.ts'

const pattern = /^(jdbc:(?:p6spy:|otel:)?postgresql:)(?:\/\/([^/?]*)(\/[^?]*)?|([^?]*))(?:\?([\s\S]*))?$/i

const serverTypes: Readonly<Record<string, string>> = {
  any: 'any',
  primary: 'primary',
  master: 'primary',
  secondary: 'standby',
  slave: 'standby',
  prefersecondary: 'prefer-standby',
  preferslave: 'prefer-standby',
}

/** Null for what is no such URL. @throws BadConnectionString */
export function readJdbc(text: string): WrittenConnection | null {
  const match = pattern.exec(text)
  if (match === null) return null
  const [, prefix = '', hosts = '', path = '', alone = '', queryText = ''] = match
  const place = alone === '' || alone === '/' ? path : `/${alone}`
  const query = splitQuery(queryText)
  const values = new Map<string, string>([['host', 'localhost']])
  for (const { keyword, value } of splitConnectionString(`postgresql://${hosts}${place}`)) values.set(keyword, value)
  for (const { name, value } of query) takeParameter(name, value, values)
  return {
    values,
    readsPgVariables: false,
    write(target) {
      const database = target.database === null ? place : `/${encodeURIComponent(target.database)}`
      return `${prefix}//${proxyHost}:${target.port}${database === '' ? '/' : database}${joinedQuery(queryFor(query, target))}`
    },
  }
}

function takeParameter(name: string, value: string, values: Map<string, string>): void {
  const keyword = name.toLowerCase()
  if (keyword === 'ssl' || keyword === 'sslmode') values.set('sslmode', sslModeOf(value, 'verify-full') ?? value)
  else if (keyword === 'targetservertype') values.set('target_session_attrs', serverTypes[value.toLowerCase()] ?? value)
  else if (keyword === 'loadbalancehosts') values.set('load_balance_hosts', value === 'true' ? 'random' : 'disable')
  else if (keyword === 'channelbinding') values.set('channel_binding', value)
  else if (concernsTheWay(keyword)) values.set(keyword, value)
}

/** User and password stay where they stood, so that a password is never before its user. */
function queryFor(query: readonly Parameter[], { user, password, database }: Target): Parameter[] {
  const replaced = new Set([...(user === null ? [] : ['user']), ...(database === null ? [] : ['dbname'])])
  const kept = query.filter(({ name }) => !notForTheProxy.has(name.toLowerCase()) && !replaced.has(name.toLowerCase()))
  return [
    ...(user === null ? [] : [{ name: 'user', value: user }]),
    ...(password === null ? [] : [{ name: 'password', value: password }]),
    ...kept,
    { name: 'sslmode', value: 'disable' },
  ]
}
