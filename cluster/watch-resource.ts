/**
 * Keeps a copy of a kind's objects current: lists them, watches from there, and begins again when anything goes wrong.
 *
 * Of each object it holds what `keep` returns, so memory is what the caller decides per object, and the caller names which objects (by
 * namespace, label or field). One page of a list and one line of a watch are held whole; both are capped.
 * Against a connection that died without a word: the server sends a bookmark about once a minute, so a longer silence ends the watch,
 * which goes on from where it was. Against anything that was missed for another reason: a full list every ten minutes.
 * Knows nothing of what the objects mean.
 */
import { messageOf } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { createBackoff } from './backoff.ts'
import type { ClusterClient } from './client.ts'
import { AnswerTooLarge, ClusterUnreachable, isRefusal } from './errors.ts'
import { linesOf } from './lines.ts'
import { pause } from './pause.ts'
import { apiVersionOf, pathOf, type Resource } from './resources.ts'

/** `before` is undefined for an object that appeared, `after` for one that is gone. */
export type Change<T> = { readonly key: string; readonly before: T | undefined; readonly after: T | undefined }

export type WatchTiming = {
  /** A watch that says nothing for so long is taken for dead. */
  readonly silenceMillisecondsMax: number
  /** Between two full lists; each interval is a random part of it, at least three quarters. */
  readonly listMilliseconds: number
  /** After a failure, for the first try and at most. */
  readonly retryMillisecondsFirst: number
  readonly retryMillisecondsMost: number
}

const standardTiming: WatchTiming = {
  silenceMillisecondsMax: 150_000,
  listMilliseconds: 600_000,
  retryMillisecondsFirst: 250,
  retryMillisecondsMost: 30_000,
}

export type WatchOptions<T> = {
  readonly cluster: Pick<ClusterClient, 'request' | 'openStream'>
  readonly resource: Resource
  readonly namespace?: string
  readonly labelSelector?: string
  readonly fieldSelector?: string
  /** What is needed of an object as the API server sent it. Throws when it makes no sense; then the object counts as absent. */
  readonly keep: (object: unknown) => T
  /** Called after the copy has changed. What it throws is logged and changes nothing else. */
  readonly onChange?: (change: Change<T>) => void
  readonly log: Log
  readonly timing?: Partial<WatchTiming>
}

export type ResourceWatch<T> = {
  /** `namespace/name`, or `name` for what has no namespace. */
  get(key: string): T | undefined
  values(): IterableIterator<T>
  readonly size: number
  /** Fulfilled after the first full list; never rejected. */
  readonly synced: Promise<void>
  isSynced(): boolean
  /** The highest resourceVersion that was heard, of objects that went away too; empty before the first list. */
  readonly version: string
  /** Milliseconds since the server was last heard: bookmarks come about once a minute. */
  silentMilliseconds(): number
  stop(): void
}

type Metadata = { readonly name?: string; readonly namespace?: string; readonly resourceVersion?: string; readonly continue?: string }
type KubernetesObject = { readonly metadata?: Metadata }
type List = { readonly metadata?: Metadata; readonly items?: readonly KubernetesObject[] }
type WatchEvent = { readonly type?: string; readonly object?: KubernetesObject & { readonly code?: number; readonly message?: string } }

/** A page has at most so many objects, and fewer where they are large: whoever may make objects must not make the list unreadable. */
const pageObjectsMax = 250
const pageBytesMax = 8 * 1024 * 1024
const lineBytesMax = 16 * 1024 * 1024
/** The server ends a watch after so long; it then goes on without a list. */
const watchSecondsMin = 240

