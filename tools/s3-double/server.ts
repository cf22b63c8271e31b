/**
 * A small S3 server in memory, for tests: path style, one bucket, signatures checked, conditional puts honoured.
 *
 * Does what `session/stores/s3.ts` asks for and fails as real servers were seen to fail. No versions, no multipart uploads, no ACLs; what
 * it does not know it answers with 501. Not a store for anybody's data.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { signatureFault } from './signature.ts'

/**
 * How a second conditional put is answered: `412` as Amazon and Ceph, `409` as Azure's gateways, `501` as Swift to any conditional put,
 * `overwrites` as servers that ignore the condition.
 */
export type ConditionalPut = '412' | '409' | '501' | 'overwrites'

/** What the server does with requests, until told otherwise. `lost reply` does what was asked and cuts the connection; `silent` never answers. */
export type Fault = 'none' | 'down' | 'slow' | 'full' | 'over quota' | 'shedding' | 'lost reply' | 'silent'

export type S3Double = AsyncDisposable & {
  readonly endpoint: string
  readonly bucket: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly objects: ReadonlyMap<string, Buffer>
  /** Requests that were answered, by method and status: `PUT 200`. */
  readonly answers: readonly string[]
  fail(fault: Fault): void
}

const slowMilliseconds = 300
const pageObjectsMax = 1_000

/** Listens on `host`, which is loopback unless told, on a free port. */
export async function startS3Double({
  conditionalPut = '412',
  pageObjects = pageObjectsMax,
  host = '127.0.0.1',
}: { readonly conditionalPut?: ConditionalPut; readonly pageObjects?: number; readonly host?: string } = {}): Promise<S3Double> {
  const key = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret-of-the-double' }
  const bucket = 'recordings'
  const objects = new Map<string, Buffer>()
  const answers: string[] = []
  let fault: Fault = 'none'

  const server = createServer((request, response) => {
    void serve(request, response).catch((error: unknown) => response.destroy(error instanceof Error ? error : undefined))
  })

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (fault === 'down') return void request.socket.destroy()
    const body = Buffer.concat(await Array.fromAsync(request as AsyncIterable<Buffer>))
    if (fault === 'silent') return
    if (fault === 'slow') await sleep(slowMilliseconds)
    const answered = answerTo(request, body)
    if (fault === 'lost reply') return void request.socket.destroy()
    answers.push(`${request.method} ${answered.status}`)
    const content = request.method === 'HEAD' ? Buffer.alloc(0) : answered.body
    response.writeHead(answered.status, {
      'content-length': answered.body.length,
      'x-amz-request-id': String(answers.length),
      ...answered.headers,
    })
    response.end(content)
  }

  function answerTo(request: IncomingMessage, body: Buffer): Answer {
    const refused = signatureFault(request, body, key)
    if (refused !== null) return failure(403, refused)
    if (fault === 'shedding') return failure(503, 'SlowDown')
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://double')
    const [, name, ...rest] = pathname.split('/')
    if (name !== bucket) return failure(404, 'NoSuchBucket')
    const object = decodeURIComponent(rest.join('/'))
    const operation = `${request.method}${object === '' ? ' bucket' : ''}`
    switch (operation) {
      case 'PUT':
        return put(object, body, request.headers['if-none-match'])
      case 'GET':
      case 'HEAD':
        return get(object, request.headers.range)
      case 'DELETE':
        objects.delete(object)
        return { status: 204, body: Buffer.alloc(0), headers: {} }
      case 'GET bucket':
        return searchParams.get('list-type') === '2' ? list(searchParams) : failure(501, 'NotImplemented')
      default:
        return failure(501, 'NotImplemented')
    }
  }

  function put(object: string, body: Buffer, condition: string | undefined): Answer {
    if (fault === 'full') return failure(507, 'InsufficientStorage')
    if (fault === 'over quota') return failure(403, 'QuotaExceeded')
    if (condition !== undefined && condition !== '*') return failure(501, 'NotImplemented')
    if (condition === '*' && conditionalPut === '501') return failure(501, 'NotImplemented')
    if (condition === '*' && objects.has(object) && conditionalPut === '412') return failure(412, 'PreconditionFailed')
    if (condition === '*' && objects.has(object) && conditionalPut === '409') return failure(409, 'BlobAlreadyExists')
    objects.set(object, Buffer.from(body))
    return { status: 200, body: Buffer.alloc(0), headers: { etag: '"double"' } }
  }

  function get(object: string, range: string | undefined): Answer {
    const bytes = objects.get(object)
    if (bytes === undefined) return failure(404, 'NoSuchKey')
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? []
    if (first === undefined) return { status: 200, body: bytes, headers: { etag: '"double"' } }
    if (Number(first) >= bytes.length) return failure(416, 'InvalidRange')
    const part = bytes.subarray(Number(first), Number(last) + 1)
    return { status: 206, body: part, headers: { 'content-range': `bytes ${first}-${Number(first) + part.length - 1}/${bytes.length}` } }
  }

  function list(query: URLSearchParams): Answer {
    const prefix = query.get('prefix') ?? ''
    const delimiter = query.get('delimiter')
    const after = Buffer.from(query.get('continuation-token') ?? '', 'base64').toString()
    const entries = new Map<string, string>()
    for (const name of [...objects.keys()].sort((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)))) {
      if (!name.startsWith(prefix)) continue
      const cut = delimiter === null ? -1 : name.indexOf(delimiter, prefix.length)
      if (cut >= 0) entries.set(name.slice(0, cut + 1), `<CommonPrefixes><Prefix>${xml(name.slice(0, cut + 1))}</Prefix></CommonPrefixes>`)
      else entries.set(name, `<Contents><Key>${xml(name)}</Key><Size>${objects.get(name)?.length ?? 0}</Size></Contents>`)
    }
    const waiting = [...entries].filter(([name]) => after === '' || name > after)
    const page = waiting.slice(0, Math.min(pageObjects, Number(query.get('max-keys') ?? pageObjectsMax)))
    const isTruncated = page.length < waiting.length
    const token = isTruncated
      ? `<NextContinuationToken>${Buffer.from(page.at(-1)?.[0] ?? '').toString('base64')}</NextContinuationToken>`
      : ''
    const parts = page.map(([, text]) => text).join('')
    return answer(200, `<ListBucketResult><IsTruncated>${isTruncated}</IsTruncated>${token}${parts}</ListBucketResult>`)
  }

  server.listen(0, host)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    endpoint: `http://${host}:${port}`,
    bucket,
    ...key,
    objects,
    answers,
    fail(next) {
      fault = next
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

type Answer = { readonly status: number; readonly body: Buffer; readonly headers: Readonly<Record<string, string>> }

function answer(status: number, text: string): Answer {
  const body = Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>${text}`)
  return { status, body, headers: { 'content-type': 'application/xml' } }
}

function failure(status: number, code: string): Answer {
  return answer(status, `<Error><Code>${code}</Code><Message>${code}, says the double</Message></Error>`)
}

function xml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
