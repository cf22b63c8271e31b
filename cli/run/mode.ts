/**
 * Who signs in to a database: steno, when it has what that takes, or the command itself.
 *
 * steno has it when the environment holds a password or names a certificate, when the password file has a line, or when the server may
 * ask the kernel who is at the other end of a Unix socket, where everybody who reaches the proxy would be the person who started it.
 * In every other case the command brings its own, or the server asks for nothing.
 */
import { existsSync, readFileSync } from 'node:fs'
import os from 'node:os'
import { systemCodeOf } from '../../base/errors.ts'
import { findPassword } from '../../postgres/authentication/password-file.ts'
import { keywordText } from '../../postgres/connection-forms/keyword-form.ts'
import { keywords } from '../../postgres/connection-string-keywords.ts'
import { parseConnectionString, type ConnectionSettings } from '../../postgres/connection-string.ts'
import { BadVariable } from './errors.ts'
import type { Environment, Mention, Told } from './mentions.ts'

export type Upstream = Told & {
  /** For `parseConnectionString`, with `environment`; names a user in custody only. */
  readonly text: string
  readonly environment: Environment
  readonly settings: ConnectionSettings
}

/** libpq completes these from the environment for the command, whose session start passes through. */
const ofTheSession = ['PGOPTIONS', 'PGAPPNAME', 'PGCLIENTENCODING']

/** @throws BadVariable for what steno cannot honour, as a service file */
export function upstreamOf({ variables, values, readsPgVariables }: Mention, environment: Environment): Upstream {
  const relevant = Object.entries(environment).filter(
    ([name]) => name === 'HOME' || (readsPgVariables && name.startsWith('PG') && !ofTheSession.includes(name)),
  )
  const own = Object.fromEntries(relevant)
  const named = values.get('user') || (readsPgVariables ? environment['PGUSER'] : undefined) || os.userInfo().username
  const whole = completed(values, own)
  const inCustody = keywordText(new Map([...whole, ['user', named]]))
  try {
    const settings = parseConnectionString(inCustody, own)
    const place = { environment: own, user: named, database: settings.database ?? named }
    if (canSignIn(settings, named)) return { text: inCustody, settings, ...place }
    const text = keywordText(new Map([...whole].filter(([keyword]) => keyword !== 'user')))
    return { text, settings: parseConnectionString(text, own), ...place }
  } catch (error) {
    throw new BadVariable(variables, error)
  }
}

/** With what the environment adds, as libpq looks it up, so that the text says everything by itself. */
function completed(values: ReadonlyMap<string, string>, environment: Environment): Map<string, string> {
  const all = new Map(values)
  for (const [keyword, variable] of Object.entries(keywords.honoured)) {
    const value = variable === null ? undefined : environment[variable]
    if (value && !all.has(keyword)) all.set(keyword, value)
  }
  return all
}

function canSignIn(settings: ConnectionSettings, user: string): boolean {
  const { password, hosts, tls, targetSessionAttributes } = settings
  if (password !== null || targetSessionAttributes !== 'any') return true
  if (tls.certificate !== null || (tls.defaultFolder !== null && existsSync(`${tls.defaultFolder}/postgresql.crt`))) return true
  if (hosts.some(({ name }) => name.startsWith('/') || name.startsWith('@'))) return true
  return passwordFileHasLine(settings, user)
}

/** A file that cannot be read is none, as for libpq. Whether others may read it is judged when it is used. */
function passwordFileHasLine({ passwordFile, hosts, database }: ConnectionSettings, user: string): boolean {
  if (passwordFile === null) return false
  let text: string
  try {
    text = readFileSync(passwordFile, 'utf8')
  } catch (error) {
    if (systemCodeOf(error) !== undefined) return false
    throw error
  }
  return hosts.some(
    ({ name, address, port }) =>
      findPassword(text, { host: name === '' ? (address ?? '') : name, port, database: database ?? user, user }) !== null,
  )
}

/** Two upstreams with the same key are the same database, reached the same way as the same user. */
export function keyOf({ settings }: Upstream): string {
  return JSON.stringify([
    settings,
    settings.password?.reveal(),
    settings.tls.keyPassword?.reveal(),
    settings.allowedAuthentication === null ? null : [...settings.allowedAuthentication],
  ])
}
