/**
 * One HTTP request: find out who asks and what for, let `objects.ts` or a route do it, and say clearly what went wrong when it did not.
 *
 * A refused request is one log line and one count; an object that is simply not there is neither. No line holds a token.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Log } from '../../base/log.ts'
import { messageOf } from '../../base/errors.ts'
import { createTokenBuckets, type Rate } from '../../base/token-bucket.ts'
import { NotIdentified } from '../../cluster/identity/not-identified.ts'
import type { PodIdentity } from '../../cluster/identity/pod.ts'
import { BadKey, checkKey } from '../../session/stores/keys.ts'
import type { Access } from './access.ts'
import type { ControlKey } from './control-key.ts'
import type { ControlMetrics } from './metrics.ts'
import { deleteObject, getObject, listFolders, listObjects, putObject, readPieceBytes, sendJson, type Ask } from './objects.ts'
import { Refusal } from './refusal.ts'
import { findRoute, type Route, type RouteAsk } from './routes.ts'
import type { OpenedStore, Stores } from './stores.ts'
import { createUploads, type Uploads } from './uploads.ts'

/** Who asks. `id` is what limits count by, `name` what the log says, `pod` null for the reader. */
export type Caller = {
  readonly id: string
  readonly name: string
  readonly pod: PodIdentity | null
  readonly isReader: boolean
  readonly accessTo: (opened: OpenedStore) => Access
}

export type RequestOptions = {
  readonly stores: Stores
  readonly routes: readonly Route[]
  readonly key: ControlKey
  readonly uploads: Uploads
  readonly reads: Uploads
  readonly metrics: ControlMetrics
  readonly log: Log
  readonly isStopping: () => boolean
}

/** A sidecar reads a few objects when it starts; what takes longer than this holds a place that others wait for. */
const sidecarReadMillisecondsMax = 120_000

/**
 * Small messages are read whole before anything of the pod is looked at but its token, which whoever makes pods can have: what one pod has under
 * way, and how often it asks, is bounded before. A sidecar sends some four a second.
 */
const messages = {
  ...{ uploadsMax: 256, uploadsPerPodMax: 4, waitingMax: 4_000, waitingPerPodMax: 8, waitMilliseconds: 4_000 },
  ...{ bytesMax: 64 * 1024 * 1024, bytesPerPodMax: 1024 * 1024 },
}
const messageBytes = 256 * 1024
const messageRate: Rate = { perSecond: 20, burst: 100 }

const tooLate = new Refusal('BUSY', 'the answer took too long')

export type HandleRequest = (
  request: IncomingMessage,
  response: ServerResponse,
  callerOf: (request: IncomingMessage) => Promise<Caller>,
) => Promise<void>

