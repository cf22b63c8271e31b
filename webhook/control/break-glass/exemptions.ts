/**
 * Puts on record which pods may be made without a sidecar: into each store one document when an exemption is seen, and one when it is gone.
 *
 * What the stores hold says what was seen before, so that a control that starts goes on where another ended. Told of each change of a
 * ClusterSessionPolicy, so that one which is there for a moment is recorded too; what fails is tried again, and all is looked at every ten minutes.
 * Bounded: documents that are read of a store, and exemptions that wait. Not known: exemptions that came and went while no control ran.
 */
import { messageOf } from '../../../base/errors.ts'
import type { Log } from '../../../base/log.ts'
import { exemptedDigest, exemptionId, findExemption, sealExemption, type Exempted, type Exemption } from '../../../session/exemption.ts'
import { exemptionKey, exemptionsPrefix, nameOf } from '../../../session/object-keys.ts'
import { BadDocument } from '../../../session/shape.ts'
import type { Store } from '../../../session/stores/store.ts'
import type { ControlKey } from '../control-key.ts'

/** A ClusterSessionPolicy as far as it exempts; `exempted` is null while it cannot be read. */
export type SeenPolicy = { readonly uid: string; readonly generation: number; readonly exempted: readonly Exempted[] | null }

/** What the object says of itself; all empty when it is gone. */
export type PolicyOrigin = Pick<Exemption, 'requestedBy' | 'until' | 'managers'>

export type ExemptionTiming = { readonly lookMilliseconds: number; readonly retryMilliseconds: number }
export const standardExemptionTiming: ExemptionTiming = { lookMilliseconds: 600_000, retryMilliseconds: 15_000 }

const documentsMax = 20_000
const waitingMax = 10_000

export type ExemptionRecords = {
  /** The API server's word of a policy has changed. */
  changed(after: SeenPolicy | null): void
  /** Looks at all. Never throws. */
  look(): Promise<void>
  stop(): Promise<void>
}

type Open = { readonly id: string; readonly exempted: Exempted; readonly generation: number }
/** Of a store: exemptions that began and did not end, by id of their beginning. */
type Book = Map<string, Open>

