/** Serves `/metrics`, `/healthz` and `/readyz` on a port of their own; nothing else, and nothing of what agents do. */
import http from 'node:http'
import { listen } from './listen.ts'

export type MetricsServer = { readonly port: number; close(): void }

export async function startMetricsServer(options: {
  readonly listen: { readonly host: string; readonly port: number }
  readonly metrics: { readonly contentType: string; text(): Promise<string> }
  /** Null when ready, else why not. */
  readonly notReady: () => string | null
}): Promise<MetricsServer> {
  const server = http.createServer((request, response) => {
    const answer = (status: number, type: string, text: string): void => {
      response.writeHead(status, { 'content-type': type })
      response.end(text)
    }
    if (request.method !== 'GET') return answer(405, 'text/plain', 'only GET is served here\n')
    switch (request.url) {
      case '/metrics':
        options.metrics.text().then(
          (text) => answer(200, options.metrics.contentType, text),
          () => answer(500, 'text/plain', 'the metrics could not be collected\n'),
        )
        return
      case '/healthz':
        return answer(200, 'text/plain', 'ok\n')
      case '/readyz': {
        const why = options.notReady()
        return why === null ? answer(200, 'text/plain', 'ok\n') : answer(503, 'text/plain', `${why}\n`)
      }
      default:
        return answer(404, 'text/plain', 'try /metrics, /healthz or /readyz\n')
    }
  })
  const { port } = await listen(server, options.listen)
  return { port, close: () => void server.close() }
}
