/** Proves at start, against the configured store itself, that nothing in it can be overwritten by a second put. */
import { randomUUID } from 'node:crypto'
import { KnownError } from '../../base/errors.ts'
import { probesPrefix } from '../object-keys.ts'
import type { Store } from './store.ts'

/** The store replaces objects that are there; nothing may be recorded into it. */
export class StoreOverwrites extends KnownError {
  readonly code = 'STORE_OVERWRITES'
  readonly remedy = 'Use a store that refuses a second conditional put: a file system with hard links, Amazon S3, Ceph radosgw or MinIO.'
  readonly safeToRetry = true
}

/** The store does not keep what a recording needs; nothing may be recorded into it. */
export class StoreUnfit extends KnownError {
  readonly code = 'STORE_UNFIT'
  readonly remedy = 'Use a store that refuses a second conditional put, as file systems with hard links and S3 do.'
  readonly safeToRetry = true
}

/**
 * Puts two different objects under one key and looks which is kept; removes it again.
 * @throws StoreOverwrites when the second replaced the first, StoreUnfit when it was not refused, StoreUnavailable
 */
export async function probeStore(store: Store): Promise<void> {
  const key = `${probesPrefix}${randomUUID()}`
  try {
    await prove(store, key)
  } catch (error) {
    // Why the proof failed is what has to be told; a few bytes that stay behind are named by `steno verify`.
    await store.delete(key).catch(() => undefined)
    throw error
  }
  await store.delete(key)
}

async function prove(store: Store, key: string): Promise<void> {
  const first = Buffer.from('first')
  if ((await store.putIfAbsent(key, first)) !== 'stored') throw new StoreUnfit(`${store.url} says that a key just made up is taken`)
  const second = await store.putIfAbsent(key, Buffer.from('second'))
  if (!(await store.get(key))?.equals(first)) throw new StoreOverwrites(`${store.url} lets a second put replace an object`)
  if (second !== 'exists') throw new StoreUnfit(`${store.url} does not say that a second put was refused`)
}