export function createExemptionRecords({
  storeNames,
  openStore,
  policies,
  originOf,
  key,
  log,
  timing = standardExemptionTiming,
  wallClock = Date.now,
}: {
  readonly storeNames: () => readonly string[]
  /** Proven to overwrite nothing. */
  readonly openStore: (name: string) => Promise<Store>
  /** All that there are; null while they are not known yet. */
  readonly policies: () => readonly SeenPolicy[] | null
  readonly originOf: (policy: Pick<Exempted, 'policyName' | 'policyUid'>) => Promise<PolicyOrigin>
  readonly key: Pick<ControlKey, 'publicKey' | 'sign'>
  readonly log: Log
  readonly timing?: ExemptionTiming
  /** Milliseconds since the epoch. */
  readonly wallClock?: () => number
}): ExemptionRecords {
  const books = new Map<string, Book>()
  /** Seen since the last look that ended well, by digest: one that is gone by then is recorded all the same. */
  const appeared = new Map<string, { readonly exempted: Exempted; readonly generation: number }>()
  let isStopped = false
  let looking: Promise<void> | null = null
  let isAskedAgain = false
  let retry: NodeJS.Timeout | null = null

  async function bookOf(name: string, store: Store): Promise<Book> {
    const known = books.get(name)
    if (known !== undefined) return known
    const book: Book = new Map()
    const ended = new Set<string>()
    let read = 0
    for await (const { key: objectKey } of store.list(exemptionsPrefix)) {
      const found = nameOf(objectKey)
      if (found.kind !== 'exemption') continue
      if (++read > documentsMax) {
        log.warn({ store: name }, 'there are more records of exemptions than are read: ends of the others are not recorded')
        break
      }
      const exemption = await readable(store, found.id)
      if (exemption?.event === 'began')
        book.set(found.id, { id: found.id, exempted: exemptedOf(exemption), generation: exemption.generation })
      else if (typeof exemption?.began === 'string') ended.add(exemption.began)
    }
    for (const id of ended) book.delete(id)
    books.set(name, book)
    return book
  }

  async function lookAt(name: string, now: Now): Promise<void> {
    const store = await openStore(name)
    const book = await bookOf(name, store)
    const open = new Set([...book.values()].map(({ exempted }) => exemptedDigest(exempted)))
    for (const [digest, { exempted, generation }] of now.began) {
      if (open.has(digest)) continue
      const origin = await originOf(exempted)
      const fields = { event: 'began', began: null, time: wallClock(), ...exempted, generation, ...origin } as const
      const { id, bytes } = sealExemption(fields, key)
      const outcome = await store.putIfAbsent(exemptionKey(id), bytes)
      // It is over, and on record as that: told again because another store failed.
      if (outcome === 'exists' && (await store.head(exemptionKey(exemptionId({ began: id })))) !== null) continue
      book.set(id, { id, exempted, generation })
      if (outcome === 'stored') log.warn(lineOf(name, exempted), 'pods may be made without a sidecar: it is on record')
    }
    for (const { id, exempted, generation } of [...book.values()]) {
      if (now.current.has(exemptedDigest(exempted)) || now.unreadable.has(exempted.policyUid)) continue
      const nothing = { requestedBy: null, until: null, managers: [] }
      const fields = { event: 'ended', began: id, time: wallClock(), ...exempted, generation, ...nothing } as const
      const sealed = sealExemption(fields, key)
      const outcome = await store.putIfAbsent(exemptionKey(sealed.id), sealed.bytes)
      book.delete(id)
      if (outcome === 'stored') log.info(lineOf(name, exempted), 'an exemption ended: it is on record')
    }
  }

  async function lookOnce(): Promise<void> {
    const seen = policies()
    if (seen === null) return again()
    const current = new Map<string, { exempted: Exempted; generation: number }>()
    for (const { generation, exempted } of seen)
      for (const each of exempted ?? []) current.set(exemptedDigest(each), { exempted: each, generation })
    const told = new Map(appeared)
    const unreadable = new Set(seen.filter(({ exempted }) => exempted === null).map(({ uid }) => uid))
    const now: Now = { current, unreadable, began: new Map([...told, ...current]) }
    let isDone = true
    const names = storeNames()
    for (const name of books.keys()) if (!names.includes(name)) books.delete(name)
    for (const name of names) {
      if (isStopped) return
      try {
        await lookAt(name, now)
      } catch (error) {
        isDone = false
        log.warn({ store: name }, `which pods are exempt cannot be put on record yet: ${messageOf(error)}`)
      }
    }
    if (!isDone) return again()
    for (const digest of told.keys()) appeared.delete(digest)
  }

  function again(): void {
    if (isStopped || retry !== null) return
    retry = setTimeout(() => {
      retry = null
      void look()
    }, timing.retryMilliseconds).unref()
  }

  /** One at a time; asked for meanwhile, it looks once more. */
  function look(): Promise<void> {
    if (looking !== null) isAskedAgain = true
    looking ??= (async () => {
      do {
        isAskedAgain = false
        await lookOnce()
      } while (isAskedAgain && !isStopped)
    })().finally(() => (looking = null))
    return looking
  }

  const timer = setInterval(() => void look(), timing.lookMilliseconds).unref()
  return {
    changed(after) {
      for (const exempted of after?.exempted ?? [])
        if (appeared.size < waitingMax) appeared.set(exemptedDigest(exempted), { exempted, generation: after?.generation ?? 0 })
      void look()
    },
    look,
    async stop() {
      isStopped = true
      clearInterval(timer)
      if (retry !== null) clearTimeout(retry)
      await looking
    },
  }
}

type Now = {
  readonly current: ReadonlyMap<string, { readonly exempted: Exempted; readonly generation: number }>
  /** Those that are there, and those that were for a moment. */
  readonly began: ReadonlyMap<string, { readonly exempted: Exempted; readonly generation: number }>
  readonly unreadable: ReadonlySet<string>
}

/** Null for one that cannot be read: `steno verify` says so. */
async function readable(store: Store, id: string): Promise<Exemption | null> {
  try {
    return (await findExemption(store, id))?.exemption ?? null
  } catch (error) {
    if (error instanceof BadDocument) return null
    throw error
  }
}

function exemptedOf({ policyName, policyUid, namespaces, matchLabels, reason }: Exempted): Exempted {
  return { policyName, policyUid, namespaces, matchLabels, reason }
}

function lineOf(store: string, { policyName, namespaces, reason }: Exempted): object {
  return { store, policy: policyName, namespaces, reason }
}
