/**
 * The relay without a cluster: a TLS server whose CONNECTs become tunnels, with limits, drain and certificates that change while it runs.
 *
 * Everything that comes from the cluster (certificates, token reviews, verdicts on pods, forbidden addresses) comes in by `RelayServerOptions`.
 */
import https from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Registry } from 'prom-client'
import { KnownError, messageOf } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Certificates } from '../cluster/certificates/certificates.ts'
import { boundConnections } from '../cluster/connections.ts'
import { createAuthentication } from '../cluster/identity/authenticate.ts'
import type { ClaimedPod } from '../cluster/identity/claimed-pod.ts'
import type { ReviewToken } from '../cluster/identity/pod.ts'
import { limitNewcomers } from '../cluster/newcomers.ts'
import type { Address } from '../cluster/process-settings.ts'
import { createAuthorise } from './authorise.ts'
import { createBoundedLines } from './bounded-lines.ts'
import { standardConnectTiming, type ConnectTiming } from './connect-target.ts'
import type { WhatForbids } from './forbidden-addresses.ts'
import type { JudgePod } from './pod-verdict.ts'
import { createProbe } from './probe.ts'
import { createRelayMetrics, type RelayMetrics } from './relay-metrics.ts'
import { createRequests } from './requests.ts'
import type { ResolveName } from './resolve-name.ts'
import { createTunnels, standardTunnelLimits, type TunnelLimits } from './tunnels.ts'

export type RelayServerOptions = {
  readonly listen: Address
  readonly certificates: Certificates
  readonly reviewToken: ReviewToken
  /** Where many pods have one address: whether there is such a pod; see `authenticate.ts`. */
  readonly isWatched?: ((pod: ClaimedPod) => boolean) | null
  readonly judgePod: JudgePod
  readonly resolveName: ResolveName
  readonly whatForbids: WhatForbids
  readonly checkSourceAddress: boolean
  /** How long tunnels may go on when the relay stops. */
  readonly drainMilliseconds: number
  readonly registry: Registry
  readonly log: Log
  readonly limits?: Partial<TunnelLimits>
  readonly connectTiming?: ConnectTiming
  /** Between two looks at all pods that have tunnels, whatever was heard of them. */
  readonly lookMilliseconds?: number
  readonly headersMillisecondsMax?: number
}

export type RelayServer = AsyncDisposable & {
  readonly port: number
  readonly tunnels: number
  /** Of a pod (its UID), or of policies, namespaces, forbidden addresses (null): tunnels that are allowed no more end. */
  changed(podUid: string | null): void
  /** In words, for /readyz; empty when ready. */
  reasonsNotReady(): readonly string[]
  /** Opens no tunnel any more, lets those that are open go on for the drain time, and closes. */
  stop(): Promise<void>
}

/** The address is taken, or not this machine's. */
export class RelayCannotListen extends KnownError {
  readonly code = 'RELAY_CANNOT_LISTEN'
  readonly remedy = 'Give another address, or stop what listens there.'
  readonly safeToRetry = true
}

/** A token has 1 to 2 KiB. */
const headerBytesMax = 16 * 1024
const headersMillisecondsMax = 10_000
const handshakeMillisecondsMax = 10_000
/** Connections that carry no tunnel yet. */
const strangersMax = 4_096
/** A pod whose sidecar starts again opens all its tunnels at once. */
const strangersOfAddress = 64
const handshakeRate = { perSecond: 200, burst: 1_000 }
const drainLookMilliseconds = 50

/** @throws RelayCannotListen */
export async function startRelayServer(options: RelayServerOptions): Promise<RelayServer> {
  const { certificates, log } = options
  const limits = { ...standardTunnelLimits, ...options.limits }
  let isStopping = false
  const headersMilliseconds = options.headersMillisecondsMax ?? headersMillisecondsMax
  const server = https.createServer({
    ...certificates.current(),
    minVersion: 'TLSv1.3',
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
    maxHeaderSize: headerBytesMax,
    handshakeTimeout: handshakeMillisecondsMax,
    headersTimeout: headersMilliseconds,
    requestTimeout: headersMilliseconds,
    keepAliveTimeout: 1,
    connectionsCheckingInterval: Math.min(headersMilliseconds, 2_000),
  })
  const tunnels = createTunnels({
    ...{ limits, log, judgePod: options.judgePod, whatForbids: options.whatForbids, metrics: () => metrics },
    ...(options.lookMilliseconds === undefined ? {} : { lookMilliseconds: options.lookMilliseconds }),
  })
  const metrics: RelayMetrics = createRelayMetrics({
    registry: options.registry,
    counts: () => tunnels.counts(),
    connections: () => connections.size,
  })
  if (options.checkSourceAddress)
    limitNewcomers(server, { connectionsMax: limits.tunnelsPerPodMax + strangersOfAddress, rate: handshakeRate }, () => metrics.cut())
  const connections = boundConnections(server, { max: limits.tunnelsMax + strangersMax, vouchedMax: limits.tunnelsMax + 1 })
  const lines = createBoundedLines(log)
  const requests = createRequests({
    authorise: createAuthorise({
      authenticate: createAuthentication({ reviewToken: options.reviewToken, isWatched: options.isWatched ?? null }),
      judgePod: options.judgePod,
      checkSourceAddress: options.checkSourceAddress,
    }),
    ...{ resolveName: options.resolveName, whatForbids: options.whatForbids, probe: createProbe() },
    ...{ tunnels, metrics, lines, log, connections, connectTiming: options.connectTiming ?? standardConnectTiming },
    isStopping: () => isStopping,
  })
  server.on('connect', (request, socket, head) => requests.connect(request, socket as Socket, head))
  server.on('request', (request, response) => requests.request(request, response))
  server.on('clientError', (_error, socket) => requests.malformed(socket as Socket))
  server.on('tlsClientError', () => metrics.handshakeFailed())
  const endCertificates = certificates.onChange(() => {
    try {
      server.setSecureContext({ ...certificates.current(), minVersion: 'TLSv1.3' })
    } catch (error) {
      log.error(`the certificate cannot be used, and the one before stays: ${messageOf(error)}`)
    }
  })

  const end = (): void => {
    endCertificates()
    tunnels.stop()
    lines.stop()
  }
  const port = await listen(server, options.listen).catch((error: unknown) => {
    end()
    throw error
  })

  async function stopOnce(): Promise<void> {
    isStopping = true
    const closed = new Promise((resolve) => server.close(resolve))
    server.closeIdleConnections()
    connections.cutStrangers()
    const until = performance.now() + options.drainMilliseconds
    // Tunnels end by themselves one after the other; nobody is told of the last.
    while (tunnels.size > 0 && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, drainLookMilliseconds))
    tunnels.cutAll({ kind: 'stopping', detail: null })
    server.closeAllConnections()
    await closed
    end()
  }
  let stopped: Promise<void> | null = null
  const stop = (): Promise<void> => (stopped ??= stopOnce())

  return {
    port,
    get tunnels() {
      return tunnels.size
    },
    changed: (podUid) => tunnels.changed(podUid),
    reasonsNotReady: () => (isStopping ? ['it is stopping'] : []),
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

async function listen(server: https.Server, { host, port }: Address): Promise<number> {
  return await new Promise((resolve, reject) => {
    server.once('error', (error) =>
      reject(new RelayCannotListen(`cannot listen on ${host}:${port}: ${messageOf(error)}`, { cause: error })),
    )
    server.listen({ ...(host === '' ? {} : { host }), port }, () => resolve((server.address() as AddressInfo).port))
  })
}
