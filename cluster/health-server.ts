/**
 * Serves `/metrics`, `/healthz` and `/readyz` in plain HTTP on a port of their own; nothing else.
 *
 * `/healthz` says that the event loop turns: nothing that `/readyz` tells of is mended by a restart. Bounded against peers that are slow or
 * many.
 */
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Registry } from 'prom-client'
import { KnownError, messageOf } from '../base/errors.ts'
import { boundConnections } from './connections.ts'

/** The address is taken, or not this machine's. */
export class WebhookCannotListen extends KnownError {
  readonly code = 'WEBHOOK_CANNOT_LISTEN'
  readonly remedy = 'Give another address, or stop what listens there.'
  readonly safeToRetry = true
}

export type HealthServer = { readonly port: number; close(): void }

const connectionsMax = 64
const requestMillisecondsMax = 5_000
const idleMillisecondsMax = 10_000
const headerBytesMax = 8 * 1024
const timeouts = {
  requestTimeout: requestMillisecondsMax,
  headersTimeout: requestMillisecondsMax,
  keepAliveTimeout: idleMillisecondsMax,
  connectionsCheckingInterval: 1_000,
}
const plainText = 'text/plain; charset=utf-8'

/** @throws WebhookCannotListen */
export async function startHealthServer(options: {
  readonly listen: { readonly host: string; readonly port: number }
  readonly registry: Registry
  /** In words; empty when ready. */
  readonly reasonsNotReady: () => readonly string[]
}): Promise<HealthServer> {
  const { listen, registry, reasonsNotReady } = options
  const limits = { maxHeaderSize: headerBytesMax, ...timeouts }
  const server = http.createServer(limits, (request, response) => {
    const answer = (status: number, type: string, text: string): void => {
      response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(text), 'cache-control': 'no-store' })
      response.end(text) // Node sends no body to HEAD.
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD')
      return answer(405, plainText, 'only GET and HEAD are served here\n')
    }
    switch (request.url?.split('?', 1)[0]) {
      case '/metrics':
        registry.metrics().then(
          (text) => answer(200, registry.contentType, text),
          () => answer(500, plainText, 'the metrics could not be collected\n'),
        )
        return
      case '/healthz':
        return answer(200, plainText, 'ok\n')
      case '/readyz': {
        const reasons = reasonsNotReady()
        return reasons.length === 0 ? answer(200, plainText, 'ok\n') : answer(503, plainText, `${reasons.join('\n')}\n`)
      }
      default:
        return answer(404, plainText, 'try /metrics, /healthz or /readyz\n')
    }
  })
  // The kubelet restarts what does not answer it: whoever fills the port with silence must not keep it out.
  boundConnections(server, { max: connectionsMax, vouchedMax: 0 })
  server.timeout = idleMillisecondsMax // Else a peer that does not read its answer stays.
  try {
    server.listen(listen.port, listen.host)
    await once(server, 'listening')
  } catch (error) {
    throw new WebhookCannotListen(`cannot listen on ${listen.host}:${listen.port}: ${messageOf(error)}`, { cause: error })
  }
  return {
    port: (server.address() as AddressInfo).port,
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}
