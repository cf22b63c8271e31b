/**
 * The RecordingStores of the cluster as open stores: each opened once, proven to overwrite nothing before anything is put, and watched.
 *
 * What a store is like is told by the calls that are made of it anyway; one that nobody uses is asked now and then. A RecordingStore whose
 * spec changed is opened and proven anew. Bounded: one open store per RecordingStore.
 */
import type { RecordingStore } from '../../crds/recording-store.ts'
import { KnownError, messageOf } from '../../base/errors.ts'
import { invariant } from '../../base/invariant.ts'
import { probesPrefix } from '../../session/object-keys.ts'
import { probeStore, StoreOverwrites } from '../../session/stores/probe.ts'
import { StoreUnavailable, type ObjectInformation, type Store } from '../../session/stores/store.ts'
import { Refusal } from './refusal.ts'

/** What is needed of a RecordingStore. */
export type StoreObject = {
  readonly metadata: { readonly name: string; readonly generation?: number | undefined }
  readonly spec: RecordingStore['spec']
}

/** For the condition StoreReachable and the metrics. */
export type StoreStatus = {
  readonly name: string
  /** metadata.generation of what was looked at. */
  readonly generation: number | null
  readonly isReachable: boolean | null
  /** In CamelCase, as conditions have it. */
  readonly reason: 'Proven' | 'NotProvenYet' | 'Unavailable' | 'Full' | 'Slow' | 'Overwrites' | 'Unfit' | 'NotSupported'
  readonly message: string
  /** Since when it is so, in milliseconds since the epoch. */
  readonly since: number
}

export type OpenedStore = {
  readonly name: string
  /** Every call says Refusal instead of StoreUnavailable, ends in time, and is counted in the status. */
  readonly store: Store
  /** `onSettled` comes when the store has let go of `bytes`, which may be long after this was given up. @throws Refusal */
  put(key: string, bytes: Buffer, onSettled: () => void): Promise<'stored' | 'exists'>
  /** Resolves once create-once was proven against the store. @throws Refusal */
  prove(): Promise<void>
  /**
   * Asks the store how it is. One that failed is opened anew, perhaps with other credentials, and proven again, so that what reads but
   * takes nothing is not thought to work. @throws Refusal
   */
  look(): Promise<void>
  readonly status: StoreStatus
}

/** @throws KnownError for what this release, or with these credentials nobody, can open */
export type OpenRecordingStore = (spec: StoreObject['spec']) => Promise<Store>

const callMillisecondsMax = 30_000
const lookMilliseconds = 20_000
/** A proof that failed is not tried again for every upload that waits for it. */
const proofAgainMilliseconds = 2_000

export type Stores = ReturnType<typeof createStores>

export function createStores({
  stores,
  open,
  onStatus = () => {},
  callMilliseconds = callMillisecondsMax,
}: {
  readonly stores: () => readonly StoreObject[]
  readonly open: OpenRecordingStore
  /** Told at each change of a status. */
  readonly onStatus?: ((status: StoreStatus) => void) | undefined
  readonly callMilliseconds?: number | undefined
}) {
  const opened = new Map<string, { readonly entry: OpenedStore; readonly spec: string }>()
  const look = setInterval(() => void lookAtAll(), lookMilliseconds).unref()

  function entryOf(object: StoreObject): OpenedStore {
    const { name } = object.metadata
    const spec = JSON.stringify(object.spec)
    const known = opened.get(name)
    if (known?.spec === spec) return known.entry
    const entry = watched(object, { open, onStatus, callMilliseconds })
    opened.set(name, { entry, spec })
    return entry
  }

  /** Opens what came, forgets what went, and asks those that nobody uses, or that failed. Never throws. */
  async function lookAtAll(): Promise<void> {
    const objects = stores()
    for (const name of opened.keys()) if (!objects.some(({ metadata }) => metadata.name === name)) opened.delete(name)
    await Promise.all(
      objects.map(async (object) => {
        const entry = entryOf(object)
        try {
          await entry.look()
        } catch (error) {
          invariant(error instanceof KnownError, `a store says why it fails: ${messageOf(error)}`)
        }
      }),
    )
  }

  return {
    /** @throws Refusal STORE_UNKNOWN */
    named(name: string): OpenedStore {
      const object = stores().find(({ metadata }) => metadata.name === name)
      if (object === undefined) throw new Refusal('STORE_UNKNOWN', 'there is no RecordingStore of this name')
      return entryOf(object)
    },
    lookAtAll,
    statuses: (): readonly StoreStatus[] => stores().map((object) => entryOf(object).status),
    close: () => clearInterval(look),
  }
}

type Doing = 'put' | 'read' | 'delete'

