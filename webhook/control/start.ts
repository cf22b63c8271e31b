/**
 * Control's two doors put together: sidecars by HTTPS with their tokens, auditors by plain HTTP on the loopback interface.
 *
 * Everything that comes from the cluster (certificates, key, RecordingStores, token reviews, pods) comes in by `ControlServerOptions`, so
 * this runs without one. What it holds in memory is bounded by `uploads.ts` (objects) and the memories of owners and verdicts.
 */
import http from 'node:http'
import https from 'node:https'
import type { AddressInfo, Server } from 'node:net'
import type { Registry } from 'prom-client'
import { KnownError, messageOf } from '../../base/errors.ts'
import type { Log } from '../../base/log.ts'
import { boundConnections } from '../../cluster/connections.ts'
import { limitNewcomers, type NewcomerLimits } from '../../cluster/newcomers.ts'
import { createAttestationChain } from './attestation-chain.ts'
import { createSidecarAccess, readerAccess, type Access } from './access.ts'
import { createAuthentication } from '../../cluster/identity/authenticate.ts'
import type { ControlKey } from './control-key.ts'
import { createControlMetrics, type ControlMetrics } from './metrics.ts'
import { createOpenRecordingStore, type ReadSecret } from './open-recording-store.ts'
import { createOwners, type Owners } from './owners.ts'
import type { ClaimedPod } from '../../cluster/identity/claimed-pod.ts'
import { podName, type PodIdentity, type ReviewToken } from '../../cluster/identity/pod.ts'
import type { DescribePod } from './pod-description.ts'
import { createProbes } from './probes.ts'
import { Refusal } from './refusal.ts'
import { createRequests, type Caller } from './requests.ts'
import type { Route } from './routes.ts'
import { createStores, type OpenedStore, type OpenRecordingStore, type StoreObject, type Stores, type StoreStatus } from './stores.ts'
import { createUploads, standardUploadLimits, type UploadLimits } from './uploads.ts'

/** PEM; `onChange` is told when `current` gives another. */
export type Certificates = {
  current(): { readonly key: string; readonly cert: string }
  onChange(listener: () => void): void
}

export type ControlServerOptions = {
  readonly listen: { readonly host: string; readonly port: number }
  /** The host must be a loopback address: who reaches it reads everything. Null: no reader. */
  readonly readerListen: { readonly host: string; readonly port: number } | null
  readonly certificates: Certificates
  readonly key: ControlKey
  readonly reviewToken: ReviewToken
  /** Where many pods have one address: whether there is such a pod; see `authenticate.ts`. */
  readonly isWatched?: ((pod: ClaimedPod) => boolean) | null
  readonly describePod: DescribePod
  /** The RecordingStores as they are now; asked at each request. */
  readonly stores: () => readonly StoreObject[]
  readonly onStatus?: (status: StoreStatus) => void
  /** For stores whose credentials stand in a Secret of steno's namespace; without it they cannot be opened. */
  readonly readSecret?: ReadSecret
  readonly registry: Registry
  readonly log: Log
  readonly uploadLimits?: Partial<UploadLimits>
  /** Of one address before a token is shown; null where the network gives very many pods one address. Absent: `standardNewcomerLimits`. */
  readonly newcomerLimits?: NewcomerLimits | null
  /** The paths beside the objects of stores; made once, before the server listens. */
  readonly routes?: (parts: ControlParts) => readonly Route[]
  /** Where a test puts a failing store, or other rules, in control's way. */
  readonly seams?: {
    readonly open?: OpenRecordingStore
    readonly access?: (pod: PodIdentity, opened: OpenedStore) => Access
    readonly callMilliseconds?: number
    readonly silenceMillisecondsMax?: number
  }
}

/** What routes may need of the server. */
export type ControlParts = {
  readonly stores: Stores
  /** Who wrote what in a store: each recorder's pod. */
  readonly ownersOf: (opened: OpenedStore) => Owners
  readonly key: ControlKey
  readonly metrics: ControlMetrics
  readonly log: Log
  /** Aborted when control begins to stop: what answers for long ends then. */
  readonly stopping: AbortSignal
}

