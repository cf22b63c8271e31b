/**
 * A proxy for the moment of a check: steno's own way to the database, with a store and a spool that are thrown away.
 *
 * What is proven so is what agents will meet: the same host order, the same TLS rules, the same sign-in. In custody a random token guards the
 * port for as long as it is open. The folder lies below the system's temporary folder, closed to others, and is removed.
 */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { KnownError } from '../../base/errors.ts'
import { createLog } from '../../base/log.ts'
import { Secret } from '../../postgres/authentication/secret.ts'
import type { ConnectionSettings } from '../../postgres/connection-string.ts'
import type { ErrorFields } from '../../postgres/statement.ts'
import { listSessions } from '../../session/read-session.ts'
import { openStore } from '../../session/stores/open-store.ts'
import { defaultSegmentLimits, defaultSpoolLimits, startProxy } from '../../sidecar/main.ts'
import { askToSignIn, openSmallClient, ServerSaidNo } from './client.ts'

const tokenBytes = 24
const passThroughUser = 'steno_doctor'

/** What the proxy, or the database behind it, answered instead of a session. */
export class NoSession extends KnownError {
  readonly code: string
  readonly remedy: string
  readonly safeToRetry = true
  constructor({ code, message, hint }: ErrorFields, cause: unknown) {
    super(message, { cause })
    this.code = code
    this.remedy = remedyFor(code, hint)
  }
}

/** SQLSTATEs that say what to do. */
function remedyFor(code: string, hint: string | undefined): string {
  switch (code) {
    case '28P01':
      return 'Correct the user or the password in the upstream’s connection string; nothing else is wrong with the way there.'
    case '28000':
      return hint ?? 'Let this user in from this machine in the server’s pg_hba.conf, or sign in as another.'
    case '3D000':
      return 'Name a database that exists, at the end of the upstream’s URL or as dbname.'
    case '42501':
      return 'Grant the user CONNECT on the database.'
    case '53300':
      return 'Let sessions end, or raise max_connections or the role’s connection limit.'
    case '57P03':
      return 'Wait until the server has started, and run this again.'
    default:
      return hint ?? 'Act on the message.'
  }
}

export type SignedIn = {
  readonly host: string
  readonly port: number
  readonly tls: string | null
  readonly serverVersion: string
  /** How far the server's clock is ahead of this machine's, and how far off that may be. */
  readonly clock: { readonly aheadMilliseconds: number; readonly errorMilliseconds: number }
}

type Trial = { readonly allowCleartextPassword: boolean; readonly signal: AbortSignal }

/** Signs in and asks for the time. @throws NoSession, or what starting the proxy throws */
export async function signIn(upstream: ConnectionSettings, trial: Trial): Promise<SignedIn> {
  const token = new Secret(randomBytes(tokenBytes).toString('base64url'))
  return withTrialProxy(upstream, token, trial, async (address, stopped) => {
    const client = await openSmallClient(address, { user: 'doctor', token, signal: trial.signal })
    // The first answer waits for much that later ones do not.
    await client.firstRow('select clock_timestamp()')
    const before = Date.now()
    const [seconds] = await client.firstRow('select extract(epoch from clock_timestamp())')
    const after = Date.now()
    client.end()
    const session = await stopped()
    return {
      host: session?.upstream.host ?? '',
      port: session?.upstream.port ?? 0,
      tls: session?.upstream.tls ?? null,
      serverVersion: client.parameters.get('server_version') ?? '',
      clock: { aheadMilliseconds: Number(seconds) * 1000 - (before + after) / 2, errorMilliseconds: (after - before) / 2 + 1 },
    }
  })
}

/** That a host is there and TLS is as it should be, where steno has no user to sign in as. @throws NoSession */
export async function reach(upstream: ConnectionSettings, trial: Trial): Promise<void> {
  await withTrialProxy(upstream, null, trial, async (address) => {
    try {
      await askToSignIn(address, { user: passThroughUser, signal: trial.signal })
    } catch (error) {
      // Whoever refuses this user was reached.
      if (!(error instanceof ServerSaidNo) || !/^(28|3D)/.test(error.fields.code)) throw error
    }
  })
}

type Recorded = { readonly upstream: { readonly host: string; readonly port: number; readonly tls: string | null } }

async function withTrialProxy<Result>(
  upstream: ConnectionSettings,
  token: Secret | null,
  { allowCleartextPassword }: Trial,
  use: (address: { host: string; port: number }, stopped: () => Promise<Recorded | null>) => Promise<Result>,
): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), 'steno-doctor-')) // At once: between making it and what removes it no signal may come.
  const storeUrl = pathToFileURL(join(folder, 'store')).href
  // A check that ran out of time is not waited for.
  const removeAtExit = (): void => rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  process.once('exit', removeAtExit)
  try {
    const proxy = await startProxy(
      {
        listen: { host: '127.0.0.1', port: 0 },
        upstream,
        databases: [],
        agentToken: token,
        allowCleartextPassword,
        storeUrl,
        spoolFolder: join(folder, 'spool'),
        spoolLimits: defaultSpoolLimits,
        segment: defaultSegmentLimits,
        onRecordFailure: 'block',
        recordWaitMilliseconds: 1_000,
        connectionsMax: 2,
        startupMillisecondsMax: 60_000,
        drainMilliseconds: 0,
        metricsListen: null,
        liveView: null,
      },
      createLog({ level: 'silent' }),
    )
    try {
      return await use({ host: proxy.host, port: proxy.port }, async () => {
        await proxy.stop()
        for await (const { identity } of listSessions(await openStore(storeUrl))) return identity
        return null
      })
    } finally {
      await proxy.stop()
    }
  } catch (error) {
    throw error instanceof ServerSaidNo ? new NoSession(error.fields, error) : error
  } finally {
    await rm(folder, { recursive: true, force: true })
    process.off('exit', removeAtExit)
  }
}
