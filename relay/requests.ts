/**
 * One request, from its first byte to a tunnel, an answer, or a refusal.
 *
 * A connection carries one request alone: a second one on it could be read by a party before the relay as part of the first. A refused
 * request is one count, and one log line as far as those are bounded. No line holds a token.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Log } from '../base/log.ts'
import { messageOf } from '../base/errors.ts'
import type { Connections } from '../cluster/connections.ts'
import { NotIdentified } from '../cluster/identity/not-identified.ts'
import { podName, type PodIdentity } from '../cluster/identity/pod.ts'
import type { Authorise, Caller } from './authorise.ts'
import type { BoundedLines } from './bounded-lines.ts'
import { chooseAddresses } from './choose-addresses.ts'
import { connectTarget, type ConnectTiming } from './connect-target.ts'
import type { WhatForbids } from './forbidden-addresses.ts'
import type { Probe } from './probe.ts'
import { Refusal } from './refusal.ts'
import type { RelayMetrics } from './relay-metrics.ts'
import { connectTargetOf, probeBytesMax, probeTargetOf } from './relay-request.ts'
import type { ResolveName } from './resolve-name.ts'
import { nameOfTarget, type Target } from './target.ts'
import { createTokenBuckets, type Rate } from '../base/token-bucket.ts'
import type { Tunnels } from './tunnels.ts'

export type RequestOptions = {
  readonly authorise: Authorise
  readonly resolveName: ResolveName
  readonly whatForbids: WhatForbids
  readonly tunnels: Tunnels
  readonly probe: Probe
  readonly metrics: RelayMetrics
  readonly lines: BoundedLines
  readonly log: Log
  readonly connections: Connections
  readonly connectTiming: ConnectTiming
  readonly isStopping: () => boolean
}

/** A sidecar probes each of its databases every few seconds. */
const probeRate: Rate = { perSecond: 20, burst: 100 }
const gone = new Error('the pod is gone')
/** Who does not take an answer is cut off. */
const answerMillisecondsMax = 2_000

