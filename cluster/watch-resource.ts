/**
 * Keeps a copy of a kind's objects current: lists them, watches from there, and begins again when anything goes wrong.
 *
 * Of each object it holds what `keep` returns, so memory is what the caller decides per object, and the caller names which objects (by
 * namespace, label or field). One page of a list and one line of a watch are held whole; both are capped.
 * Against a connection that died without a word: the server sends a bookmark about once a minute, so after a longer silence everything is
 * listed again, whoever asks or not; a server that sends no bookmarks is then listed at that pace, and no faster. Against anything that was
 * missed for another reason: a full list every ten minutes.
 * Knows nothing of what the objects mean.
 */
import { messageOf } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { createBackoff } from './backoff.ts'
import type { ClusterClient } from './client.ts'
import { AnswerTooLarge, ClusterUnreachable, isRefusal } from './errors.ts'
import { doubtedMilliseconds } from './heard.ts'
import { linesOf } from './lines.ts'
import { pause } from './pause.ts'
import { apiVersionOf, pathOf, type Resource } from './resources.ts'

/** `before` is undefined for an object that appeared, `after` for one that is gone. */
export type Change<T> = { readonly key: string; readonly before: T | undefined; readonly after: T | undefined }

export type WatchTiming = {
  /** When nothing was heard for so long, and a random part of a tenth more, everything is listed again. */
  readonly silenceMillisecondsMax: number
  /** Between two full lists; each interval is a random part of it, at least three quarters. */
  readonly listMilliseconds: number
  /** After a failure, for the first try and at most. */
  readonly retryMillisecondsFirst: number
  readonly retryMillisecondsMost: number
}

const standardTiming: WatchTiming = {
  silenceMillisecondsMax: doubtedMilliseconds,
  listMilliseconds: 600_000,
  retryMillisecondsFirst: 250,
  retryMillisecondsMost: 30_000,
}

/** Of a clock that never goes back. */
export type WatchClock = {
  now(): number
  /** Calls `then` once, so many milliseconds later. Returns what takes it back. */
  after(milliseconds: number, then: () => void): () => void
}

const systemClock: WatchClock = {
  now: () => performance.now(),
  after(milliseconds, then) {
    const timer = setTimeout(then, milliseconds)
    return () => clearTimeout(timer)
  },
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
  readonly clock?: WatchClock
}

export type ResourceWatch<T> = {
  /** `namespace/name`, or `name` for what has no namespace. */
  get(key: string): T | undefined
  values(): IterableIterator<T>
  readonly size: number
  /** Fulfilled after the first full list; never rejected. */
  readonly synced: Promise<void>
  isSynced(): boolean
  /**
   * The resourceVersion that the copy is of: every change up to it is in, and none after it. Empty before the first list. Bookmarks raise it
   * without a change, about once a minute.
   */
  readonly version: string
  /** Lists at once: somebody has heard of a later version. At most once a second; what is asked for sooner is left out. */
  refresh(): void
  /** Milliseconds since the server was last heard: bookmarks come about once a minute. */
  silentMilliseconds(): number
  stop(): void
}

type Metadata = { readonly name?: string; readonly namespace?: string; readonly resourceVersion?: string; readonly continue?: string }
type KubernetesObject = { readonly metadata?: Metadata }
type List = { readonly metadata?: Metadata; readonly items?: readonly KubernetesObject[] }
type Read<T> = { readonly kind: 'kept'; readonly version: string | undefined; readonly value: T } | { readonly kind: 'senseless' }
type WatchEvent = { readonly type?: string; readonly object?: KubernetesObject & { readonly code?: number; readonly message?: string } }

/** A page has at most so many objects, and fewer where they are large: whoever may make objects must not make the list unreadable. */
const pageObjectsMax = 250
const pageBytesMax = 8 * 1024 * 1024
const lineBytesMax = 16 * 1024 * 1024
/** For whoever asks for a list out of turn. */
const refreshMillisecondsMin = 1_000
/** The server ends a watch after so long; it then goes on without a list. */
const watchSecondsMin = 240

