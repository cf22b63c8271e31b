/**
 * An API server's double for tests: objects of any kind in memory behind plain HTTP, with resource versions, conflicts, merge and JSON
 * patches (`test`, `add`), server-side apply of one manager, label and field selectors on what steno selects by, and watches.
 *
 * It has no schemas and no admission, and its pages are of what is there when they are asked for: what depends on those is tested on a real API server. `faults` is where a test breaks it.
 */
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { KubeConfig } from '@kubernetes/client-node'
import { clusterClientOf, type ClusterClient } from './client.ts'

export type TestObject = {
  apiVersion?: string
  kind?: string
  metadata: {
    name: string
    namespace?: string
    labels?: Record<string, string>
    annotations?: Record<string, string>
    resourceVersion?: string
    generation?: number
    uid?: string
  }
  [field: string]: unknown
}
type Watcher = { readonly collection: string; readonly selects: (object: TestObject) => boolean; readonly response: http.ServerResponse }

export type TestApi = AsyncDisposable & {
  readonly client: ClusterClient
  /** Of its own, as `http://127.0.0.1:port`. */
  readonly address: string
  /** `METHOD path` of all requests that were answered, watches and all. */
  readonly requests: string[]
  readonly faults: {
    /** Answers instead of the double; null: the double answers. */
    intercept:
      | ((request: {
          readonly method: string
          readonly path: string
        }) => { status: number; reason: string; cause?: string } | 'hang' | null)
      | null
    /** Watches stay open and say nothing, as over a connection that is dead on one side. */
    mutesWatches: boolean
    /** The versions from which a watch may begin: one below is answered with 410. */
    oldestVersion: number
  }
  readonly watchers: number
  get(path: string): TestObject | undefined
  /** As a person would: whatever is there is replaced. */
  put(path: string, object: TestObject): void
  remove(path: string): void
  /** Ends all watches, as a server does now and then. */
  endWatches(): void
}

