/**
 * The objects of one RecordingStore over HTTP: put with a receipt, get whole or in part, head, list, folders, delete.
 *
 * A caller's access has the last word before anything is read, written or removed. Reads stream in pieces of 1 MiB; a put is held whole.
 */
import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { sha256Of } from '../../session/digest.ts'
import { objectPieces } from '../../session/object-pieces.ts'
import { isRecorderId } from '../../session/object-keys.ts'
import { checkPrefix } from '../../session/stores/keys.ts'
import type { ObjectInformation, Store } from '../../session/stores/store.ts'
import type { Access } from './access.ts'
import type { ControlKey } from './control-key.ts'
import { Refusal } from './refusal.ts'
import { bodyLength, readBody } from './request-body.ts'
import type { OpenedStore } from './stores.ts'

/** One request for one store: who asks was found out, and what it may do is `access`. */
export type Ask = {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly opened: OpenedStore
  readonly access: Access
}

export const readPieceBytes = 1024 * 1024

export type PutOptions = {
  readonly key: ControlKey
  /** Resolves with what gives the room back. */
  readonly acquire: (bytes: number) => Promise<() => void>
  /** Likewise, for one piece of an object that is read: what was there already may be large, and who repeats a put may do so often. */
  readonly acquireRead: () => Promise<() => void>
  readonly onPut: (store: string, seconds: number) => void
  readonly onStored: (store: string, bytes: number) => void
}

/** @throws Refusal */
export async function putObject({ request, response, opened, access }: Ask, objectKey: string, options: PutOptions): Promise<void> {
  const length = bodyLength(request)
  const recorder = recorderOf(request)
  await opened.prove()
  // Whoever makes pods has tokens: room that all sidecars share is for those that may record.
  const releaseRead = await options.acquireRead()
  try {
    await access.checkPutter(recorder)
  } finally {
    releaseRead()
  }
  const release = await options.acquire(length)
  let bytes: Buffer
  try {
    bytes = await readBody(request, length)
    await access.checkPut(objectKey, bytes, recorder)
  } catch (error) {
    release()
    throw error
  }
  const started = performance.now()
  const outcome = await opened.put(objectKey, bytes, release)
  options.onPut(opened.name, (performance.now() - started) / 1000)
  if (outcome === 'stored') options.onStored(opened.name, length)
  const kept = outcome === 'stored' ? { sha256: sha256Of(bytes), bytes: length } : await digestOf(opened.store, objectKey, options)
  await access.stored(kept.sha256)
  const receipt = options.key.receipt({ version: 1, store: opened.name, key: objectKey, ...kept, at: Date.now() })
  sendJson(response, outcome === 'stored' ? 201 : 409, receipt)
}

async function digestOf(
  store: Store,
  objectKey: string,
  { acquireRead }: Pick<PutOptions, 'acquireRead'>,
): Promise<{ readonly sha256: string; readonly bytes: number }> {
  const release = await acquireRead()
  try {
    const digest = createHash('sha256')
    let bytes = 0
    for await (const piece of objectPieces(store, objectKey, (each) => (bytes += each.length))) digest.update(piece)
    return { sha256: digest.digest('hex'), bytes }
  } finally {
    release()
  }
}

/** GET and HEAD, with or without a range. @throws Refusal */
export async function getObject({ request, response, opened, access }: Ask, objectKey: string, signal: AbortSignal): Promise<void> {
  const head = (await access.mayRead(objectKey)) ? await opened.store.head(objectKey) : null
  if (head === null) throw new Refusal('NO_SUCH_OBJECT', 'there is no such object, or none of this recorder’s')
  const range = rangeOf(request.headers.range, head.bytes)
  if (range === 'unfit') {
    response.setHeader('content-range', `bytes */${head.bytes}`)
    throw new Refusal('RANGE_UNFIT', `the object has ${head.bytes} bytes`)
  }
  const { start, end } = range ?? { start: 0, end: head.bytes }
  response.writeHead(range === null ? 200 : 206, {
    ...{ 'content-type': 'application/octet-stream', 'content-length': end - start, 'accept-ranges': 'bytes' },
    ...(range === null ? {} : { 'content-range': `bytes ${start}-${end - 1}/${head.bytes}` }),
  })
  if (request.method === 'HEAD') response.end()
  else await pipeline(Readable.from(piecesOf(opened.store, objectKey, start, end), { objectMode: false }), response, { signal })
}

