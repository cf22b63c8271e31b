/**
 * The HTTPS server that the API server asks about pods: `POST /mutate`, and `GET /healthz`.
 *
 * Bounded against peers that are slow, many or long-winded. Certificates are swapped without dropping a connection. Logs one line a request,
 * with names and the outcome; never a pod. While the cluster is not known yet every review is answered with 503, so that the webhook's
 * failurePolicy acts. Judging is `review-pod.ts`.
 */
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { messageOf } from '../../base/errors.ts'
import type { Log } from '../../base/log.ts'
import type { Certificates } from '../../cluster/certificates/certificates.ts'
import { createBodies, limitPerAddress } from './server-limits.ts'
import { readAdmissionReview, writeAdmissionReview, type PodReviewUnanswered, type ReadReview } from './admission-review.ts'
import type { AdmissionWorld } from '../../injection/inject-pod.ts'
import { reviewPod, type PodReview } from '../../injection/review-pod.ts'

export const admissionPath = '/mutate'

/** One reviewed request, for metrics. */
export type ReviewFacts = {
  readonly outcome: PodReview['outcome'] | PodReviewUnanswered['outcome'] | 'unknown-world'
  readonly rules: readonly string[]
  readonly namespace: string | null
  /** From the request's last byte to the answer's. */
  readonly milliseconds: number
}

export type AdmissionServerOptions = {
  readonly listen: { readonly host: string; readonly port: number }
  /** What the server shows of itself. */
  readonly certificates: Certificates
  /** Null until policies and namespaces are known. */
  readonly world: () => AdmissionWorld | null
  readonly log: Pick<Log, 'info' | 'warn' | 'error' | 'debug'>
  /** Told of each review; must not throw. */
  readonly onReviewed?: (facts: ReviewFacts) => void
  readonly limits?: AdmissionServerLimits
}

export type AdmissionServerLimits = {
  /** The API server takes objects of 3 MiB, and writes a byte such as `<` as six; managed fields and the envelope come on top. */
  readonly bodyBytesMax: number
  /** Of all bodies that are being read. */
  readonly bodiesBytesMax: number
  readonly connectionsMax: number
  /** An API server has no more requests under way than it changes at a time (`--max-mutating-requests-inflight`, 200). */
  readonly connectionsPerAddressMax: number
  /** From a request's first byte to its last, and for a TLS handshake. */
  readonly requestMillisecondsMax: number
  /** The API server keeps idle connections for 90 s: a server that closes first loses a request now and then. */
  readonly idleMillisecondsMax: number
  /** How often it is looked whether a request takes too long. */
  readonly checkMilliseconds: number
  /** How long a stopping server waits for requests that are under way. */
  readonly drainMilliseconds: number
}

export const defaultAdmissionServerLimits: AdmissionServerLimits = {
  bodyBytesMax: 32 * 1024 * 1024,
  bodiesBytesMax: 64 * 1024 * 1024,
  connectionsMax: 1_000,
  connectionsPerAddressMax: 256,
  requestMillisecondsMax: 10_000,
  idleMillisecondsMax: 120_000,
  checkMilliseconds: 1_000,
  drainMilliseconds: 5_000,
}

export type AdmissionServer = {
  readonly port: number
  /** Takes no more connections, answers what is under way, and ends. */
  close(): Promise<void>
}

const headerBytesMax = 16 * 1024