export type ControlServer = AsyncDisposable & {
  readonly port: number
  readonly readerPort: number | null
  /** For the condition StoreReachable of each RecordingStore. */
  statuses(): readonly StoreStatus[]
  /** Opens and proves RecordingStores that came or changed, now instead of soon. */
  lookAtStores(): Promise<void>
  /** In words, for /readyz; empty when ready. A store that is down is not among them: sidecars are told by each answer. */
  reasonsNotReady(): readonly string[]
  /** Takes nothing any more, lets what is under way end, and closes. */
  stop(): Promise<void>
}

/** The address is taken, or not this machine's. */
export class ControlCannotListen extends KnownError {
  readonly code = 'CONTROL_CANNOT_LISTEN'
  readonly remedy = 'Give another address, or stop what listens there.'
  readonly safeToRetry = true
}

const readLimits: UploadLimits = { ...standardUploadLimits, bytesMax: 64 * 1024 * 1024, uploadsPerPodMax: 8 }
const headersMillisecondsMax = 10_000
/** A whole request, its body and the wait for its turn included. */
const requestMillisecondsMax = 60_000
/** Longer than sidecars keep an idle connection (45 s), so that none meets one that is being closed. */
const keepAliveMilliseconds = 95_000
/** A sidecar that neither takes nor gives anything for so long is cut off. */
const silenceMillisecondsMax = 60_000
/** Whoever verifies a store reads its list on only after a session of many gigabytes, and reaches control by an auditor's right alone. */
const readerSilenceMillisecondsMax = 60 * 60 * 1000
/** Of each sidecar one stays, and up to four more while it stores. More than the memory of the chart's default is enough for: see `resources` in its values. */
const connectionsMax = 12_288
const readerConnectionsMax = 256
const connectionsOfSidecarsMax = 11_264
/**
 * A sidecar has at most five connections and opens a few a second while it stores. What has shown a token is not counted, so that a node that puts its
 * own address in place of its pods' keeps none of them out.
 */
export const standardNewcomerLimits: NewcomerLimits = { connectionsMax: 64, rate: { perSecond: 50, burst: 400 } }
/** Until a connection has shown what it is for. */
const openingTimeouts = { handshakeTimeout: 10_000, connectionsCheckingInterval: 5_000 }
const stopMillisecondsMax = 20_000
const idleLookMilliseconds = 50

