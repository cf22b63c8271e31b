/** Storing an object whose first attempt may have succeeded without anybody being told. */
import { KnownError } from '../base/errors.ts'
import type { Store } from './stores/store.ts'

/** Something else lies in the store under a name that is this recorder's to give. */
export class ObjectConflict extends KnownError {
  readonly code = 'OBJECT_CONFLICT'
  readonly remedy = 'Give each recorder a spool folder of its own, and run `steno verify --all` to see who wrote the object.'
  readonly safeToRetry = false
  constructor(store: Store, key: string) {
    super(`the object ${key} in ${store.url} is there already and differs`)
  }
}

/**
 * Returns once exactly `bytes` are stored under `key`, whether by this call or an earlier one.
 * @throws ObjectConflict when other bytes are there, StoreUnavailable
 */
export async function putOnce(store: Store, key: string, bytes: Buffer): Promise<'stored' | 'exists'> {
  const outcome = await store.putIfAbsent(key, bytes)
  if (outcome === 'stored') return outcome
  const found = await store.head(key)
  if (found?.bytes !== bytes.length || !(await store.get(key))?.equals(bytes)) throw new ObjectConflict(store, key)
  return outcome
}
