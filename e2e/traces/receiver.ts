/**
 * An OTLP/HTTP endpoint on a free port, as strict as the specification: POST /v1/traces, `application/x-protobuf`, gzip or not.
 * Can also be one that refuses, or never answers. Knows HTTP; `otlp-decoder.ts` reads the bodies.
 */
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { gunzipSync } from 'node:zlib'
import { startOtlpDecoder, type WireSpan } from './otlp-decoder.ts'

/** What the next requests are answered: taken, an HTTP status, or nothing at all. */
export type Manner = 'takes' | 'silent' | number

export type Receiver = AsyncDisposable & {
  readonly port: number
  /** For OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly endpoint: string
  manner: Manner
  readonly spans: readonly WireSpan[]
  readonly requests: readonly http.IncomingHttpHeaders[]
  /** What was wrong with requests; empty when all were as the specification wants them. */
  readonly faults: readonly string[]
  /** Waits until `enough` says so of the spans taken. */
  until(enough: (spans: readonly WireSpan[]) => boolean): Promise<void>
  /** Waits until so many requests came, whatever they were answered. */
  untilRequests(count: number): Promise<void>
}

const waitMillisecondsMax = 120_000

export async function startReceiver(): Promise<Receiver> {
  const decoder = await startOtlpDecoder()
  const spans: WireSpan[] = []
  const requests: http.IncomingHttpHeaders[] = []
  const faults: string[] = []
  let changed: () => void = () => undefined

  async function take(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    requests.push(request.headers)
    const { manner } = receiver
    if (manner === 'silent') return
    if (manner !== 'takes') {
      response.writeHead(manner).end('refused with a secret-of-the-endpoint in its words')
      return
    }
    const fault = faultOf(request)
    if (fault !== null) {
      faults.push(fault)
      response.writeHead(400).end()
      return
    }
    const body = Buffer.concat(chunks)
    spans.push(...(await decoder.decode(request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body)))
    // An empty ExportTraceServiceResponse: everything was taken.
    response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end()
  }

  const server = http.createServer((request, response) => {
    take(request, response)
      .catch((error: unknown) => {
        faults.push(String(error))
        response.writeHead(400).end()
      })
      .finally(() => changed())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo

  async function wait(isEnough: () => boolean): Promise<void> {
    const giveUp = AbortSignal.timeout(waitMillisecondsMax)
    while (!isEnough()) {
      await new Promise<void>((resolve, reject) => {
        changed = resolve
        const late = (): void =>
          reject(
            new Error(`the spans did not come; there are ${JSON.stringify(spans.map(({ name }) => name))}, faults ${faults.join('; ')}`),
          )
        giveUp.addEventListener('abort', late, { once: true })
      })
    }
  }

  const receiver: Receiver = {
    ...{ port, endpoint: `http://127.0.0.1:${port}`, spans, requests, faults },
    manner: 'takes',
    until: (enough) => wait(() => enough(spans)),
    untilRequests: (count) => wait(() => requests.length >= count),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await decoder[Symbol.asyncDispose]()
    },
  }
  return receiver
}

function faultOf({ method, url, headers }: http.IncomingMessage): string | null {
  if (method !== 'POST' || url !== '/v1/traces') return `${method} ${url}`
  if (headers['content-type'] !== 'application/x-protobuf') return `content type ${headers['content-type']}`
  return null
}