function watched(
  { metadata: { name, generation }, spec }: StoreObject,
  options: { readonly open: OpenRecordingStore; readonly onStatus: (status: StoreStatus) => void; readonly callMilliseconds: number },
): OpenedStore {
  let status: StoreStatus = {
    ...{ name, generation: generation ?? null, isReachable: null, reason: 'NotProvenYet' },
    ...{ message: 'not asked yet', since: Date.now() },
  }
  let isProven = false
  let proof: Promise<void> | null = null
  let inner: Promise<Store> | null = null
  let toldRemedy = ''

  /** What fails now. A store that is full or may not be written still reads, so that each is known by itself. */
  const troubles = new Map<Doing, Refusal>()

  function tell(): void {
    const trouble = troubles.get('put') ?? troubles.get('read') ?? troubles.get('delete')
    if (trouble !== undefined) become(false, reasonOf(trouble), textOf(trouble), trouble.remedy)
    else if (isProven) become(true, 'Proven', 'it answers, and was proven to overwrite nothing', '')
  }

  /** A message names the object that was asked for, so that it differs where nothing else does. */
  function become(isReachable: boolean, reason: StoreStatus['reason'], message: string, remedy: string): void {
    if (status.isReachable === isReachable && status.reason === reason && toldRemedy === remedy) return
    const since = status.isReachable === isReachable ? status.since : Date.now()
    status = { ...status, isReachable, reason, message, since }
    toldRemedy = remedy
    options.onStatus(status)
  }

  async function opened(): Promise<Store> {
    try {
      return await options.open(spec)
    } catch (error) {
      if (error instanceof StoreUnavailable || !(error instanceof KnownError)) throw error
      // Of a kind that this release does not have, or written in a way that no store is.
      throw new Refusal('STORE_UNKNOWN', error.message, { remedy: error.remedy, cause: error })
    }
  }

  async function call<T>(doing: Doing, run: (store: Store) => Promise<T>): Promise<T> {
    const timer = new AbortController()
    try {
      inner ??= opened()
      inner.catch(() => (inner = null))
      const result = await Promise.race([
        inner.then(run),
        new Promise<never>((_, reject) => {
          const late = setTimeout(
            () => reject(new Refusal('STORE_SLOW', `the store did not answer within ${options.callMilliseconds} ms`)),
            options.callMilliseconds,
          )
          timer.signal.addEventListener('abort', () => clearTimeout(late))
        }),
      ])
      troubles.delete(doing)
      tell()
      return result
    } catch (error) {
      const refusal = error instanceof Refusal ? error : refusalOf(error)
      if (refusal.code !== 'DEFECT') troubles.set(doing, refusal)
      tell()
      throw refusal
    } finally {
      timer.abort()
    }
  }

  async function* listed(prefix: string): AsyncGenerator<ObjectInformation> {
    // Piece by piece, so that each answer of the store has its own time.
    const { pieces, first } = await call('read', async (store) => {
      const begun = store.list(prefix)[Symbol.asyncIterator]()
      return { pieces: begun, first: await begun.next() }
    })
    try {
      for (let piece = first; piece.done !== true; piece = await call('read', () => pieces.next())) yield piece.value
    } finally {
      await pieces.return?.()
    }
  }

  async function proveOnce(): Promise<void> {
    try {
      await call('put', (store) => probeStore(store))
      isProven = true
    } catch (error) {
      if (error instanceof Refusal && error.code === 'STORE_UNFIT') {
        isProven = false
        proof = null
      }
      throw error
    }
    // It put, read and deleted.
    troubles.clear()
    tell()
  }

  function provenSoon(): Promise<void> {
    if (proof === null) {
      proof = proveOnce()
      proof.catch(() => setTimeout(() => (proof = null), proofAgainMilliseconds).unref())
    }
    return proof
  }

  return {
    name,
    store: {
      url: name,
      // Whoever puts, control itself too, puts into a store that was proven.
      async putIfAbsent(key, bytes) {
        await (isProven ? null : provenSoon())
        return call('put', (store) => store.putIfAbsent(key, bytes))
      },
      get: (key) => call('read', (store) => store.get(key)),
      range: (key, start, end) => call('read', (store) => store.range(key, start, end)),
      head: (key) => call('read', (store) => store.head(key)),
      list: listed,
      folders: (prefix) => call('read', (store) => store.folders(prefix)),
      delete: (key) => call('delete', (store) => store.delete(key)),
    },
    put(key, bytes, onSettled) {
      let isBegun = false
      const outcome = call('put', (store) => {
        isBegun = true
        return store.putIfAbsent(key, bytes).finally(onSettled)
      })
      const settle = (): void => void (isBegun || onSettled())
      outcome.then(settle, settle)
      return outcome
    },
    prove: () => (isProven ? Promise.resolve() : provenSoon()),
    async look() {
      if (status.isReachable === false) {
        inner = null
        await proveOnce()
      } else {
        await (isProven ? null : provenSoon())
        await call('read', (store) => store.head(`${probesPrefix}look`))
      }
    },
    get status() {
      return status
    },
  }
}

function refusalOf(error: unknown): Refusal {
  if (error instanceof StoreUnavailable)
    return new Refusal(error.isFull ? 'STORE_FULL' : 'STORE_UNAVAILABLE', error.message, { remedy: error.remedy, cause: error })
  // What the proof found.
  if (error instanceof KnownError) return new Refusal('STORE_UNFIT', error.message, { remedy: error.remedy, cause: error })
  return new Refusal('DEFECT', 'the store failed in a way that control does not know', { cause: error })
}

function reasonOf({ code, cause }: Refusal): StoreStatus['reason'] {
  switch (code) {
    case 'STORE_FULL':
      return 'Full'
    case 'STORE_SLOW':
      return 'Slow'
    case 'STORE_UNFIT':
      return cause instanceof StoreOverwrites ? 'Overwrites' : 'Unfit'
    case 'STORE_UNKNOWN':
      return 'NotSupported'
    default:
      return 'Unavailable'
  }
}

/** With the code by which docs/errors.md has more. */
function textOf({ code, cause, message, remedy }: Refusal): string {
  return `${message} (${code === 'STORE_UNFIT' && cause instanceof KnownError ? cause.code : code}). ${remedy}`
}