/** @throws ControlCannotListen */
export async function startControlServer(options: ControlServerOptions): Promise<ControlServer> {
  const { certificates, log, seams = {} } = options
  const stores = createStores({
    stores: options.stores,
    open: seams.open ?? createOpenRecordingStore({ readSecret: options.readSecret ?? null }),
    callMilliseconds: seams.callMilliseconds,
    onStatus(status) {
      const { name: store, isReachable, reason, message } = status
      log[isReachable === true ? 'info' : 'warn']({ store, reason }, `RecordingStore ${store}: ${message}`)
      options.onStatus?.(status)
    },
  })
  const uploads = createUploads({ ...standardUploadLimits, ...options.uploadLimits })
  const metrics = createControlMetrics({ registry: options.registry, uploads, statuses: stores.statuses })
  const authenticate = createAuthentication({ reviewToken: options.reviewToken, isWatched: options.isWatched ?? null })
  const probes = createProbes()
  const owners = new WeakMap<OpenedStore, Owners>()
  const stopping = new AbortController()
  const handle = createRequests({
    routes: options.routes?.({ stores, ownersOf, key: options.key, metrics, log, stopping: stopping.signal }) ?? [],
    ...{ stores, key: options.key, uploads, reads: createUploads(readLimits), metrics, log },
    isStopping: () => stopping.signal.aborted,
  })

  function ownersOf(opened: OpenedStore): Owners {
    const known = owners.get(opened)
    if (known !== undefined) return known
    const { store, name: storeName } = opened
    const { key, describePod } = options
    const made = createOwners({ store, storeName, key, describePod, chain: createAttestationChain({ store, key, log }) })
    owners.set(opened, made)
    return made
  }

  async function sidecar(request: http.IncomingMessage): Promise<Caller> {
    const pod = await authenticate(request.headers.authorization, request.socket.remoteAddress ?? '')
    connections.vouch(request.socket)
    newcomers?.vouch(request.socket)
    const standard = (opened: OpenedStore): Access => createSidecarAccess({ pod, owners: ownersOf(opened), probes })
    const accessTo = (opened: OpenedStore): Access => seams.access?.(pod, opened) ?? standard(opened)
    return { id: pod.podUid, name: podName(pod), pod, isReader: false, accessTo }
  }

  const server = https.createServer({ ...certificates.current(), minVersion: 'TLSv1.3', ...openingTimeouts }, (request, response) => {
    void handle(request, response, sidecar)
  })
  limit(server, seams.silenceMillisecondsMax ?? silenceMillisecondsMax)
  const { newcomerLimits = standardNewcomerLimits } = options
  const newcomers = newcomerLimits === null ? null : limitNewcomers(server, newcomerLimits, metrics.cut)
  const connections = boundConnections(server, { max: connectionsMax, vouchedMax: connectionsOfSidecarsMax })
  certificates.onChange(() => {
    try {
      server.setSecureContext({ ...certificates.current(), minVersion: 'TLSv1.3' })
    } catch (error) {
      log.error(`the certificate cannot be used, and the one before stays: ${messageOf(error)}`)
    }
  })
  const reader =
    options.readerListen === null ? null : http.createServer((request, response) => void handle(request, response, readerCaller))
  if (reader !== null) {
    limit(reader, readerSilenceMillisecondsMax)
    reader.maxConnections = readerConnectionsMax
  }

  let port: number
  let readerPort: number | null = null
  try {
    port = await listen(server, options.listen)
    if (reader !== null && options.readerListen !== null) {
      if (!isLoopback(options.readerListen.host)) throw new ControlCannotListen('the reader listens on loopback addresses only')
      readerPort = await listen(reader, options.readerListen)
    }
  } catch (error) {
    server.close()
    stores.close()
    throw error
  }
  void stores.lookAtAll()

  let stopped: Promise<void> | null = null
  async function stopOnce(): Promise<void> {
    stopping.abort()
    stores.close()
    connections.cutStrangers()
    await Promise.all([close(server), ...(reader === null ? [] : [close(reader)])])
  }
  const stop = (): Promise<void> => (stopped ??= stopOnce())

  return {
    port,
    readerPort,
    statuses: stores.statuses,
    lookAtStores: stores.lookAtAll,
    reasonsNotReady: () => (stopping.signal.aborted ? ['it is stopping'] : []),
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

/**
 * An auditor is whoever reaches the loopback port. A page in an auditor's browser does too: it is told apart by the name that it asked
 * for, which its DNS must have led here.
 */
function readerCaller({ headers }: http.IncomingMessage): Promise<Caller> {
  const host = URL.parse(`http://${headers.host ?? ''}`)?.hostname ?? ''
  if (!isLoopback(host) || headers.origin !== undefined)
    return Promise.reject(new Refusal('NOT_FOUND', 'the reader answers programs on this machine, not pages of others'))
  return Promise.resolve({ id: 'reader', name: 'reader', pod: null, isReader: true, accessTo: () => readerAccess })
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || host === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host)
}

function limit(server: http.Server | https.Server, silenceMilliseconds: number): void {
  server.headersTimeout = headersMillisecondsMax
  server.requestTimeout = requestMillisecondsMax
  server.keepAliveTimeout = keepAliveMilliseconds
  server.timeout = silenceMilliseconds
}

async function listen(server: Server, { host, port }: { readonly host: string; readonly port: number }): Promise<number> {
  return await new Promise((resolve, reject) => {
    server.once('error', (error) =>
      reject(new ControlCannotListen(`cannot listen on ${host}:${port}: ${messageOf(error)}`, { cause: error })),
    )
    server.listen({ host, port }, () => resolve((server.address() as AddressInfo).port))
  })
}

async function close(server: http.Server | https.Server): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve))
  // A connection whose last answer is out stays open otherwise, until it has been idle for long.
  const idle = setInterval(() => server.closeIdleConnections(), idleLookMilliseconds)
  const timer = setTimeout(() => server.closeAllConnections(), stopMillisecondsMax)
  await closed
  clearInterval(idle)
  clearTimeout(timer)
}
