/**
 * A proxy of steno's own in front of the database that a session is run against: it signs in, speaks TLS and tries the hosts as any
 * other, and records what comes back, to be compared.
 *
 * It listens on a free loopback port, lets in only who has a token made for this run, and its recording is removed with it.
 */
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { createLog } from '../../base/log.ts'
import { Secret } from '../../postgres/authentication/secret.ts'
import type { ConnectionSettings } from '../../postgres/connection-string.ts'
import type { Store } from '../../session/stores/store.ts'
import { openStore } from '../../session/stores/open-store.ts'
import { defaultSegmentLimits, defaultSpoolLimits, startProxy } from '../../sidecar/main.ts'

const tokenBytes = 24

export type ThrowawayProxy = AsyncDisposable & {
  readonly host: string
  readonly port: number
  readonly token: Secret
  /** Ends the recording, and gives the store that holds it. */
  finish(): Promise<Store>
}

/** @throws KnownError when the temporary folder cannot be used */
export async function startThrowawayProxy(upstream: ConnectionSettings): Promise<ThrowawayProxy> {
  const folder = await mkdtemp(path.join(tmpdir(), 'steno-rerun-')) // mkdtemp makes it 0700.
  const storeUrl = pathToFileURL(path.join(folder, 'store')).href
  const token = new Secret(randomBytes(tokenBytes).toString('hex'))
  try {
    await mkdir(path.join(folder, 'store'))
    const proxy = await startProxy(
      {
        listen: { host: '127.0.0.1', port: 0 },
        upstream,
        databases: [],
        agentToken: token,
        allowCleartextPassword: false,
        storeUrl,
        spoolFolder: path.join(folder, 'spool'),
        spoolLimits: defaultSpoolLimits,
        segment: defaultSegmentLimits,
        onRecordFailure: 'block',
        recordWaitMilliseconds: 60_000,
        connectionsMax: 1, // A cancel request is heard beyond it.
        startupMillisecondsMax: 600_000,
        drainMilliseconds: 0,
        metricsListen: null,
      },
      createLog({ level: 'silent' }),
    )
    return {
      host: proxy.host,
      port: proxy.port,
      token,
      async finish() {
        await proxy.stop()
        return openStore(storeUrl)
      },
      async [Symbol.asyncDispose]() {
        await proxy.stop()
        await rm(folder, { recursive: true, force: true })
      },
    }
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  }
}
