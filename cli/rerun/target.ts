/**
 * Which database a session is run against: from options and environment to connection settings, and whether it is the very database
 * that was recorded.
 */
import { lookup } from 'node:dns/promises'
import { readFileSync } from 'node:fs'
import { KnownError, messageOf } from '../../base/errors.ts'
import { parseConnectionString, type ConnectionSettings, type UpstreamHost } from '../../postgres/connection-string.ts'
import type { SessionIdentity } from '../../session/identity.ts'

/** Where to run the session is not said, or cannot be used. */
export class BadTarget extends KnownError {
  readonly code = 'BAD_TARGET'
  readonly remedy: string
  readonly safeToRetry = true
  constructor(what: string, remedy: string, cause?: unknown) {
    super(what, { cause })
    this.remedy = remedy
  }
}

/** Nobody said yes to running the session. */
export class RerunNotConfirmed extends KnownError {
  readonly code = 'RERUN_NOT_CONFIRMED'
  readonly remedy = 'Make a scratch database and name that one (create database scratch template shop); or, if you mean it, add --yes.'
  readonly safeToRetry = true
}

export type TargetOptions = {
  /** The text behind `--against`, `true` when there is none. */
  readonly against?: string | true
  readonly againstFile?: string
}

export type Target = {
  readonly settings: ConnectionSettings & { readonly user: string }
  readonly database: string
  /** `127.0.0.1:5432, database shop, as shop` */
  readonly text: string
}

const howToSay =
  'Give --against a connection string without a password, or put the whole string into STENO_AGAINST or the file named by --against-file.'

/** @throws BadTarget, BadConnectionString */
export function targetFrom({ against, againstFile }: TargetOptions, environment: Readonly<Record<string, string | undefined>>): Target {
  if (typeof against === 'string' && againstFile !== undefined)
    throw new BadTarget('the database is given twice, by --against and by --against-file', 'Give it once.')
  const text = typeof against === 'string' ? against : againstFile === undefined ? environment['STENO_AGAINST'] : textOfFile(againstFile)
  if (text === undefined || text.trim() === '') throw new BadTarget('the database to run the session against is not said', howToSay)
  const settings = parseConnectionString(text.trim(), environment)
  const { user, database } = settings
  if (user === null)
    throw new BadTarget('the connection string names no user', 'Write the user into it: postgresql://USER@host:5432/database.')
  const named = database ?? user
  const hosts = settings.hosts.map(({ name, address, port }) => `${name === '' ? (address ?? '') : name}:${port}`).join(' or ')
  return { settings: { ...settings, user, database: named }, database: named, text: `${hosts}, database ${named}, as ${user}` }
}

function textOfFile(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new BadTarget(`cannot read the connection string: ${messageOf(error)}`, 'Name a file that steno may read.', error)
  }
}

/** True when one of the target's hosts may be the database that was recorded: names are looked up, and in doubt it is the same. */
export async function isRecordedDatabase(
  { settings, database }: Target,
  { upstream, database: recorded }: SessionIdentity,
): Promise<boolean> {
  if (database !== recorded) return false
  const places = await placesOf({ name: upstream.host, address: null, port: upstream.port })
  for (const host of settings.hosts) {
    if (host.port !== upstream.port) continue
    for (const place of await placesOf(host)) if (places.has(place)) return true
  }
  return false
}

/** Every name by which a host may be known; all of this machine's own are one. */
async function placesOf({ name, address }: Pick<UpstreamHost, 'name' | 'address' | 'port'>): Promise<Set<string>> {
  const places = new Set([name.toLowerCase(), address ?? ''].filter((place) => place !== ''))
  const isSocket = name.startsWith('/') || name.startsWith('@')
  if (!isSocket && name !== '') {
    try {
      for (const found of await lookup(name, { all: true })) places.add(found.address)
    } catch {
      places.add(name.toLowerCase()) // A name that nobody knows is at least itself; connecting will tell.
    }
  }
  if (isSocket || [...places].some((place) => place === 'localhost' || /^(127\.|::1$|::ffff:127\.)/.test(place))) places.add('this machine')
  return places
}
