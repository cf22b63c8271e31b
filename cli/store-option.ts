/** Where recordings lie, as every command that reads them takes it; and where a recorder on this machine keeps its spool. */
import { homedir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Option } from 'commander'
import { openStore } from '../session/stores/open-store.ts'
import type { Store } from '../session/stores/store.ts'

export type StoreOptions = { readonly store: string }

/** `$XDG_STATE_HOME/steno`, or `~/.local/state/steno` when that is not set or not absolute (XDG Base Directory Specification). */
export function stateFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const given = environment['XDG_STATE_HOME']
  return join(given?.startsWith('/') === true ? given : join(homedir(), '.local', 'state'), 'steno')
}

export function defaultStoreUrl(): string {
  return pathToFileURL(join(stateFolder(), 'store')).href
}

export function defaultSpoolFolder(): string {
  return join(stateFolder(), 'spool')
}

export function storeOption(): Option {
  return new Option('--store <url>', 'where recordings are kept: file:///absolute/folder').env('STENO_STORE').default(defaultStoreUrl())
}

/** @throws StoreUrlUnknown; a store that cannot be reached says so when it is read */
export function openStoreFromOptions({ store }: StoreOptions): Promise<Store> {
  return openStore(store)
}
