/**
 * Serves `/metrics`, `/healthz`, `/readyz` and what else it is given on a port of their own, and nothing of what agents do.
 *
 * Bounded against peers that are slow or many: so many connections, so long for a request, so long without a byte taken or sent.
 */
import http from 'node:http'
import { listen } from './listen.ts'

export type MetricsServer = {
  readonly port: number
  /** Ends every connection. */
  close(): void
}

export type MetricsServerLimits = {
  readonly connectionsMax: number
  /** From the connection's begin, or the request's, to its end. */
  readonly requestMillisecondsMax: number
  /** Between two requests of a connection, and while an answer is not taken. */
  readonly idleMillisecondsMax: number
  /** How often it is looked whether a request takes too long. */
  readonly checkMilliseconds: number
}

/** An answer in plain text. */
export type TextAnswer = { readonly status: number; readonly text: string }

export const defaultMetricsServerLimits: MetricsServerLimits = {
  connectionsMax: 64,
  requestMillisecondsMax: 5_000,
  idleMillisecondsMax: 10_000,
  checkMilliseconds: 1_000,
}

const plainText = 'text/plain; charset=utf-8'
const headerBytesMax = 8 * 1024
const requestsPerConnectionMax = 100

export async function startMetricsServer(options: {
  readonly listen: { readonly host: string; readonly port: number }
  readonly metrics: { readonly contentType: string; text(): Promise<string> }
  /** Empty when ready, else why not. */
  readonly reasonsNotReady: () => readonly string[]
  /** More paths, each with what answers it; it must not throw. */
  readonly routes?: Readonly<Record<string, (request: http.IncomingMessage) => TextAnswer | Promise<TextAnswer>>>
  readonly limits?: MetricsServerLimits
}): Promise<MetricsServer> {
  const limits = options.limits ?? defaultMetricsServerLimits
  const routes = options.routes ?? {}
  const server = http.createServer(
    {
      maxHeaderSize: headerBytesMax,
      requestTimeout: limits.requestMillisecondsMax, // Of the header too.
      keepAliveTimeout: limits.idleMillisecondsMax,
      connectionsCheckingInterval: limits.checkMilliseconds,
    },
    (request, response) => {
      const answer = (status: number, type: string, text: string): void => {
        response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(text), 'cache-control': 'no-store' })
        response.end(text) // Node sends no body to HEAD.
      }
      if (request.method !== 'GET' && request.method !== 'HEAD') {
        response.setHeader('allow', 'GET, HEAD')
        return answer(405, plainText, 'only GET and HEAD are served here\n')
      }
      const path = request.url?.split('?', 1)[0] ?? ''
      const route = Object.hasOwn(routes, path) ? routes[path] : undefined
      if (route !== undefined) {
        void Promise.resolve(route(request)).then(({ status, text }) => answer(status, plainText, text))
        return
      }
      switch (path) {
        case '/metrics':
          options.metrics.text().then(
            (text) => answer(200, options.metrics.contentType, text),
            () => answer(500, plainText, 'the metrics could not be collected\n'),
          )
          return
        case '/healthz':
          return answer(200, plainText, 'ok\n')
        case '/readyz': {
          const reasons = options.reasonsNotReady()
          return reasons.length === 0 ? answer(200, plainText, 'ok\n') : answer(503, plainText, `${reasons.join('\n')}\n`)
        }
        default:
          return answer(
            404,
            plainText,
            `try ${Object.keys(routes)
              .map((name) => `${name}, `)
              .join('')}/metrics, /healthz or /readyz\n`,
          )
      }
    },
  )
  server.maxConnections = limits.connectionsMax
  server.maxRequestsPerSocket = requestsPerConnectionMax
  server.timeout = limits.idleMillisecondsMax // Else a peer that does not read its answer stays.
  const { port } = await listen(server, options.listen)
  return {
    port,
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}