export async function startTestApi(): Promise<TestApi> {
  /** By path of the object. */
  const objects = new Map<string, TestObject>()
  const watchers = new Set<Watcher>()
  const requests: string[] = []
  const faults: TestApi['faults'] = { intercept: null, mutesWatches: false, oldestVersion: 0 }
  let version = 100

  const server = http.createServer((request, response) => void answer(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))

  function store(path: string, object: TestObject, type: 'ADDED' | 'MODIFIED' | 'DELETED'): void {
    object.metadata.resourceVersion = String(++version)
    object.metadata.uid ??= `uid-${version}`
    if (type === 'DELETED') objects.delete(path)
    else objects.set(path, object)
    for (const { collection, selects, response } of watchers)
      if (isIn(path, collection) && selects(object) && !faults.mutesWatches) response.write(`${JSON.stringify({ type, object })}\n`)
  }

  async function answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://double')
    const { pathname } = url
    const method = request.method ?? 'GET'
    requests.push(`${method} ${pathname}`)
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = chunks.length === 0 ? null : (JSON.parse(Buffer.concat(chunks).toString()) as TestObject)
    const say = (status: number, value: object): void =>
      void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
    const refuse = (status: number, reason: string, cause?: string): void => {
      const details = cause === undefined ? {} : { details: { causes: [{ reason: cause }] } }
      say(status, { kind: 'Status', status: 'Failure', reason, message: `${reason}: ${pathname}`, code: status, ...details })
    }
    const fault = faults.intercept?.({ method, path: pathname }) ?? null
    if (fault === 'hang') return
    if (fault !== null) return refuse(fault.status, fault.reason, fault.cause)
    const path = pathname.replace(/\/status$/, '')
    const isStatus = path !== pathname
    const known = objects.get(path)
    switch (method) {
      case 'GET':
        if (known !== undefined) return say(200, known)
        if (!isCollection(pathname)) return refuse(404, 'NotFound')
        return url.searchParams.get('watch') === 'true' ? watch(url, response) : say(200, list(url))
      case 'POST': {
        if (body === null) return refuse(400, 'BadRequest')
        if (!isStored(pathname)) return say(201, body)
        const at = `${pathname}/${body.metadata.name}`
        if (objects.has(at)) return refuse(409, 'AlreadyExists')
        const { stringData, ...rest } = body
        store(at, { ...rest, ...withData(rest, stringData), metadata: { ...body.metadata, generation: 1 } }, 'ADDED')
        return say(201, objects.get(at) ?? {})
      }
      case 'PUT':
      case 'PATCH': {
        if (request.headers['content-type'] === 'application/apply-patch+yaml' && body !== null) {
          // Of one manager alone: what is applied is all that there is.
          const { metadata } = body
          const isSame =
            known !== undefined &&
            JSON.stringify([known['spec'], known.metadata.labels]) === JSON.stringify([body['spec'], metadata.labels])
          const uid = known?.metadata.uid
          if (!isSame)
            store(
              path,
              { ...body, metadata: { ...metadata, ...(uid === undefined ? {} : { uid }) } },
              known === undefined ? 'ADDED' : 'MODIFIED',
            )
          return say(200, objects.get(path) ?? {})
        }
        if (known === undefined || body === null) return refuse(404, 'NotFound')
        const isJson = request.headers['content-type'] === 'application/json-patch+json'
        const next = method === 'PUT' ? body : isJson ? jsonPatched(known, body) : (merged(known, body) as TestObject)
        if (next === null) return refuse(422, 'Invalid')
        const asked = next.metadata.resourceVersion
        if (asked !== undefined && asked !== known.metadata.resourceVersion) return refuse(409, 'Conflict')
        const kept: TestObject = isStatus ? { ...known, status: next['status'] } : { ...next, status: known['status'] }
        const generation =
          (known.metadata.generation ?? 1) + (isStatus || JSON.stringify(kept['spec']) === JSON.stringify(known['spec']) ? 0 : 1)
        store(path, { ...kept, metadata: { ...(isStatus ? known : next).metadata, generation } }, 'MODIFIED')
        return say(200, objects.get(path) ?? {})
      }
      case 'DELETE':
        if (known === undefined) return refuse(404, 'NotFound')
        store(path, known, 'DELETED')
        return say(200, known)
      default:
        return refuse(405, 'MethodNotAllowed')
    }
  }

  function list(url: URL): object {
    const selects = selectorOf(url)
    const items = [...objects].filter(([path, object]) => isIn(path, url.pathname) && selects(object)).map(([, object]) => object)
    const from = Number(url.searchParams.get('continue') ?? 0)
    const end = from + Number(url.searchParams.get('limit') ?? items.length)
    const more = end < items.length ? { continue: String(end) } : {}
    return { metadata: { resourceVersion: String(version), ...more }, items: items.slice(from, end) }
  }

  function watch(url: URL, response: http.ServerResponse): void {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.flushHeaders()
    const from = Number(url.searchParams.get('resourceVersion'))
    if (from < faults.oldestVersion) {
      response.end(`${JSON.stringify({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } })}\n`)
      return
    }
    const watcher = { collection: url.pathname, selects: selectorOf(url), response }
    watchers.add(watcher)
    response.on('close', () => watchers.delete(watcher))
    if (faults.mutesWatches) return
    // What came between the list and this.
    for (const [path, object] of objects)
      if (isIn(path, url.pathname) && watcher.selects(object) && Number(object.metadata.resourceVersion) > from)
        response.write(`${JSON.stringify({ type: 'MODIFIED', object })}\n`)
  }

  const config = new KubeConfig()
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  config.loadFromClusterAndUser({ name: 'double', server: address, skipTLSVerify: true }, { name: 'tester' })
  const client = clusterClientOf(config)
  return {
    ...{ client, address, requests, faults },
    get watchers() {
      return watchers.size
    },
    get: (path) => objects.get(path),
    put(path, object) {
      const known = objects.get(path)
      const generation = (known?.metadata.generation ?? 0) + (JSON.stringify(known?.['spec']) === JSON.stringify(object['spec']) ? 0 : 1)
      store(path, { ...object, metadata: { ...object.metadata, generation } }, known === undefined ? 'ADDED' : 'MODIFIED')
    },
    remove(path) {
      const known = objects.get(path)
      if (known !== undefined) store(path, known, 'DELETED')
    },
    endWatches() {
      for (const { response } of watchers) response.end()
      watchers.clear()
    },
    async [Symbol.asyncDispose]() {
      client.close()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** `/api/v1/pods` holds what `/api/v1/namespaces/shop/pods/x` names. */
function isIn(path: string, collection: string): boolean {
  const folder = path.slice(0, path.lastIndexOf('/'))
  return folder === collection || folder.replace(/\/namespaces\/[^/]+(?=\/)/, '') === collection
}

function isCollection(path: string): boolean {
  const parts = path.replace(/^\/(api|apis\/[^/]+)\/[^/]+\//, '').split('/')
  return parts.length === 1 || (parts[0] === 'namespaces' && parts.length === 3)
}

/** Reviews are answered and not kept. */
function isStored(path: string): boolean {
  return !path.endsWith('reviews')
}

function selectorOf(url: URL): (object: TestObject) => boolean {
  const [, name] = /^metadata\.name=(.*)$/.exec(url.searchParams.get('fieldSelector') ?? '') ?? []
  const [, label, value] = /^([^=]+)=(.*)$/.exec(url.searchParams.get('labelSelector') ?? '') ?? []
  return ({ metadata }) => (name === undefined || metadata.name === name) && (label === undefined || metadata.labels?.[label] === value)
}

/** A Secret's `stringData` is write-only, and comes back as `data`. */
function withData(object: Omit<TestObject, 'metadata'>, stringData: unknown): { data?: unknown } {
  if (stringData === undefined) return {}
  const encoded = Object.entries(stringData as Record<string, string>).map(([name, text]) => [name, Buffer.from(text).toString('base64')])
  return { data: { ...(object['data'] as object | undefined), ...Object.fromEntries(encoded) } }
}

/** RFC 7386. */
function merged(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch
  const result: Record<string, unknown> = typeof target === 'object' && target !== null && !Array.isArray(target) ? { ...target } : {}
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key]
    else result[key] = merged(result[key], value)
  }
  return result
}

/** RFC 6902, `test` and `add` of members; null when a test does not hold. */
function jsonPatched(object: TestObject, operations: unknown): TestObject | null {
  const copy = structuredClone(object)
  for (const { op, path, value } of operations as { op: string; path: string; value: unknown }[]) {
    const parts = path.slice(1).split('/')
    const last = parts.pop() ?? ''
    let at = copy as Record<string, unknown>
    for (const part of parts) at = at[part] as Record<string, unknown>
    if (op === 'test' && at[last] !== value) return null
    if (op === 'add') at[last] = value
  }
  return copy
}