export function createRequests(options: RequestOptions): HandleRequest {
  const { metrics, log } = options
  const underWay = createUploads(messages)
  const rates = createTokenBuckets(messageRate)

  async function answerRoute(route: Route, ask: RouteAsk): Promise<void> {
    const { pod, signal } = ask
    if (!rates.take(pod.podUid)) throw new Refusal('TOO_MANY_UPLOADS', 'the pod asks too often')
    if (route.isLong === true) return route.handle(ask)
    const release = await underWay.acquire(pod, messageBytes, signal)
    try {
      await route.handle(ask)
    } finally {
      release()
    }
  }

  async function serve(
    request: IncomingMessage,
    response: ServerResponse,
    caller: Caller,
    { store, rest, query }: StorePath,
    signal: AbortSignal,
  ): Promise<void> {
    if (store === null) {
      if (!caller.isReader) throw new Refusal('NOT_FOUND', 'there is nothing under this path')
      if (!isRead(request)) throw new Refusal('METHOD_NOT_ALLOWED', 'the list of stores can only be read')
      return sendJson(response, 200, { stores: options.stores.statuses() })
    }
    const opened = options.stores.named(store)
    const ask: Ask = { request, response, opened, access: caller.accessTo(opened) }
    const limits = { podUid: caller.id }
    if (request.method === 'PUT') {
      if (caller.isReader) throw new Refusal('METHOD_NOT_ALLOWED', 'the reader takes nothing')
      return putObject(ask, objectKeyIn(rest), {
        key: options.key,
        acquire: (bytes) => options.uploads.acquire(limits, bytes, signal),
        acquireRead: () => options.reads.acquire(limits, readPieceBytes, signal),
        onPut: metrics.put,
        onStored: metrics.stored,
      })
    }
    const release = await options.reads.acquire(limits, readPieceBytes, signal)
    try {
      if (request.method === 'DELETE') return await deleteObject(ask, objectKeyIn(rest))
      if (!isRead(request)) throw new Refusal('METHOD_NOT_ALLOWED', 'there is GET, HEAD, PUT and DELETE')
      if (rest === 'list') return await listObjects(ask, query.get('prefix') ?? '', signal)
      if (rest === 'folders') return await listFolders(ask, query.get('prefix') ?? '', signal)
      return await getObject(ask, objectKeyIn(rest), signal)
    } finally {
      release()
    }
  }

  /** Never rejects. */
  return async (request, response, callerOf) => {
    const gone = new AbortController()
    let isGone = false
    response.on('close', () => {
      isGone = true
      gone.abort(new Error('the client is gone'))
    })
    response.on('finish', () => metrics.answered(request.method ?? '', response.statusCode))
    let caller: Caller | null = null
    let timer: NodeJS.Timeout | undefined
    try {
      if (options.isStopping()) throw new Refusal('STOPPING', 'this control is stopping')
      const route = findRoute(options.routes, request)
      const storePath = route === null ? storePathOf(request) : null
      caller = await callerOf(request)
      // A timer of its own, which ends with the request: one that goes on for two minutes holds the request that long, thousands of them.
      if (!caller.isReader && route?.isLong !== true) timer = setTimeout(() => gone.abort(tooLate), sidecarReadMillisecondsMax)
      if (storePath !== null) return await serve(request, response, caller, storePath, gone.signal)
      if (route === null || caller.pod === null) throw new Refusal('NOT_FOUND', 'there is nothing under this path')
      await answerRoute(route, { request, response, pod: caller.pod, signal: gone.signal })
    } catch (error) {
      if (isGone) return void response.destroy()
      refuse(request, response, caller, gone.signal.aborted ? tooLate : refusalOf(error))
    } finally {
      clearTimeout(timer)
    }
  }

  function refuse(request: IncomingMessage, response: ServerResponse, caller: Caller | null, refusal: Refusal): void {
    if (refusal.code === 'DEFECT') log.error({ stack: (refusal.cause as Error | undefined)?.stack }, refusal.message)
    if (!ordinary.includes(refusal.code)) {
      metrics.refused(refusal.code)
      // The path without its query: names of stores and objects.
      const path = (request.url ?? '').split('?')[0]!.slice(0, pathCharactersLogged)
      log.warn(
        { code: refusal.code, status: refusal.status, method: request.method, path, from: caller?.name },
        `refused: ${refusal.message}`,
      )
    }
    // Part of an answer is out: only its end can still say that it failed.
    if (response.headersSent) return void response.destroy()
    if (refusal.retrySeconds !== null) response.setHeader('retry-after', refusal.retrySeconds)
    // What is too long is not read to its end; anything else is, so that the client sees the answer.
    if (refusal.code === 'OBJECT_TOO_LONG' || refusal.code === 'LENGTH_MISSING') response.setHeader('connection', 'close')
    sendJson(response, refusal.status, { code: refusal.code, message: refusal.message, remedy: refusal.remedy })
  }
}

const ordinary = ['NO_SUCH_OBJECT', 'RANGE_UNFIT']
const pathCharactersLogged = 300

function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error
  if (error instanceof NotIdentified) return new Refusal(error.code, error.message, { cause: error })
  if (error instanceof BadKey) return new Refusal('BAD_KEY', error.message, { cause: error })
  return new Refusal('DEFECT', `control failed: ${messageOf(error)}`, { cause: error })
}

/** `store` is null for the list of stores; `rest` is what follows the store's name. */
type StorePath = { readonly store: string | null; readonly rest: string; readonly query: URLSearchParams }

/** @throws Refusal NOT_FOUND */
function storePathOf({ url = '' }: IncomingMessage): StorePath {
  const parsed = URL.parse(url, 'https://control')
  const match = /^\/v1\/stores(?:\/([a-z0-9][a-z0-9.-]{0,252})\/(.+))?$/.exec(parsed?.pathname ?? '')
  // A path that a parser had to mend (`//`, `..`, `%2e`) may mean something else to whoever stands before control.
  if (parsed === null || match === null || !(url === parsed.pathname || url.startsWith(`${parsed.pathname}?`)))
    throw new Refusal('NOT_FOUND', 'there is nothing under this path')
  return { store: match[1] ?? null, rest: match[2] ?? '', query: parsed.searchParams }
}

/** Keys need no percent-encoding, so that one object has one path. @throws Refusal NOT_FOUND, BadKey */
function objectKeyIn(rest: string): string {
  const objectKey = /^objects\/(.+)$/.exec(rest)?.[1]
  if (objectKey === undefined) throw new Refusal('NOT_FOUND', 'there is nothing under this path')
  checkKey(objectKey)
  return objectKey
}

function isRead({ method }: IncomingMessage): boolean {
  return method === 'GET' || method === 'HEAD'
}
