/**
 * A store read ahead: what the verifier will ask for next is on its way while it looks at what came before.
 *
 * Behind a port-forward or at a bucket an answer takes milliseconds, and a session wants a dozen. Nothing is judged here: an object that cannot
 * be read ahead, or has another length than it was listed with, is read again when it is asked for. Holds at most `bytesMax` of objects
 * of `objectBytesMax` each; `inFlightMax` are asked for at once.
 */
import type { ObjectInformation, Store } from '../stores/store.ts'

/** As many as control's readers have connections but one, which the list keeps. */
const inFlightMax = 3
const listedAheadMax = 32
const objectBytesMax = 256 * 1024
const bytesMax = 8 * 1024 * 1024

export type ReadAhead = {
  /** The same store; objects that were read ahead are given from memory. */
  readonly store: Store
  /** Gives `objects` one by one, and begins to read those that come soon, unless they will not be asked for. */
  through(
    objects: AsyncIterable<ObjectInformation> | Iterable<ObjectInformation>,
    isAskedFor?: (object: ObjectInformation) => boolean,
  ): AsyncGenerator<ObjectInformation>
  /** Each object that `through` gave is to be forgotten once nobody asks for it any more. */
  forget(key: string): void
}

export function createReadAhead(store: Store): ReadAhead {
  /** Null: it is to be read again. */
  const kept = new Map<string, { readonly bytes: number; readonly content: Promise<Buffer | null> }>()
  const inFlight = new Set<Promise<unknown>>()
  let keptBytes = 0

  async function begin({ key, bytes }: ObjectInformation): Promise<void> {
    if (bytes > objectBytesMax || keptBytes + bytes > bytesMax || kept.has(key)) return
    if (inFlight.size >= inFlightMax) await Promise.race(inFlight)
    const content = read(store, key, bytes)
    kept.set(key, { bytes, content })
    keptBytes += bytes
    const settled = content.finally(() => inFlight.delete(settled))
    inFlight.add(settled)
  }

  const contentOf = async (key: string): Promise<Buffer | null> => (await kept.get(key)?.content) ?? null

  return {
    store: {
      url: store.url,
      putIfAbsent: (key, bytes) => store.putIfAbsent(key, bytes),
      get: async (key) => (await contentOf(key)) ?? (await store.get(key)),
      range: async (key, start, end) => (await contentOf(key))?.subarray(start, end) ?? (await store.range(key, start, end)),
      async head(key) {
        const content = await contentOf(key)
        return content === null ? await store.head(key) : { key, bytes: content.length }
      },
      list: (prefix) => store.list(prefix),
      folders: (prefix) => store.folders(prefix),
      delete: (key) => store.delete(key),
    },
    async *through(objects, isAskedFor = () => true) {
      const listed: ObjectInformation[] = []
      for await (const object of objects) {
        if (isAskedFor(object)) await begin(object)
        listed.push(object)
        if (listed.length > listedAheadMax) yield listed.shift()!
      }
      yield* listed
    },
    forget(key) {
      keptBytes -= kept.get(key)?.bytes ?? 0
      kept.delete(key)
    },
  }
}

/** No more than it was said to be: what lies about its length costs no memory. Why it cannot be read is for who asks for it. */
async function read(store: Store, key: string, bytes: number): Promise<Buffer | null> {
  try {
    const content = await store.range(key, 0, bytes + 1)
    return content?.length === bytes ? content : null
  } catch {
    return null
  }
}