export async function startAdmissionServer(options: AdmissionServerOptions): Promise<AdmissionServer> {
  const { certificates, log } = options
  const limits = options.limits ?? defaultAdmissionServerLimits
  const server = https.createServer(
    {
      ...certificates.current(),
      minVersion: 'TLSv1.2',
      maxHeaderSize: headerBytesMax,
      handshakeTimeout: limits.requestMillisecondsMax,
      requestTimeout: limits.requestMillisecondsMax,
      headersTimeout: limits.requestMillisecondsMax,
      keepAliveTimeout: limits.idleMillisecondsMax,
      connectionsCheckingInterval: limits.checkMilliseconds,
    },
    (request, response) => {
      handle(request, response).catch((error: unknown) => {
        // A peer that hangs up is none of ours to mend.
        const words = { error: messageOf(error) }
        if (request.destroyed) log.debug(words, 'a request ended early')
        else log.error(words, 'a request could not be answered')
        response.destroy()
      })
    },
  )
  server.maxConnections = limits.connectionsMax
  // A peer that does not take its answer; longer than an idle connection may live.
  server.timeout = limits.idleMillisecondsMax + limits.requestMillisecondsMax
  limitPerAddress(server, limits.connectionsPerAddressMax)
  const takeBody = createBodies(limits)
  server.on('tlsClientError', (error) => log.debug({ error: messageOf(error) }, 'a TLS handshake failed'))
  let isClosing = false
  const stopListening = certificates.onChange(() => {
    try {
      server.setSecureContext({ ...certificates.current(), minVersion: 'TLSv1.2' })
      log.info('the certificate of the admission server was replaced')
    } catch (error) {
      log.error({ error: messageOf(error) }, 'the next certificate of the admission server cannot be used; it goes on with the one it has')
    }
  })
  server.listen(options.listen.port, options.listen.host)
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      if (isClosing) return
      isClosing = true
      stopListening()
      const closed = once(server, 'close')
      server.close()
      const deadline = setTimeout(() => server.closeAllConnections(), limits.drainMilliseconds)
      await closed
      clearTimeout(deadline)
    },
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url?.split('?', 1)[0]
    if (path === '/healthz') {
      request.resume()
      return request.method === 'GET' || request.method === 'HEAD' ? text(response, 200, 'ok') : notAllowed(response, 'GET, HEAD')
    }
    if (path !== admissionPath) return refuseUnread(request, response, 404, `try ${admissionPath} or /healthz`)
    if (request.method !== 'POST') return notAllowed(response, 'POST')
    if (!/^application\/json\s*(;|$)/i.test(request.headers['content-type'] ?? ''))
      return refuseUnread(request, response, 415, 'send application/json')
    const body = await takeBody(request)
    if (body.kind === 'too-long') return refuseUnread(request, response, 413, `send no more than ${limits.bodyBytesMax} bytes`)
    if (body.kind === 'no-room') return refuseUnread(request, response, 503, 'too much is being read; try again')
    mutate(body.text, response)
  }

  function mutate(body: string, response: ServerResponse): void {
    const started = performance.now()
    const world = options.world()
    let namespace: string | null = null
    const done = (outcome: ReviewFacts['outcome'], rules: readonly string[], line: object): void => {
      const milliseconds = Math.round((performance.now() - started) * 1_000) / 1_000
      const words = { ...line, outcome, milliseconds, ...(rules.length === 0 ? {} : { rules }) }
      if (outcome === 'failed') log.error(words, 'pod reviewed')
      else log.info(words, 'pod reviewed')
      options.onReviewed?.({ outcome, rules, namespace, milliseconds })
    }
    if (world === null) {
      text(response, 503, 'the policies of this cluster are not read yet')
      return done('unknown-world', [], {})
    }
    const reading = readAdmissionReview(body)
    if (reading.kind === 'unreadable') {
      text(response, 400, reading.problem)
      return done('unreadable', [], { problem: reading.problem })
    }
    namespace = reading.namespace
    const send = (review: PodReview | PodReviewUnanswered): void => {
      const answer = Buffer.from(writeAdmissionReview(reading.uid, review))
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': answer.length })
      response.end(answer)
    }
    if (reading.kind === 'no-pod') {
      send({ allowed: false, outcome: 'unreadable', message: `steno cannot read the pod: ${reading.problem}. Correct it.` })
      return done('unreadable', [], { uid: reading.uid, namespace, problem: reading.problem })
    }
    const line = lineOf(reading)
    try {
      const review = reviewIn(world, reading)
      send(review)
      done(review.outcome, review.outcome === 'refused' ? review.rules : [], line)
    } catch (error) {
      // A defect of steno. The message may quote the pod, so only its kind is logged, and the stack's places.
      send({ allowed: false, outcome: 'failed', message: failedMessage })
      done('failed', [], { ...line, error: error instanceof Error ? error.name : typeof error, at: placesOf(error) })
    }
  }
}

const failedMessage =
  "steno failed to judge this pod, which is a defect of steno's. Report it with what the log of deployment steno-webhook says; a pod of another form may pass."

type ReviewRequest = Extract<ReadReview, { kind: 'request' }>

function reviewIn(world: AdmissionWorld, { uid, namespace, operation, dryRun, pod }: ReviewRequest): PodReview | PodReviewUnanswered {
  if (pod === null) return { allowed: true, outcome: 'ignored', patch: [], warnings: [] }
  const problem = world.unreadable?.get(namespace)
  // Leaving the policy out would admit the pod under weaker rules.
  if (problem !== undefined) return { allowed: false, outcome: 'postponed', message: problem }
  const namespaceLabels = world.namespaceLabels.get(namespace)
  // Guessing its labels would leave out a policy that is for it.
  if (namespaceLabels === undefined)
    return {
      allowed: false,
      outcome: 'postponed',
      message: `steno has not seen namespace ${namespace} yet. Try again in a moment; controllers do by themselves.`,
    }
  return reviewPod({ uid, namespace, namespaceLabels, pod, dryRun, operation }, world)
}

/** Names only. */
function lineOf({ uid, namespace, operation, dryRun, pod }: ReviewRequest): object {
  const cut = (name: string | undefined) => name?.slice(0, 253)
  const name = cut(pod?.metadata?.name)
  const generateName = cut(pod?.metadata?.generateName)
  return {
    uid,
    namespace,
    operation,
    ...(dryRun ? { dryRun } : {}),
    ...(name === undefined ? {} : { pod: name }),
    ...(name === undefined && generateName !== undefined ? { generateName } : {}),
  }
}

function placesOf(error: unknown): string[] {
  const stack = error instanceof Error ? (error.stack ?? '') : ''
  return stack
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .slice(0, 5)
    .map((line) => line.trim())
}

/** The body is not read, so the connection cannot be used again. */
function refuseUnread(request: IncomingMessage, response: ServerResponse, status: number, message: string): void {
  response.setHeader('connection', 'close')
  text(response, status, message)
  request.resume()
}

function notAllowed(response: ServerResponse, allow: string): void {
  response.setHeader('allow', allow)
  response.setHeader('connection', 'close')
  text(response, 405, `only ${allow} is served here`)
}

function text(response: ServerResponse, status: number, message: string): void {
  const bytes = Buffer.from(`${message}\n`)
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'content-length': bytes.length, 'cache-control': 'no-store' })
  response.end(bytes)
}
