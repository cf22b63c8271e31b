/** From a store's URL, as people configure it, to the store. */
import { fileURLToPath } from 'node:url'
import { KnownError } from '../../base/errors.ts'
import { openDirectoryStore } from './directory.ts'
import type { Store } from './store.ts'

/** The URL names no kind of store that this release has. */
export class StoreUrlUnknown extends KnownError {
  readonly code = 'STORE_URL_UNKNOWN'
  readonly remedy = 'Supported: file:///absolute/folder.'
  readonly safeToRetry = true
}

/** Opens nothing yet: a store that cannot be reached says so when it is used. @throws StoreUrlUnknown */
export async function openStore(url: string): Promise<Store> {
  const parsed = URL.parse(url)
  // The URL is not quoted when it cannot be taken apart: it may carry a credential.
  if (parsed === null) throw new StoreUrlUnknown('the store is not given as a URL')
  if (parsed.protocol !== 'file:') throw new StoreUrlUnknown(`there is no store for URLs that start with ${parsed.protocol}`)
  if (!/^file:\/\/\//i.test(url) || parsed.search !== '' || parsed.hash !== '') {
    throw new StoreUrlUnknown('a file URL names an absolute folder behind three slashes, and nothing else')
  }
  try {
    return openDirectoryStore(fileURLToPath(parsed))
  } catch (cause) {
    throw new StoreUrlUnknown('the file URL names no folder', { cause })
  }
}