export function createRequests(options: RequestOptions) {
  const { authorise, resolveName, whatForbids, tunnels, metrics, lines, log, connections, isStopping } = options
  const used = new WeakSet<Socket>()
  const probeRates = createTokenBuckets(probeRate)

  /** What is known of a request so far, for the log. */
  type Known = { pod: PodIdentity | null; target: Target | null }

  function isFirst(socket: Socket): boolean {
    if (used.has(socket)) return false
    used.add(socket)
    return true
  }

  const choose = (target: Target, wanted: string | null, { pod, rules }: Caller) =>
    chooseAddresses(target, wanted, { rules, namespace: pod.podNamespace }, { resolveName, whatForbids })

  async function openTunnel(request: IncomingMessage, socket: Socket, head: Buffer, known: Known, signal: AbortSignal): Promise<void> {
    const begun = performance.now()
    const { address: wanted, ...target } = connectTargetOf(request)
    known.target = target
    const who = [request.headers['proxy-authorization'], socket.remoteAddress ?? ''] as const
    const caller = await authorise(...who, (pod) => (known.pod = pod))
    const release = tunnels.reserve(caller.pod)
    try {
      connections.vouch(socket)
      const { changes } = tunnels
      const addresses = await choose(target, wanted, caller)
      const connected = await connectTarget(addresses, target.port, { timing: options.connectTiming, signal })
      try {
        // What allowed it may have gone while it was being made; from here on the tunnel is among those that are looked at.
        if (tunnels.changes !== changes) await recheck(target, connected.address.text, await authorise(...who))
        if (isStopping()) throw new Refusal('STOPPING', 'this relay is stopping')
        if (signal.aborted) throw gone
      } catch (error) {
        connected.socket.destroy()
        throw error
      }
      release()
      socket.write(`HTTP/1.1 200 Connection established\r\nSteno-Address: ${connected.address.text}\r\n\r\n`)
      tunnels.open({ pod: caller.pod, target, address: connected.address, podSocket: socket, databaseSocket: connected.socket, head })
      metrics.opened((performance.now() - begun) / 1000)
    } finally {
      release()
    }
  }

  /** Without asking for the name again: the address is pinned. */
  async function recheck(target: Target, address: string, { pod, rules }: Caller): Promise<void> {
    const pinned = await resolveName(address, pod.podNamespace)
    await chooseAddresses(target, null, { rules, namespace: pod.podNamespace }, { whatForbids, resolveName: () => Promise.resolve(pinned) })
  }

  async function answerProbe(request: IncomingMessage, response: ServerResponse, known: Known): Promise<void> {
    if (request.method !== 'POST' || request.url !== '/v1/probe') throw new Refusal('NOT_FOUND', 'there is CONNECT, and POST /v1/probe')
    const { headers, socket } = request
    const caller = await authorise(headers['proxy-authorization'], socket.remoteAddress ?? '', (pod) => (known.pod = pod))
    if (!probeRates.take(caller.pod.podUid)) throw new Refusal('TOO_MANY_TUNNELS', 'the pod probes too often')
    const target = (known.target = probeTargetOf(await bodyOf(request)))
    const addresses = await options.probe(await choose(target, null, caller), target.port)
    metrics.probed()
    sendJson(response, 200, { addresses })
  }

  function refusalFrom(error: unknown, address: string, { pod, target }: Known): Refusal {
    const refusal = refusalOf(error)
    metrics.refused(refusal.code)
    if (refusal.code === 'DEFECT') log.error({ stack: (refusal.cause as Error | undefined)?.stack }, refusal.message)
    const who = pod === null ? {} : { pod: podName(pod), podUid: pod.podUid }
    const where = target === null ? {} : { database: target.database, target: nameOfTarget(target) }
    const name = pod === null ? address : pod.podUid
    lines.warn(name, { code: refusal.code, ...who, ...where, peer: address }, `refused: ${refusal.message}`)
    return refusal
  }

  return {
    /** For the event `connect`. Never throws. */
    connect(request: IncomingMessage, socket: Socket, head: Buffer): void {
      socket.on('error', () => undefined) // Told by `close`.
      if (!isFirst(socket)) return void socket.destroy()
      const known: Known = { pod: null, target: null }
      const ending = new AbortController()
      const onClose = (): void => ending.abort(gone)
      const address = socket.remoteAddress ?? ''
      socket.once('close', onClose)
      const work = isStopping()
        ? Promise.reject(new Refusal('STOPPING', 'this relay is stopping'))
        : openTunnel(request, socket, head, known, ending.signal)
      work
        .catch((error: unknown) => {
          if (error !== gone && !ending.signal.aborted) refuseOn(socket, refusalFrom(error, address, known))
        })
        .finally(() => socket.off('close', onClose))
    },

    /** For the event `request`. Never throws. */
    request(request: IncomingMessage, response: ServerResponse): void {
      const { socket } = request
      response.shouldKeepAlive = false
      if (!isFirst(socket)) return void socket.destroy()
      const known: Known = { pod: null, target: null }
      const address = socket.remoteAddress ?? ''
      const work = isStopping() ? Promise.reject(new Refusal('STOPPING', 'this relay is stopping')) : answerProbe(request, response, known)
      work.catch((error: unknown) => {
        if (response.destroyed) return
        const refusal = refusalFrom(error, address, known)
        if (refusal.retrySeconds !== null) response.setHeader('retry-after', refusal.retrySeconds)
        sendJson(response, refusal.status, bodyFor(refusal))
      })
    },

    /** For the event `clientError`: bytes that are no request, or one that is too large or too slow. */
    malformed(socket: Socket): void {
      if (!socket.writable || used.has(socket)) return void socket.destroy()
      used.add(socket)
      const what = new Refusal('BAD_REQUEST', 'this is no HTTP/1.1 request, or one that is too large or too slow')
      refuseOn(socket, refusalFrom(what, socket.remoteAddress ?? '', { pod: null, target: null }))
    },
  }
}

function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error
  if (error instanceof NotIdentified) return new Refusal(error.code, error.message, { cause: error })
  return new Refusal('DEFECT', `the relay failed: ${messageOf(error)}`, { cause: error })
}

function bodyFor({ code, message, remedy }: Refusal): object {
  return { code, message, remedy }
}

/** Answers on the bare socket and ends it; what the peer still sends is read and dropped, so that it sees the answer and no reset. */
function refuseOn(socket: Socket, refusal: Refusal): void {
  const body = `${JSON.stringify(bodyFor(refusal))}\n`
  const lines = [
    `HTTP/1.1 ${refusal.status} ${refusal.code}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...(refusal.retrySeconds === null ? [] : [`Retry-After: ${refusal.retrySeconds}`]),
    ...(refusal.status === 407 ? ['Proxy-Authenticate: Bearer'] : []),
    'Connection: close',
  ]
  const timer = setTimeout(() => socket.destroy(), answerMillisecondsMax)
  socket.once('close', () => clearTimeout(timer))
  socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`)
  socket.resume()
}

function sendJson(response: ServerResponse, status: number, value: object): void {
  const text = `${JSON.stringify(value)}\n`
  if (status === 407) response.setHeader('proxy-authenticate', 'Bearer')
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
  response.end(text)
}

/** @throws Refusal BAD_REQUEST */
async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    for await (const chunk of request) {
      bytes += (chunk as Buffer).length
      if (bytes > probeBytesMax) throw new Refusal('BAD_REQUEST', `the body has more than ${probeBytesMax} bytes`)
      chunks.push(chunk as Buffer)
    }
  } catch (error) {
    if (error instanceof Refusal) throw error
    throw new Refusal('BAD_REQUEST', 'the body did not end', { cause: error })
  }
  return Buffer.concat(chunks, bytes).toString('utf8')
}
