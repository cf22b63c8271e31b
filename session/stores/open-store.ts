/** From a store's URL, as people configure it, to the store. */
import { fileURLToPath } from 'node:url'
import { KnownError } from '../../base/errors.ts'
import { openDirectoryStore } from './directory.ts'
import type { Store } from './store.ts'

/** The URL names no kind of store that this release has. */
export class StoreUrlUnknown extends KnownError {
  readonly code = 'STORE_URL_UNKNOWN'
  readonly remedy =
    'Supported: file:///absolute/folder, s3://bucket/prefix, control+https://host:port/STORE and control+http://127.0.0.1:port/STORE.'
  readonly safeToRetry = true
}

/** Where the kubelet puts and replaces the token by which control knows a sidecar. */
const tokenFileStandard = '/var/run/secrets/steno.dev/token'

/**
 * Opens nothing yet: a store that cannot be reached says so when it is used. A `control+https` store takes its trust from the
 * environment: STENO_CONTROL_CA, STENO_CONTROL_PUBLIC_KEY, and, outside pods, STENO_CONTROL_TOKEN_FILE.
 * @throws StoreUrlUnknown, S3UrlWrong, ControlTrustMissing
 */
export async function openStore(url: string, environment: NodeJS.ProcessEnv = process.env): Promise<Store> {
  const parsed = URL.parse(url)
  // The URL is not quoted when it cannot be taken apart: it may carry a credential.
  if (parsed === null) throw new StoreUrlUnknown('the store is not given as a URL')
  switch (parsed.protocol) {
    case 'file:':
      return openFileUrl(url, parsed)
    case 's3:': {
      // Loaded here: the client library takes time and memory that nobody else needs.
      const { openS3Store, parseS3Url } = await import('./s3.ts')
      return openS3Store(parseS3Url(url))
    }
    case 'control+https:':
    case 'control+http:':
      return openControlUrl(url, environment)
    default:
      throw new StoreUrlUnknown(`there is no store for URLs that start with ${parsed.protocol}`)
  }
}

function openFileUrl(url: string, parsed: URL): Store {
  if (!/^file:\/\/\//i.test(url) || parsed.search !== '' || parsed.hash !== '') {
    throw new StoreUrlUnknown('a file URL names an absolute folder behind three slashes, and nothing else')
  }
  try {
    return openDirectoryStore(fileURLToPath(parsed))
  } catch (cause) {
    throw new StoreUrlUnknown('the file URL names no folder', { cause })
  }
}

async function openControlUrl(url: string, environment: NodeJS.ProcessEnv): Promise<Store> {
  const origin = new URL(url.slice('control+'.length))
  const store = /^\/([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)$/.exec(origin.pathname)?.[1]
  if (store === undefined || origin.search !== '' || origin.hash !== '' || origin.username !== '' || origin.password !== '') {
    throw new StoreUrlUnknown('a control URL names host, port and a RecordingStore, and nothing else')
  }
  // Loaded here: a proxy on a laptop needs none of it.
  const { ControlTrustMissing, openControlStore } = await import('./control.ts')
  if (origin.protocol === 'http:') {
    // Recordings would cross the network in the clear; the reader listens nowhere else.
    if (!['127.0.0.1', '[::1]', 'localhost'].includes(origin.hostname))
      throw new StoreUrlUnknown('control+http reads through a port of this machine (kubectl port-forward), never over a network')
    return openControlStore({ url: origin.origin, store, tokenFile: null, caPem: null, publicKeyPem: null })
  }
  const [caPem, publicKeyPem] = [environment['STENO_CONTROL_CA'] ?? '', environment['STENO_CONTROL_PUBLIC_KEY'] ?? '']
  if (caPem === '') throw new ControlTrustMissing('STENO_CONTROL_CA is not set, so control’s certificate cannot be checked')
  if (publicKeyPem === '') throw new ControlTrustMissing('STENO_CONTROL_PUBLIC_KEY is not set, so control’s receipts cannot be checked')
  const tokenFile = environment['STENO_CONTROL_TOKEN_FILE'] ?? tokenFileStandard
  return openControlStore({ url: origin.origin, store, tokenFile, caPem, publicKeyPem })
}