export function watchResource<T>(options: WatchOptions<T>): ResourceWatch<T> {
  const { cluster, resource, keep, onChange, log } = options
  const timing = { ...standardTiming, ...options.timing }
  const path = pathOf(resource, { namespace: options.namespace })
  const selection = { labelSelector: options.labelSelector, fieldSelector: options.fieldSelector }
  const backoff = createBackoff({ firstMilliseconds: timing.retryMillisecondsFirst, mostMilliseconds: timing.retryMillisecondsMost })
  const stopping = new AbortController()
  const objects = new Map<string, { readonly version: string | undefined; readonly value: T }>()
  let heardAt = performance.now()
  let heardVersion = ''
  let isSynced = false
  let markSynced: () => void = () => undefined
  const synced = new Promise<void>((resolve) => {
    markSynced = resolve
  })

  function put(key: string, object: KubernetesObject): void {
    const version = object.metadata?.resourceVersion
    const before = objects.get(key)
    if (before !== undefined && version !== undefined && before.version === version) return // A full list shows mostly what is known.
    let value: T
    try {
      // The items of a list come without the kind that each object of a watch names.
      value = keep({ apiVersion: apiVersionOf(resource), kind: resource.kind, ...object })
    } catch (error) {
      log.warn({ resource: resource.plural, key, error: messageOf(error) }, 'an object makes no sense and is left out')
      return remove(key)
    }
    objects.set(key, { version, value })
    tell({ key, before: before?.value, after: value })
  }

  function remove(key: string): void {
    const before = objects.get(key)
    if (objects.delete(key)) tell({ key, before: before?.value, after: undefined })
  }

  function tell(change: Change<T>): void {
    try {
      onChange?.(change)
    } catch (error) {
      log.error({ resource: resource.plural, key: change.key, error: messageOf(error) }, 'a change could not be taken in')
    }
  }

  /** How many objects are asked for at a time: fewer after a page that was too large, and soon more again. */
  let pageObjects = pageObjectsMax

  async function pageAt(at: string | undefined): Promise<List> {
    for (;;) {
      try {
        const query = { ...selection, limit: String(pageObjects), continue: at }
        const page = await cluster.request<List>({ method: 'GET', path, query, answerBytesMax: pageBytesMax, signal: stopping.signal })
        pageObjects = Math.min(pageObjects * 2, pageObjectsMax)
        return page
      } catch (error) {
        if (!(error instanceof AnswerTooLarge) || pageObjects === 1) throw error
        pageObjects = Math.ceil(pageObjects / 4)
      }
    }
  }

  /** The version from which a watch goes on. */
  async function list(): Promise<string> {
    const seen = new Set<string>()
    let next: string | undefined
    let version = ''
    do {
      const page = await pageAt(next)
      heardAt = performance.now()
      heardVersion = page.metadata?.resourceVersion ?? heardVersion
      for (const object of page.items ?? []) {
        const key = keyOf(object)
        seen.add(key)
        put(key, object)
      }
      version = page.metadata?.resourceVersion ?? ''
      next = page.metadata?.continue
    } while (next !== undefined && next !== '')
    for (const key of objects.keys()) if (!seen.has(key)) remove(key)
    if (!isSynced) {
      isSynced = true
      markSynced()
    }
    return version
  }

  /** Ends when the watch does; gives the version to go on from, or null when only a full list can help. */
  async function watch(from: string, until: number): Promise<string | null> {
    let version = from
    const ending = new AbortController()
    const end = (): void => ending.abort()
    stopping.signal.addEventListener('abort', end)
    const listTimer = setTimeout(end, Math.max(until - performance.now(), 0))
    let silenceTimer = setTimeout(end, timing.silenceMillisecondsMax)
    const heard = (): void => {
      heardAt = performance.now()
      clearTimeout(silenceTimer)
      silenceTimer = setTimeout(end, timing.silenceMillisecondsMax)
    }
    try {
      const timeoutSeconds = String(Math.floor(watchSecondsMin * (1 + Math.random())))
      const query = { ...selection, watch: 'true', allowWatchBookmarks: 'true', resourceVersion: version, timeoutSeconds }
      const stream = await cluster.openStream({ path, query, signal: ending.signal })
      for await (const line of linesOf(stream, { bytesMax: lineBytesMax, onBytes: heard })) {
        const event = eventOf(line)
        if (event.type === 'ERROR') {
          if (event.object?.code === 410) return null
          throw new ClusterUnreachable(`the watch of ${resource.plural} failed: ${event.object?.message ?? 'without a reason'}`)
        }
        backoff.reset()
        version = event.object?.metadata?.resourceVersion ?? version
        heardVersion = version
        if (event.type === 'BOOKMARK' || event.object === undefined) continue
        const key = keyOf(event.object)
        if (event.type === 'DELETED') remove(key)
        else put(key, event.object)
      }
      return version
    } catch (error) {
      if (isRefusal(error, 'Expired') || isRefusal(error, 'Gone')) return null
      if (ending.signal.aborted || version !== from) return version // What was heard meanwhile need not be heard again.
      throw error
    } finally {
      clearTimeout(listTimer)
      clearTimeout(silenceTimer)
      stopping.signal.removeEventListener('abort', end)
      ending.abort()
    }
  }

  async function run(): Promise<void> {
    let version: string | null = null
    let listAgainAt = 0
    while (!stopping.signal.aborted) {
      try {
        if (version === null || performance.now() >= listAgainAt) {
          version = await list()
          listAgainAt = performance.now() + timing.listMilliseconds * (0.75 + Math.random() / 4)
        }
        const begun = performance.now()
        const reached: string | null = await watch(version, listAgainAt)
        // A server that ends each watch at once must not be asked in a tight loop.
        if (reached === version && performance.now() - begun < timing.retryMillisecondsFirst) await pause(backoff.next(), stopping.signal)
        version = reached
      } catch (error) {
        if (stopping.signal.aborted) return
        const milliseconds = backoff.next()
        log.warn({ resource: resource.plural, error: messageOf(error), again: Math.round(milliseconds) }, 'cannot watch; trying again')
        await pause(milliseconds, stopping.signal)
      }
    }
  }

  void run()
  return {
    get: (key) => objects.get(key)?.value,
    values: () => objects.values().map(({ value }) => value),
    get size() {
      return objects.size
    },
    synced,
    isSynced: () => isSynced,
    get version() {
      return heardVersion
    },
    silentMilliseconds: () => performance.now() - heardAt,
    stop: () => stopping.abort(),
  }
}

function keyOf({ metadata }: KubernetesObject): string {
  const name = metadata?.name ?? ''
  return metadata?.namespace === undefined ? name : `${metadata.namespace}/${name}`
}

function eventOf(line: string): WatchEvent {
  try {
    return JSON.parse(line) as WatchEvent
  } catch (error) {
    throw new ClusterUnreachable('the watch sent a line that is no JSON', { cause: error })
  }
}