export function watchResource<T>(options: WatchOptions<T>): ResourceWatch<T> {
  const { cluster, resource, keep, onChange, log, clock = systemClock } = options
  const timing = { ...standardTiming, ...options.timing }
  const path = pathOf(resource, { namespace: options.namespace })
  const selection = { labelSelector: options.labelSelector, fieldSelector: options.fieldSelector }
  const backoff = createBackoff({ firstMilliseconds: timing.retryMillisecondsFirst, mostMilliseconds: timing.retryMillisecondsMost })
  const stopping = new AbortController()
  const objects = new Map<string, { readonly version: string | undefined; readonly value: T }>()
  let heardAt = clock.now()
  let heardVersion = ''
  let listedAt = -Infinity
  let listAgainAt = 0
  let silenceMillisecondsMax = silenceOf(timing)
  let endWatch: () => void = () => undefined
  let isSynced = false
  let markSynced: () => void = () => undefined
  const synced = new Promise<void>((resolve) => {
    markSynced = resolve
  })

  /** What `put` is to take in; undefined for what is known already. */
  function read(key: string, object: KubernetesObject): Read<T> | undefined {
    const version = object.metadata?.resourceVersion
    const before = objects.get(key)
    if (before !== undefined && version !== undefined && before.version === version) return undefined // A full list shows mostly what is known.
    try {
      // The items of a list come without the kind that each object of a watch names.
      return { kind: 'kept', version, value: keep({ apiVersion: apiVersionOf(resource), kind: resource.kind, ...object }) }
    } catch (error) {
      log.warn({ resource: resource.plural, key, error: messageOf(error) }, 'an object makes no sense and is left out')
      return { kind: 'senseless' }
    }
  }

  function put(key: string, taken: Read<T> | undefined): void {
    if (taken === undefined) return
    if (taken.kind === 'senseless') return remove(key)
    const before = objects.get(key)
    objects.set(key, taken)
    tell({ key, before: before?.value, after: taken.value })
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

  /** The version from which a watch goes on. Taken in as a whole, so that the copy is always of one version. */
  async function list(): Promise<string> {
    listedAt = clock.now()
    const seen = new Map<string, Read<T> | undefined>()
    let next: string | undefined
    let version = ''
    do {
      const page = await pageAt(next)
      heardAt = clock.now()
      for (const object of page.items ?? []) seen.set(keyOf(object), read(keyOf(object), object))
      version = page.metadata?.resourceVersion ?? ''
      next = page.metadata?.continue
    } while (next !== undefined && next !== '')
    heardVersion = version
    for (const [key, one] of seen) put(key, one)
    for (const key of objects.keys()) if (!seen.has(key)) remove(key)
    if (!isSynced) {
      isSynced = true
      markSynced()
    }
    return version
  }

  /** Until everything is listed again: then it is time, or nothing was heard for too long. Zero or less: now. */
  function millisecondsToList(): number {
    return Math.min(listAgainAt, heardAt + silenceMillisecondsMax) - clock.now()
  }

  /** Ends when the watch does, or when it is time to list; gives the version to go on from, or null when only a full list can help. */
  async function watch(from: string): Promise<string | null> {
    let version = from
    const ending = new AbortController()
    const end = (): void => ending.abort()
    endWatch = end
    stopping.signal.addEventListener('abort', end)
    const look = (): void => {
      const left = millisecondsToList()
      if (left <= 0) end()
      else forgetLook = clock.after(Math.max(left, 1), look)
    }
    let forgetLook = (): void => undefined
    look()
    const heard = (): void => {
      heardAt = clock.now()
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
        else put(key, read(key, event.object))
      }
      return version
    } catch (error) {
      if (isRefusal(error, 'Expired') || isRefusal(error, 'Gone')) return null
      if (ending.signal.aborted || version !== from) return version // What was heard meanwhile need not be heard again.
      throw error
    } finally {
      forgetLook()
      stopping.signal.removeEventListener('abort', end)
      ending.abort()
    }
  }

  async function run(): Promise<void> {
    let version: string | null = null
    while (!stopping.signal.aborted) {
      try {
        if (version === null || millisecondsToList() <= 0) {
          version = await list()
          listAgainAt = clock.now() + timing.listMilliseconds * (0.75 + Math.random() / 4)
          silenceMillisecondsMax = silenceOf(timing)
        }
        const begun = clock.now()
        const reached: string | null = await watch(version)
        // A server that ends each watch at once must not be asked in a tight loop.
        if (reached === version && clock.now() - begun < timing.retryMillisecondsFirst) await pause(backoff.next(), stopping.signal)
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
    refresh() {
      if (clock.now() - listedAt < refreshMillisecondsMin) return
      listAgainAt = 0
      endWatch()
    },
    silentMilliseconds: () => clock.now() - heardAt,
    stop: () => stopping.abort(),
  }
}

/** Never the same for two replicas, nor for two watches of one. */
function silenceOf({ silenceMillisecondsMax }: WatchTiming): number {
  return silenceMillisecondsMax * (1 + Math.random() / 10)
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
