/** Where recordings lie, as every command that reads them takes it; and where a recorder on this machine keeps its spool. */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Option } from 'commander'
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
  return new Option('--store <url>', 'where recordings are kept: file:///absolute/folder').env('STENO_STORE').default(defaultStoreUrl())
}

/** @throws StoreUrlUnknown; a store that cannot be reached says so when it is read */
export function openStoreFromOptions({ store }: StoreOptions): Promise<Store> {
  return openStore(store)
}
