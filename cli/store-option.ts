/** Where recordings lie, as every command that reads them takes it; and where a recorder on this machine keeps its spool. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Option } from 'commander'
import { KnownError } from '../base/errors.ts'
import { openStore } from '../session/stores/open-store.ts'
import type { Store } from '../session/stores/store.ts'
import { stateFolder } from './state-folder.ts'

export type StoreOptions = { readonly store: string }

export function defaultStoreUrl(): string {
  return pathToFileURL(join(stateFolder(process.env), 'store')).href
}

export function defaultSpoolFolder(): string {
  return join(stateFolder(process.env), 'spool')
}

export function storeOption(): Option {
  return new Option('--store <url>', 'where recordings are kept: file:///absolute/folder or s3://bucket/prefix')
    .env('STENO_STORE')
    .default(defaultStoreUrl())
}

/** The store that was named is not there, so nothing that was recorded can be found in it. */
export class StoreNotFound extends KnownError {
  readonly code = 'STORE_NOT_FOUND'
  readonly remedy = 'Look at the URL given with --store or STENO_STORE; a proxy makes the folder when it starts.'
  readonly safeToRetry = true
}

/**
 * For commands that only read. The usual store may be missing: then nothing has been recorded yet.
 * @throws StoreUrlUnknown, StoreNotFound
 */
export async function openExistingStore({ store }: StoreOptions): Promise<Store> {
  const opened = await openStore(store)
  if (store.startsWith('file:') && store !== defaultStoreUrl() && !existsSync(new URL(store)))
    throw new StoreNotFound(`there is no store ${store}`)
  return opened
}

/** @throws StoreUrlUnknown; a store that cannot be reached says so when it is read */
export function openStoreFromOptions({ store }: StoreOptions): Promise<Store> {
  return openStore(store)
}
