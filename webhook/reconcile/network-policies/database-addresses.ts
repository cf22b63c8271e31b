/**
 * The addresses behind the names of databases, looked up again each minute, so that what is closed or warned of follows the name.
 *
 * An address counts for an hour after it was seen last: names of large services give other ones each time. A look-up that fails keeps what
 * was known. Bounded: so many look-ups at a time, so many addresses a name; a name that nobody asks about any more is forgotten. Names with a
 * star cannot be looked up, and have none. Opens no connection.
 */
import { promises as dns } from 'node:dns'
import { addressOf } from '../../../crds/address-range.ts'
import type { Log } from '../../../base/log.ts'
import { messageOf } from '../../../base/errors.ts'
import { createWorkQueue } from '../../../cluster/work-queue.ts'

export type LookUp = (host: string) => Promise<readonly string[]>

export type DatabaseAddresses = {
  /** Of an address, itself; null for a name that was not looked up yet, which is asked for by this. */
  get(host: string): readonly string[] | null
  stop(): Promise<void>
}

const againMilliseconds = 60_000
const seenMilliseconds = 60 * 60_000
const addressesPerHostMax = 64
/** The resolver of the system has four threads for all. */
const concurrency = 2
/** A name that was not asked about for so long is forgotten. */
const askedMilliseconds = 5 * 60_000

export const systemLookUp: LookUp = async (host) => (await dns.lookup(host, { all: true })).map(({ address }) => address)

export function createDatabaseAddresses(options: {
  readonly lookUp?: LookUp
  /** Called when a name has other addresses than before. */
  readonly onChange: (host: string) => void
  readonly log: Log
  readonly intervalMilliseconds?: number
  readonly now?: () => number
}): DatabaseAddresses {
  const { lookUp = systemLookUp, onChange, log, intervalMilliseconds = againMilliseconds, now = Date.now } = options
  /** Null until the first look-up has ended, well or not. */
  const known = new Map<string, { seen: Map<string, number> | null; askedAt: number; told: readonly string[] }>()
  const queue = createWorkQueue({
    concurrency,
    log,
    async work(host) {
      const entry = known.get(host)
      if (entry === undefined) return
      if (now() - entry.askedAt > Math.max(askedMilliseconds, 2 * intervalMilliseconds)) {
        known.delete(host)
        return
      }
      const seen = entry.seen ?? new Map<string, number>()
      try {
        for (const address of await lookUp(host)) {
          seen.delete(address)
          seen.set(address, now())
        }
      } catch (error) {
        log.debug({ host, error: messageOf(error) }, 'the name of a database was not found')
      }
      for (const [address, at] of seen) if (now() - at > seenMilliseconds || seen.size > addressesPerHostMax) seen.delete(address)
      const told = [...seen.keys()].sort()
      const isOther = entry.seen === null || told.join() !== entry.told.join()
      Object.assign(entry, { seen, told })
      if (isOther) onChange(host)
      queue.add(host, intervalMilliseconds)
    },
  })
  return {
    get(host) {
      if (addressOf(host) !== null) return [host]
      if (host.includes('*')) return []
      const entry = known.get(host)
      if (entry === undefined) {
        known.set(host, { seen: null, askedAt: now(), told: [] })
        queue.add(host)
        return null
      }
      entry.askedAt = now()
      return entry.seen === null ? null : entry.told
    },
    stop: () => queue.stop(),
  }
}