async function* piecesOf(store: Store, objectKey: string, start: number, end: number): AsyncGenerator<Buffer> {
  for (let at = start; at < end; at += readPieceBytes) {
    const piece = await store.range(objectKey, at, Math.min(end, at + readPieceBytes))
    // The connection then ends before what it promised, which the client sees.
    if (piece === null) throw new Refusal('STORE_UNAVAILABLE', 'an object vanished while it was read')
    yield piece
  }
}

/** `bytes=from-to`, the one form that is answered in part (RFC 9110, section 14); any other is answered whole. */
function rangeOf(header: string | undefined, bytes: number): { readonly start: number; readonly end: number } | 'unfit' | null {
  const match = /^bytes=(\d{1,15})-(\d{0,15})$/.exec(header ?? '')
  if (match === null) return null
  const start = Number(match[1])
  const end = match[2] === '' ? bytes : Math.min(bytes, Number(match[2]) + 1)
  return start >= bytes || end <= start ? 'unfit' : { start, end }
}

/** JSON lines `{"key","bytes"}`, and a last one that says that it is the last. @throws Refusal, BadKey */
export async function listObjects({ response, opened, access }: Ask, prefix: string, signal: AbortSignal): Promise<void> {
  checkPrefix(prefix)
  await access.checkList(prefix)
  await sendLines(response, opened.store.list(prefix), signal)
}

/** JSON lines `{"name"}`, and a last one as above. @throws Refusal, BadKey */
export async function listFolders({ response, opened, access }: Ask, prefix: string, signal: AbortSignal): Promise<void> {
  checkPrefix(prefix)
  await access.checkList(prefix)
  const names = await opened.store.folders(prefix)
  await sendLines(
    response,
    names.map((name) => ({ name })),
    signal,
  )
}

async function sendLines(
  response: ServerResponse,
  items: Iterable<object> | AsyncIterable<ObjectInformation>,
  signal: AbortSignal,
): Promise<void> {
  async function* lines(): AsyncGenerator<string> {
    let gathered = ''
    let count = 0
    for await (const item of items) {
      gathered += `${JSON.stringify(item)}\n`
      count++
      if (gathered.length < linesCharacters) continue
      yield gathered
      gathered = ''
    }
    yield `${gathered}{"end":true,"count":${count}}\n`
  }
  const text = lines()
  // What fails at once is still told by a status.
  const first = await text.next()
  response.writeHead(200, { 'content-type': 'application/jsonl' })
  async function* all(): AsyncGenerator<string> {
    if (first.done !== true) yield first.value
    yield* text
  }
  await pipeline(Readable.from(all()), response, { signal })
}

const linesCharacters = 32 * 1024

/** @throws Refusal */
export async function deleteObject({ response, opened, access }: Ask, objectKey: string): Promise<void> {
  await access.checkDelete(objectKey)
  await opened.store.delete(objectKey)
  access.deleted(objectKey)
  response.writeHead(204).end()
}

export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const text = JSON.stringify(value)
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }).end(text)
}

function recorderOf({ headers }: IncomingMessage): string | null {
  const recorder = headers['steno-recorder']
  if (recorder === undefined) return null
  if (typeof recorder !== 'string' || !isRecorderId(recorder))
    throw new Refusal('BAD_REQUEST', 'the header steno-recorder holds no recorder id')
  return recorder
}
