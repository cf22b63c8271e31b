/**
 * A private proxy for each database: on a free port of 127.0.0.1, with a spool of its own, open only to who knows the run's token.
 *
 * A spool has one writer, and other runs may be under way: the folder itself is tried, then `…-2`, `…-3`. Each keeps its recorder's key
 * and ledger from run to run, so a store sees few recorders; what a killed run left in a spool is stored by the next that takes it.
 */
import { randomBytes } from 'node:crypto'
import { KnownError } from '../../base/errors.ts'
import type { Log } from '../../base/log.ts'
import { Secret } from '../../postgres/authentication/secret.ts'
import type { RecordingLevel } from '../../session/identity.ts'
import { startProxy, type Proxy, type ProxySettings } from '../../sidecar/main.ts'
import { BadSettings, command as proxyCommand, settingsFrom } from '../proxy.ts'
import { NoFreeSpool } from './errors.ts'
import type { Mention } from './mentions.ts'
import { keyOf, type Upstream } from './mode.ts'

export type ProxyOptions = {
  readonly store: string
  readonly spool: string
  readonly level: RecordingLevel
  readonly onRecordFailure: 'block' | 'continue'
  readonly segmentMilliseconds: number
}

/** A proxy and all mentions of the database behind it. */
export type Served = {
  readonly proxy: Proxy
  readonly upstream: Upstream
  readonly token: string | null
  readonly mentions: readonly Mention[]
}

export type Named = { readonly mention: Mention; readonly upstream: Upstream }

/** Each has a listener, and a thread while it records. */
const databasesMax = 16
const spoolsMax = 64
const tokenBytes = 24
/** The command has ended: what still has a connection is a process that it left behind, or a statement whose sender is gone. */
const drainMilliseconds = 1_000
/** Another run has it, or its ledger lies in another store. */
const tryNext: ReadonlySet<string> = new Set(['SPOOL_IN_USE', 'SPOOL_OF_OTHER_STORE'])

/** @throws KnownError; what was started by then is stopped */
export async function startProxies(named: readonly Named[], options: ProxyOptions, log: Log): Promise<readonly Served[]> {
  const groups = Map.groupBy(named, ({ upstream }) => keyOf(upstream))
  if (groups.size > databasesMax) {
    throw new BadSettings(
      `the environment names ${groups.size} databases, and steno run serves ${databasesMax} at a time`,
      'Unset the variables that the command does not need.',
    )
  }
  const served: Served[] = []
  try {
    for (const group of groups.values()) {
      const { upstream } = group[0]!
      const isCustody = upstream.settings.user !== null
      const token = isCustody ? randomBytes(tokenBytes).toString('base64url') : null
      const proxy = await startOnFreeSpool(options.spool, (spool) => startProxy(settingsOf(upstream, token, { ...options, spool }), log))
      served.push({ proxy, upstream, token, mentions: group.map(({ mention }) => mention) })
    }
    return served
  } catch (error) {
    await Promise.all(served.map(({ proxy }) => proxy.stop()))
    throw error
  }
}

/** As `steno proxy` would have it with these options and no others. */
function settingsOf({ text, environment }: Upstream, token: string | null, options: ProxyOptions): ProxySettings {
  const proxy = proxyCommand()
  const given = [
    ...['--listen', '127.0.0.1:0', '--store', options.store, '--spool', options.spool],
    ...[
      '--level',
      options.level,
      '--on-record-failure',
      options.onRecordFailure,
      '--segment-milliseconds',
      String(options.segmentMilliseconds),
    ],
    ...['--drain-milliseconds', String(drainMilliseconds)],
  ]
  proxy.parseOptions(given)
  return {
    ...settingsFrom(proxy.opts(), { ...environment, STENO_UPSTREAM: text }),
    agentToken: token === null ? null : new Secret(token),
    // The command has what its credential opens, here as without steno.
    databases: 'any',
    // Standard output is the command's.
    liveView: null,
  }
}

async function startOnFreeSpool(folder: string, start: (spool: string) => Promise<Proxy>): Promise<Proxy> {
  for (let number = 1; number <= spoolsMax; number++) {
    try {
      return await start(number === 1 ? folder : `${folder}-${number}`)
    } catch (error) {
      if (!(error instanceof KnownError && tryNext.has(error.code))) throw error
    }
  }
  throw new NoFreeSpool(`${folder} and the ${spoolsMax - 1} spools beside it are in use, or belong to other stores`)
}
